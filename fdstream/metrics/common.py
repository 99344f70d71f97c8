"""What is measured in every process: what runs, its traffic, its librdkafka, what it skipped, the round."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from importlib.metadata import version

from fdstream.counted import CountedLog
from fdstream.events import Tell
from fdstream.instruments import Instruments
from fdstream.log import Log
from fdstream.metrics.definitions import BUILD, REJECTED
from fdstream.metrics.meters import Meters, Sample
from fdstream.metrics.statistics import Statistics
from fdstream.metrics.traffic import Traffic
from fdstream.serde.reasons import Reason


class ProcessInstruments(Instruments):
    """For any role."""

    def __init__(self, meters: Meters) -> None:
        self.meters = meters
        self._traffic = Traffic(meters)
        self._statistics = Statistics()
        self._rejected = meters.counters(REJECTED)
        for reason in Reason:
            self._rejected.of(reason)
        meters.computed(_build)
        meters.computed(self._statistics.samples)

    def log(self, log: Log) -> Log:
        return CountedLog(log, self._traffic.count)

    def statistics(self) -> Callable[[str], None] | None:
        return self._statistics.hear

    def hear(self, tell: Tell) -> None:
        if tell.name == "rejected":
            self._rejected.of(tell.facts["reason"]).inc()


def _build() -> Iterator[Sample]:
    versions = version("fdstream"), platform.python_version(), version("confluent-kafka")
    yield BUILD, versions, 1.0
