"""Reads a federation's topics into a chronicle: up to their end, or on and on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fdstream.dashboard.chronicle import Chronicle
from fdstream.driver import Driver
from fdstream.log import Log
from fdstream.topics import table
from fdstream.watch import POLL_SECONDS, open_log

MAX_HEARTBEATS = 50_000  # the last ones are enough to know who is here
TOPICS = (
    table.MEMBERS,
    table.SHARDS,
    table.REJECTED,
    *(table.reports(slot) for slot in range(table.SLOTS)),
)


class Reader:
    """A chronicle on a log. Never reads a topic that carries tensors, and writes nothing."""

    def __init__(self, log: Log) -> None:
        self._log = log
        starts = {topic: log.start_offsets(topic) for topic in TOPICS}
        (end,) = log.end_offsets(table.MEMBERS)
        starts[table.MEMBERS] = [max(starts[table.MEMBERS][0], end - MAX_HEARTBEATS)]
        self.chronicle = Chronicle(starts)
        self._driver = Driver(self.chronicle, log, tell=lambda _: None, monotonic=time.monotonic)
        self._driver.begin()
        self._read_to_the_end(table.CONTROL)
        self._driver.perform(self.chronicle.begin_with_rest())

    def catch_up(self) -> None:
        """Read everything that stands in the topics now."""
        self._read_to_the_end(table.CONTROL, *TOPICS)
        self.chronicle.refresh()

    def _read_to_the_end(self, *topics: str) -> None:
        ends = {
            (topic, partition): end
            for topic in topics
            for partition, end in enumerate(self._log.end_offsets(topic))
        }
        positions = self.chronicle.positions
        while any(positions[place] < end for place, end in ends.items()):
            self.turn(POLL_SECONDS)

    def turn(self, timeout_seconds: float) -> None:
        """Read what comes within the time."""
        self._driver.turn(timeout_seconds)
        for place in list(self.chronicle.lost):
            topic, partition = place
            start = self._log.start_offsets(topic)[partition]
            self._driver.perform(self.chronicle.resume(place, start))


@contextmanager
def reading(broker: str, federation: str, kafka: Mapping[str, str]) -> Iterator[Reader]:
    """A caught-up reader. Raises `UsageError` where there is no such federation, `TransportError`."""
    with open_log(broker, federation, kafka, client_id="fdstream-dashboard", calm=True) as log:
        reader = Reader(log)
        reader.catch_up()
        yield reader
