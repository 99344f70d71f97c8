"""What is measured in a process of clients: what they do, for how long, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fdstream.client.session import Session
from fdstream.driver import Core
from fdstream.events import Tell
from fdstream.ledger import Ledger
from fdstream.metrics import definitions as d
from fdstream.metrics.clocks import StateClock
from fdstream.metrics.common import ProcessInstruments
from fdstream.metrics.meters import Meters, Sample

STATES = ("waiting", "training", "evaluating", "uploading", "failed", "gone")
REPORTED, FAILED = "reported", "failed"


class ClientInstruments(ProcessInstruments):
    """See `Instruments`. One object may serve the connections of many threads."""

    def __init__(self, meters: Meters) -> None:
        super().__init__(meters)
        self._states = StateClock(STATES, time.monotonic)
        self._tasks = meters.counters(d.TASKS)
        self._outcomes = {outcome: self._tasks.of(outcome) for outcome in (REPORTED, FAILED)}
        self._durations = meters.histogram(d.TASK_DURATION)
        self._ledgers: list[Ledger] = []
        meters.computed(self._samples)

    def core(self, core: Core) -> Core:
        assert isinstance(core, Session)
        self._ledgers.append(core.ledger)
        return core

    def hear(self, tell: Tell) -> None:
        super().hear(tell)
        match tell.name, tell.facts:
            case "client state", {"client": client, "state": state}:
                self._states.enter(state, client)
            case "task answered", {"failure": failure, "seconds": seconds}:
                self._outcomes[REPORTED if failure is None else FAILED].inc()
                self._durations.observe(seconds)

    def _samples(self) -> Iterator[Sample]:
        yield d.ROUND, (), max((ledger.round for ledger in self._ledgers), default=0)
        for state, seconds in self._states.seconds().items():
            yield d.CLIENT_STATE_SECONDS, (state,), seconds
        for state, count in self._states.counts().items():
            yield d.CLIENT_STATE, (state,), count
