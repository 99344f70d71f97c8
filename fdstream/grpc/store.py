"""The log in the server's memory: partitions of records that are dropped when nobody needs them. For many threads.

Knows no gRPC. Whoever wants to hear of a partition's new records gives a function that is called, from any thread and
with nothing held, after each append to it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from fdstream.errors import TransportError
from fdstream.log import Lost, Record
from fdstream.topics import table

Place = tuple[str, int]
MOST_KEPT = 1000  # records of a topic that no member of the federation reads
_UNREAD = frozenset({table.MEMBERS, table.REJECTED})


@dataclass(slots=True)
class _Partition:
    """Records `start` to `start + len(records) - 1`."""

    start: int = 0
    records: deque[Record] = field(default_factory=deque)

    @property
    def end(self) -> int:
        return self.start + len(self.records)

    def drop_before(self, offset: int) -> None:
        while self.start < min(offset, self.end):
            self.records.popleft()
            self.start += 1


class Store:
    """`partitions` says how many each topic has; `clock` gives the time in seconds since the epoch."""

    def __init__(self, partitions: Mapping[str, int], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._listeners: dict[Place, dict[Callable[[], None], None]] = {}  # in the order in which they came
        self._partitions: dict[str, list[_Partition]] = {
            topic: [_Partition() for _ in range(count)] for topic, count in partitions.items()
        }

    def listen(self, place: Place, listener: Callable[[], None]) -> None:
        """Call this after every append there, once however often it is said. Raises `TransportError` as `append`."""
        with self._lock:
            self._partition(*place)
            self._listeners.setdefault(place, {})[listener] = None

    def leave(self, place: Place, listener: Callable[[], None]) -> None:
        """Do not call this any more."""
        with self._lock:
            self._listeners.get(place, {}).pop(listener, None)

    def append(self, topic: str, partition: int, value: bytes, key: bytes) -> int:
        """The record's offset. Raises `TransportError` where there is no such partition."""
        with self._lock:
            found = self._partition(topic, partition)
            offset, listeners = found.end, tuple(self._listeners.get((topic, partition), ()))
            found.records.append(Record(topic, partition, offset, self._clock(), value, key))
            if topic in _UNREAD:
                found.drop_before(found.end - MOST_KEPT)
        for listener in listeners:
            listener()
        return offset

    def read(self, place: Place, offset: int, at_most: int) -> list[Record] | Lost:
        """Records from the offset on; `Lost` where it is dropped."""
        with self._lock:
            found = self._partition(*place)
            if offset < found.start:
                return Lost(*place, offset)
            # By index: an iterator would walk past everything before it, and most who ask stand at the end.
            first, records = offset - found.start, found.records
            return [records[index] for index in range(first, min(first + at_most, len(records)))]

    def starts(self, topic: str) -> list[int]:
        """The first offset of each partition."""
        with self._lock:
            return [partition.start for partition in self._of(topic)]

    def ends(self, topic: str) -> list[int]:
        """The offset that the next record of each partition will get."""
        with self._lock:
            return [partition.end for partition in self._of(topic)]

    def delete_before(self, offsets: Iterable[tuple[Place, int]]) -> None:
        """Drop the records below an offset of each place."""
        with self._lock:
            for place, offset in offsets:
                self._partition(*place).drop_before(offset)

    def _of(self, topic: str) -> list[_Partition]:
        try:
            return self._partitions[topic]
        except KeyError:
            raise TransportError(f"there is no topic {topic!r} on this server") from None

    def _partition(self, topic: str, partition: int) -> _Partition:
        partitions = self._of(topic)
        if not 0 <= partition < len(partitions):
            raise TransportError(f"there is no partition {partition} of topic {topic!r} on this server")
        return partitions[partition]
