"""The counters of what passes a process's logs, by kind of topic and direction."""

from __future__ import annotations

from typing import Final

from fdstream.counted import Direction
from fdstream.metrics.definitions import LOG_BYTES, LOG_RECORDS
from fdstream.metrics.meters import Meters
from fdstream.topics import table

DIRECTIONS: Final[tuple[Direction, ...]] = ("in", "out")
KINDS = tuple(dict.fromkeys(table.kind(spec.name) for spec in table.topic_specs(1)))


class Traffic:
    """The counters that all logs of a process share."""

    def __init__(self, meters: Meters) -> None:
        bytes_, records = meters.counters(LOG_BYTES), meters.counters(LOG_RECORDS)
        places = [(kind, direction) for kind in KINDS for direction in DIRECTIONS]
        self._counters = {place: (records.of(*place), bytes_.of(*place)) for place in places}

    def count(self, topic: str, direction: Direction, records: int, size_bytes: int) -> None:
        of_records, of_bytes = self._counters[table.kind(topic), direction]
        of_records.inc(records)
        of_bytes.inc(size_bytes)
