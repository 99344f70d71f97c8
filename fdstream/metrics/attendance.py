"""Counts the members that are alive, beside a server's loop: a thread with a log of its own reads `members`.

A server's core does not read that topic, as nothing that decides a round may rest on it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fdstream import interrupts
from fdstream.driver import Driver
from fdstream.errors import FdstreamError
from fdstream.events import Effects, Ends, Entry, Event, Follow, ReadEnds, Tick
from fdstream.ledger import Phase
from fdstream.log import Log, Lost
from fdstream.members import Members
from fdstream.messages import PROTOCOL, Heartbeat
from fdstream.metrics.definitions import MEMBERS, OTHER
from fdstream.metrics.meters import Sample
from fdstream.topics import table

logger = logging.getLogger("fdstream.metrics")
POLL_SECONDS = 1.0
STATES = {
    "client": frozenset({"waiting", "training", "evaluating", "uploading", "failed"}),
    "server": frozenset(phase.name.lower() for phase in Phase),
}


class Attendance:
    """A core that follows `members` from where it ends now. Thread-safe for `samples`."""

    protocol = PROTOCOL  # it follows no federation, and writes nothing

    def __init__(self) -> None:
        self._members = Members()
        self._now_seconds = 0.0
        self._lock = threading.Lock()

    def begin(self) -> Effects:
        return [ReadEnds((), (table.MEMBERS,))]

    def step(self, *events: Event) -> Effects:
        """Take events in. What was said before, or is deleted, does not matter: whoever is alive speaks again."""
        return [effect for event in events for effect in self._on(event)]

    def _on(self, event: Event) -> Effects:
        match event:
            case Entry(message=Heartbeat() as heartbeat):
                with self._lock:
                    self._members.hear(heartbeat, event.record.timestamp_seconds)
            case Tick():
                self._now_seconds = event.now_seconds
            case Ends():
                return [Follow(table.MEMBERS, 0, event.offsets[table.MEMBERS][0])]
            case Lost():
                return self.begin()
        return []

    @contextmanager
    def attending(self, open_log: Callable[[], Log]) -> Iterator[None]:
        """Follow inside the block."""
        stop = threading.Event()
        thread = threading.Thread(
            target=self._run, args=(open_log, stop), name="fdstream-attendance", daemon=True
        )
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _run(self, open_log: Callable[[], Log], stop: threading.Event) -> None:
        try:
            with interrupts.heeding(stop):
                self._follow(open_log())
        except interrupts.Stopped:
            logger.debug("members are not counted any more")
        except FdstreamError as error:
            logger.warning("members are not counted", extra={"reason": str(error)})

    def _follow(self, log: Log) -> None:
        try:
            driver = Driver(self, log, tell=lambda _: None, monotonic=time.monotonic)
            driver.begin()
            while True:
                interrupts.check()
                driver.turn(POLL_SECONDS)
        finally:
            log.close()

    def samples(self) -> Iterator[Sample]:
        """At a scrape: 0 where nobody is."""
        with self._lock:
            alive = self._members.alive(self._now_seconds)
        counts = Counter((each.role, each.state) for each in alive)
        for role, states in STATES.items():
            for state in sorted(states):
                yield MEMBERS, (role, state), counts.pop((role, state), 0)
        for role in STATES:
            others = sum(count for (each, _), count in counts.items() if each == role)
            yield MEMBERS, (role, OTHER), others
