"""A log that counts what passes it, by topic and direction; otherwise the log it was given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from fdstream.log import Log, Lost, OnAck, Record
from fdstream.metrics.definitions import LOG_BYTES, LOG_RECORDS
from fdstream.metrics.meters import Meters
from fdstream.topics import table

DIRECTIONS = ("in", "out")
KINDS = tuple(dict.fromkeys(table.kind(spec.name) for spec in table.topic_specs(1)))


class Traffic:
    """The counters that all logs of a process share."""

    def __init__(self, meters: Meters) -> None:
        bytes_, records = meters.counters(LOG_BYTES), meters.counters(LOG_RECORDS)
        places = [(kind, direction) for kind in KINDS for direction in DIRECTIONS]
        self._counters = {place: (records.of(*place), bytes_.of(*place)) for place in places}

    def count(self, topic: str, direction: str, records: int, size_bytes: int) -> None:
        of_records, of_bytes = self._counters[table.kind(topic), direction]
        of_records.inc(records)
        of_bytes.inc(size_bytes)


class MeteredLog:
    """See `fdstream.log.Log`."""

    def __init__(self, log: Log, traffic: Traffic) -> None:
        self._log = log
        self._traffic = traffic
        self.flush = log.flush
        self.follow = log.follow
        self.unfollow = log.unfollow
        self.end_offsets = log.end_offsets
        self.start_offsets = log.start_offsets
        self.delete_before = log.delete_before
        self.close = log.close

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
            self._traffic.count(topic, "out", 1, len(value) + len(key))
        return queued

    def poll(self, timeout_seconds: float) -> Sequence[Record | Lost]:
        """See `Log.poll`."""
        found = self._log.poll(timeout_seconds)
        records, sizes = Counter[str](), Counter[str]()
        for item in found:
            if isinstance(item, Record):
                records[item.topic] += 1
                sizes[item.topic] += len(item.value) + len(item.key)
        for topic, count in records.items():
            self._traffic.count(topic, "in", count, sizes[topic])
        return found
