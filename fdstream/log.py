"""The seam between the pure core and Kafka: a log of partitions that can be appended to and followed.

`MemoryLog` is the whole contract in one small class; tests and the simulation run on it. The real one is
`fdstream.topics.kafka_log.KafkaLog`. Topics are named without the federation's prefix. This file knows no Avro.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fdstream.errors import TransportError

OnAck = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Record:
    """One record as the broker stores it. `timestamp_seconds` is the broker's (LogAppendTime), since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp_seconds: float
    value: bytes
    key: bytes = b""


@dataclass(frozen=True, slots=True)
class Lost:
    """A followed offset lies below the start of its partition: the records were deleted."""

    topic: str
    partition: int
    offset: int


class Log(Protocol):
    """Errors: `TransportError` where the broker cannot be reached for good or refuses.

    Whatever waits asks `interrupts.check` now and then.
    """

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
        """Queue a record; order within a partition is kept. Waits while the local queue is full.

        A `droppable` record waits for nothing: where the queue is full it is left out. Whether it was queued.
        `on_ack` is called from `poll` or `flush` with the record's offset once all in-sync replicas have it.
        """

    def flush(self) -> None:
        """Return when every record appended so far is acknowledged."""

    def follow(self, topic: str, partition: int, offset: int) -> None:
        """Make `poll` deliver the partition's records from `offset` on, again where they were delivered.

        A no-op where the partition is followed and has delivered nothing at or past `offset`.
        """

    def unfollow(self, topic: str, partition: int) -> None:
        """Stop delivering a partition; nothing of it is delivered afterwards."""

    def poll(self, timeout_seconds: float) -> Sequence[Record | Lost]:
        """Records of the followed partitions, each in order; empty after the timeout, or sooner after an ack."""

    def end_offsets(self, topic: str) -> list[int]:
        """For each partition the offset that the next record will get; acknowledged records lie below it."""

    def start_offsets(self, topic: str) -> list[int]:
        """For each partition the lowest offset that can still be read."""

    def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Let the broker drop the records below an offset of each partition, given by topic and number.

        Asynchronous, may be refused (logged).
        """

    def close(self) -> None:
        """Release connections. Records not flushed may be lost."""


class MemoryBroker:
    """The partitions that several `MemoryLog`s share; `clock` gives the broker's time in seconds."""

    def __init__(self, partitions: dict[str, int], clock: Callable[[], float]) -> None:
        self.clock = clock
        self.partitions: dict[tuple[str, int], list[Record]] = {
            (topic, partition): [] for topic, count in partitions.items() for partition in range(count)
        }
        self.starts: dict[tuple[str, int], int] = dict.fromkeys(self.partitions, 0)

    def append(self, topic: str, partition: int, value: bytes, key: bytes) -> int:
        records = self.partition(topic, partition)
        records.append(Record(topic, partition, len(records), self.clock(), bytes(value), key))
        return len(records) - 1

    def partition(self, topic: str, partition: int) -> list[Record]:
        try:
            return self.partitions[topic, partition]
        except KeyError:
            raise TransportError(f"there is no partition {partition} of topic {topic!r}") from None


class MemoryLog:
    """One process's view of a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.broker = broker
        self.positions: dict[tuple[str, int], int] = {}
        self.unacked: deque[tuple[OnAck, int]] = deque()

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
        del droppable
        offset = self.broker.append(topic, partition, value, key)
        if on_ack is not None:
            self.unacked.append((on_ack, offset))
        return True

    def flush(self) -> None:
        while self.unacked:
            on_ack, offset = self.unacked.popleft()
            on_ack(offset)

    def follow(self, topic: str, partition: int, offset: int) -> None:
        self.broker.partition(topic, partition)
        position = self.positions.get((topic, partition))
        if position is None or position > offset:
            self.positions[topic, partition] = offset

    def unfollow(self, topic: str, partition: int) -> None:
        self.positions.pop((topic, partition), None)

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        del timeout_seconds
        self.flush()
        found: list[Record | Lost] = []
        for place, position in list(self.positions.items()):
            if position < self.broker.starts[place]:
                found.append(Lost(*place, position))
                self.unfollow(*place)
                continue
            fresh = self.broker.partitions[place][position:]
            found.extend(fresh)
            self.positions[place] = position + len(fresh)
        return found

    def end_offsets(self, topic: str) -> list[int]:
        return [len(records) for (name, _), records in self.broker.partitions.items() if name == topic]

    def start_offsets(self, topic: str) -> list[int]:
        return [start for (name, _), start in self.broker.starts.items() if name == topic]

    def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        for place, offset in offsets.items():
            self.broker.starts[place] = max(self.broker.starts[place], offset)

    def close(self) -> None:
        self.positions.clear()
