"""What is measured in a server: the course of the federation, and the server's own work on it.

What the federation's ledger says is read at the scrape; durations and counts are noticed as they happen, after a
step of the core. Nothing here waits, writes to a log or holds the loop up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from fdstream.driver import Core
from fdstream.events import Effects, Entry, Event, Tell
from fdstream.fitting import LATE
from fdstream.ledger import Phase
from fdstream.log import Log
from fdstream.messages import Metrics, Report, Settings, UpdateChunk
from fdstream.metrics import definitions as d
from fdstream.metrics.attendance import Attendance
from fdstream.metrics.clocks import StateClock
from fdstream.metrics.common import ProcessInstruments
from fdstream.metrics.meters import Bounded, Meters, Sample
from fdstream.server.book import ACCEPTED, DUPLICATE, FAILED
from fdstream.server.server import Server

EXCLUDED, REFUSED = "excluded", "refused"
OUTCOMES = (ACCEPTED, DUPLICATE, LATE, FAILED, REFUSED, EXCLUDED)


class ServerInstruments(ProcessInstruments):
    """See `Instruments`."""

    def __init__(self, meters: Meters) -> None:
        super().__init__(meters)
        self._reports = meters.counters(d.REPORTS)
        for outcome in OUTCOMES:
            self._reports.of(outcome)
        self._attendance = Attendance()
        meters.computed(self._attendance.samples)

    def core(self, core: Core) -> Core:
        assert isinstance(core, Server)
        course, work = Course(self.meters, core, self._excluded), Fold(self.meters, core)
        return _MeasuredServer(core, course, work)

    def attending(self, open_log: Callable[[], Log]) -> AbstractContextManager[object]:
        return self._attendance.attending(open_log)

    def hear(self, tell: Tell) -> None:
        super().hear(tell)
        if tell.name == "report":
            outcome = tell.facts["outcome"]
            self._reports.of(outcome if outcome in OUTCOMES else REFUSED).inc()

    def _excluded(self, count: int) -> None:
        self._reports.of(EXCLUDED).inc(count)


class _MeasuredServer:
    """The core of a server, timed where it folds, and looked at after each step."""

    def __init__(self, core: Server, course: Course, fold: Fold) -> None:
        self._core = core
        self._course = course
        self._fold = fold

    @property
    def protocol(self) -> int:
        return self._core.protocol

    def begin(self) -> Effects:
        return self._core.begin()

    def step(self, *events: Event) -> Effects:
        began = time.perf_counter()
        effects = self._core.step(*events)
        size_bytes = sum(
            len(event.message.data)
            for event in events
            if isinstance(event, Entry) and isinstance(event.message, UpdateChunk | Report)
        )
        if size_bytes:
            self._fold.count(size_bytes, time.perf_counter() - began)
        self._course.look()
        return effects


class Fold:
    """The work on update chunks; counted in the server's loop alone."""

    def __init__(self, meters: Meters, core: Server) -> None:
        self._core = core
        self._bytes = 0
        self._seconds = 0.0
        meters.computed(self._samples)

    def count(self, size_bytes: int, seconds: float) -> None:
        self._bytes += size_bytes
        self._seconds += seconds

    def _samples(self) -> Iterator[Sample]:
        yield d.FOLD_BYTES, (), self._bytes
        yield d.FOLD_SECONDS, (), self._seconds
        yield d.SHARDS_ASSIGNED, (), len(self._core.assigned)


class Course:
    """The federation's course as this server folds it."""

    def __init__(self, meters: Meters, core: Server, excluded: Callable[[int], None]) -> None:
        self._core = core
        self._ledger = core.ledger
        self._count_excluded = excluded
        self._phases = StateClock((phase.name.lower() for phase in Phase), time.monotonic)
        self._closed = meters.counters(d.ROUNDS_CLOSED).of()
        self._durations = meters.histogram(d.ROUND_DURATION)
        self._names = {source: Bounded(d.BOUNDED["metric"]) for source in ("train", "evaluate", "global")}
        self._is_live = False  # whether what happens happens now, and is no history
        self._phase: Phase | None = None
        self._last_closed: Entry | None = None
        self._excluded = (0, 0)  # the round, and how many reports of it were left out
        meters.computed(self._samples)

    def look(self) -> None:
        """Notice what the last step has changed."""
        ledger = self._ledger
        if not self._is_live:
            if not self._core.caught_up:
                return
            self._is_live, self._last_closed = True, ledger.last_closed
        if ledger.phase is not self._phase:
            self._phase = ledger.phase
            self._phases.enter(ledger.phase.name.lower())
            self._look_at_excluded()
        if ledger.last_closed is not self._last_closed:
            self._last_closed = ledger.last_closed
            self._look_at_closed()

    def _look_at_excluded(self) -> None:
        number, count = self._ledger.round, len(self._ledger.excluded)
        before = self._excluded[1] if self._excluded[0] == number else 0
        self._excluded = (number, count)
        self._count_excluded(count - before)

    def _look_at_closed(self) -> None:
        assert self._last_closed is not None
        self._closed.inc()
        opened = self._ledger.history.get(self._ledger.round)
        if opened is not None:
            seconds = self._last_closed.record.timestamp_seconds - opened.record.timestamp_seconds
            self._durations.observe(max(0.0, seconds))

    # At a scrape

    def _samples(self) -> Iterator[Sample]:
        ledger = self._ledger
        phase = ledger.phase
        yield d.ROUND, (), ledger.round
        for each in Phase:
            yield d.PHASE, (each.name.lower(),), float(each is phase)
        for name, seconds in self._phases.seconds().items():
            yield d.PHASE_SECONDS, (name,), seconds
        if ledger.opened is not None:
            yield from _settings(ledger.opened.settings)
        if ledger.round_entry is not None:
            yield d.ROUND_WAITING_SINCE, (), ledger.waiting_since_seconds
            yield d.ROUND_EXTENSIONS, (), len(ledger.extensions)
        if (closed := ledger.closed_record) is not None:
            yield d.COHORT_CLIENTS, (), closed.num_clients
            yield d.COHORT_EXAMPLES, (), closed.num_examples
            yield from self._metrics("train", closed.train_metrics)
            yield from self._metrics("evaluate", closed.evaluate_metrics)
        if evaluated := dict(ledger.evaluated):
            yield from self._metrics("global", evaluated[max(evaluated)].metrics)

    def _metrics(self, source: str, metrics: Metrics) -> Iterator[Sample]:
        for name, value in metrics.items():
            if self._names[source](name) == name:
                yield d.MODEL_METRIC, (source, name), value


def _settings(settings: Settings) -> Iterator[Sample]:
    yield d.PLANNED_ROUNDS, (), settings.num_rounds
    yield d.MIN_CLIENTS, (), settings.min_clients
    yield d.MAX_CLIENTS, (), settings.max_clients
    yield d.ROUND_DEADLINE, (), settings.deadline_seconds
