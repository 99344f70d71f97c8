"""The counters of what passes a process's logs, by kind of topic and direction."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Final

from fdstream.counted import Direction
from fdstream.metrics.definitions import LOG_BYTES, LOG_RECORDS
from fdstream.metrics.meters import Meters, Sample
from fdstream.topics import table

DIRECTIONS: Final[tuple[Direction, ...]] = ("in", "out")
KINDS = tuple(dict.fromkeys(table.kind(spec.name) for spec in table.topic_specs(1)))


class Traffic:
    """What all logs of a process have carried. Plain numbers: every record passes here, and a counter costs more."""

    def __init__(self, meters: Meters) -> None:
        self._lock = threading.Lock()
        self._counts = {(kind, direction): [0, 0] for kind in KINDS for direction in DIRECTIONS}
        meters.computed(self._samples)

    def count(self, topic: str, direction: Direction, records: int, size_bytes: int) -> None:
        """So much passed; from any thread."""
        counts = self._counts[table.kind(topic), direction]
        with self._lock:
            counts[0] += records
            counts[1] += size_bytes

    def _samples(self) -> Iterator[Sample]:
        for place, (records, size_bytes) in self._counts.items():
            yield LOG_RECORDS, place, records
            yield LOG_BYTES, place, size_bytes
