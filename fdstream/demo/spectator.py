"""Reads how a federation's rounds go from its topics, as any onlooker with read access can. Writes nothing."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from fdstream.driver import Driver
from fdstream.events import Effects, Entry, Event
from fdstream.log import Log
from fdstream.messages import Report
from fdstream.progress import Rounds
from fdstream.status import Watcher
from fdstream.topics import table
from fdstream.topics.kafka_log import KafkaLog


class Spectator:
    """A core: lets a `Watcher` choose what to read and fold it, and tells `rounds`. Times are the broker's."""

    def __init__(self, rounds: Rounds) -> None:
        self._rounds = rounds
        self._watcher = Watcher(members_start=0)

    @property
    def control_position(self) -> int:
        """The offset of the next control record."""
        return self._watcher.positions[table.CONTROL]

    @property
    def protocol(self) -> int:
        return self._watcher.protocol

    def begin(self) -> Effects:
        return self._watcher.begin()

    def step(self, *events: Event) -> Effects:
        return [effect for event in events for effect in self._on(event)]

    def _on(self, event: Event) -> Effects:
        effects = self._watcher.step(event)
        if isinstance(event, Entry):
            if isinstance(event.message, Report):
                self._rounds.hear(event.message, event.record.timestamp_seconds)
            else:
                self._rounds.look(self._watcher.ledger, event.record.timestamp_seconds)
        return effects


class Seat:
    """Where to watch from: a spectator on a federation's log."""

    def __init__(self, log: Log, rounds: Rounds) -> None:
        self._log = log
        self._spectator = Spectator(rounds)
        self._driver = Driver(self._spectator, log, tell=lambda _: None, monotonic=time.monotonic)
        self._driver.begin()

    def turn(self, timeout_seconds: float) -> None:
        """Tell `rounds` what comes within the time."""
        self._driver.turn(timeout_seconds)

    def see_the_end(self, timeout_seconds: float) -> None:
        """Tell `rounds` all that stands in `control` now; each wait for more is at most so long."""
        end = self._log.end_offsets(table.CONTROL)[0]
        while self._spectator.control_position < end:
            self.turn(timeout_seconds)


@contextmanager
def spectate(broker: str, federation: str, rounds: Rounds) -> Iterator[Seat]:
    """A seat at a federation whose topics exist. Raises `TransportError`."""
    log = KafkaLog(broker, federation, client_id="fdstream-spectator", settings={})
    try:
        yield Seat(log, rounds)
    finally:
        log.close()
