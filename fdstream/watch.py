"""Reads a federation's topics to their end for commands that look: status and export."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from fdstream.driver import Driver
from fdstream.errors import UsageError
from fdstream.events import Tell
from fdstream.ledger import Phase
from fdstream.log import Log
from fdstream.status import Watcher
from fdstream.topics import table
from fdstream.topics.admin import Admin
from fdstream.topics.kafka_log import KafkaLog

POLL_SECONDS = 0.2
REACHABLE_SECONDS = 30.0


class Watch:
    """A watcher on a log, read up to what was there when it was asked."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.watcher = Watcher(members_start=log.start_offsets(table.MEMBERS)[0])
        self._heard: list[Tell] = []
        self._driver = Driver(self.watcher, log, tell=self._heard.append, monotonic=time.monotonic)
        self._driver.begin()

    def catch_up(self) -> None:
        """Read everything that stands in the topics now."""
        self._read_to(table.CONTROL)
        self._read_to(table.MEMBERS)
        if self.watcher.ledger.round:
            self._read_to(table.reports(self.watcher.ledger.slot))

    def _read_to(self, topic: str) -> None:
        end = self.log.end_offsets(topic)[0]
        while self.watcher.positions[topic] < end and topic not in self.watcher.lost:
            self._driver.turn(POLL_SECONDS)

    def wait(self, timeout_seconds: float) -> None:
        """Read what comes within the time; sooner where the federation has finished meanwhile."""
        deadline, finished = time.monotonic() + timeout_seconds, self.finished
        self._driver.turn(timeout_seconds)
        while (remaining := deadline - time.monotonic()) > 0 and self.finished == finished:
            self._driver.turn(remaining)

    @property
    def finished(self) -> bool:
        return self.watcher.ledger.phase is Phase.FINISHED

    @property
    def awaits_evaluation(self) -> bool:
        """Whether servers evaluate this federation's models and have not said yet what the last one is worth."""
        ledger = self.watcher.ledger
        return (
            bool(ledger.evaluated)
            and ledger.finished is not None
            and (ledger.finished.rounds + 1 not in ledger.evaluated)
        )


@contextmanager
def open_log(
    broker: str, federation: str, kafka: Mapping[str, str], *, client_id: str, calm: bool = False
) -> Iterator[Log]:
    """The log of a federation that is there. Raises `UsageError` where it is not, `TransportError`."""
    with Admin(broker, settings=kafka) as admin:
        admin.wait_until_reachable(REACHABLE_SECONDS)
        known = admin.federations()
        if federation not in known:
            names = ", ".join(known) or "none"
            raise UsageError(f"there is no federation {federation!r} on {broker}; federations there: {names}")
    log = KafkaLog(broker, federation, client_id=client_id, settings=kafka, calm=calm)
    try:
        yield log
    finally:
        log.close()


@contextmanager
def watch(broker: str, federation: str, kafka: Mapping[str, str]) -> Iterator[Watch]:
    """A caught-up watch. Raises `UsageError` where there is no such federation, `TransportError`."""
    with open_log(broker, federation, kafka, client_id="fdstream-watch") as log:
        found = Watch(log)
        found.catch_up()
        yield found
