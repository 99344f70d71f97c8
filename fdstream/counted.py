"""A log that says how much passes it, for whoever measures; otherwise the log it was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from fdstream.log import Log, Lost, OnAck, Record

Direction = Literal["in", "out"]


class Count(Protocol):
    """Hears of records that were read ("in") or queued ("out"), by topic, and of their bytes, keys included.

    Heartbeats are appended from a thread of their own, so it may be called from several.
    """

    def __call__(self, topic: str, direction: Direction, records: int, size_bytes: int) -> None: ...


class CountedLog:
    """See `fdstream.log.Log`."""

    def __init__(self, log: Log, count: Count) -> None:
        self._log = log
        self._count = count

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes,
        *,
        key: bytes = b"",
        on_ack: OnAck | None = None,
        droppable: bool = False,
    ) -> bool:
        """See `Log.append`; counted when it is queued."""
        queued = self._log.append(topic, partition, value, key=key, on_ack=on_ack, droppable=droppable)
        if queued:
            self._count(topic, "out", 1, len(value) + len(key))
        return queued

    def poll(self, timeout_seconds: float) -> Sequence[Record | Lost]:
        """See `Log.poll`; counted once a topic."""
        found = self._log.poll(timeout_seconds)
        records, sizes = Counter[str](), Counter[str]()
        for item in found:
            if isinstance(item, Record):
                records[item.topic] += 1
                sizes[item.topic] += len(item.value) + len(item.key)
        for topic, count in records.items():
            self._count(topic, "in", count, sizes[topic])
        return found

    def flush(self) -> None:
        """See `Log.flush`."""
        self._log.flush()

    def follow(self, topic: str, partition: int, offset: int) -> None:
        """See `Log.follow`."""
        self._log.follow(topic, partition, offset)

    def unfollow(self, topic: str, partition: int) -> None:
        """See `Log.unfollow`."""
        self._log.unfollow(topic, partition)

    def end_offsets(self, topic: str) -> list[int]:
        """See `Log.end_offsets`."""
        return self._log.end_offsets(topic)

    def start_offsets(self, topic: str) -> list[int]:
        """See `Log.start_offsets`."""
        return self._log.start_offsets(topic)

    def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """See `Log.delete_before`."""
        self._log.delete_before(offsets)

    def close(self) -> None:
        """See `Log.close`."""
        self._log.close()
