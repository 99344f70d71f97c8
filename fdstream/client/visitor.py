"""A connection that takes part in one round at a time, for whichever client comes, and says what came of it.

Knows no HTTP and no cloud. One visit at a time; in between it rests.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from fdstream import interrupts
from fdstream.app import App, Config
from fdstream.client.connection import WITHOUT_MEMORY, Connection, Identity, answer
from fdstream.client.session import Session, Standing
from fdstream.counted import CountedLog, Direction
from fdstream.dtypes import Array
from fdstream.events import Tell
from fdstream.heartbeats import Heartbeats
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.log import Log
from fdstream.messages import ConfigValue, Metrics
from fdstream.signatures import SigningKey
from fdstream.trust import NO_PINS, Pins
from fdstream.weights import EvaluateResult, TrainResult, UserFunctionError

REPORTED = "reported"
ALREADY_REPORTED = "already reported"
NO_ROUND_OPEN = "no round open"
FINISHED = "finished"
REFUSED = "refused"


_STANDINGS = {
    Standing.NOT_ASKED: (NO_ROUND_OPEN, "this round does not ask this client"),
    Standing.REPORTED: (ALREADY_REPORTED, ""),
    Standing.FAILED: (
        REFUSED,
        "this client has reported that it failed; it is asked again if the round needs it",
    ),
    Standing.LEFT_OUT: (REFUSED, "the servers have left out every report of this client"),
}


PHASES = ("import", "connect", "receive", "evaluate", "train", "report")


class Watch:
    """Where the time goes: one of `PHASES` after the other, from the first on. Another thread may look."""

    def __init__(self) -> None:
        self.phase = PHASES[0]
        self._seconds: dict[str, float] = {}
        self._since = self._began = time.monotonic()

    def turn_to(self, phase: str) -> None:
        """The phase before ends here."""
        now = time.monotonic()
        self._seconds[self.phase] = self._seconds.get(self.phase, 0.0) + now - self._since
        self.phase, self._since = phase, now

    @property
    def milliseconds(self) -> dict[str, float]:
        """By phase, and of all together since the beginning."""
        seconds = self._seconds | {"total": self._since - self._began}
        return {name: round(1000 * seconds[name], 1) for name in (*PHASES, "total") if name in seconds}


@dataclass(slots=True)
class Visit:
    """What came of a visit; `reason` says more where there is no report."""

    outcome: str
    round: int = 0
    reason: str = ""
    num_examples: int = 0
    metrics: Metrics = field(default_factory=dict)  # of training
    evaluated_examples: int = 0
    evaluate_metrics: Metrics = field(default_factory=dict)  # of the received model
    failed: bool = False  # whether the federation has ended early
    failure: UserFunctionError | None = None  # of the app's functions; the report tells the servers
    warnings: list[str] = field(default_factory=list)
    received_bytes: int = 0
    sent_bytes: int = 0


class _Work:
    """An app's functions, timed, and what they returned."""

    def __init__(self, app: App, watch: Watch) -> None:
        self._app = app
        self._watch = watch
        self.trained: TrainResult | None = None
        self.evaluated: EvaluateResult | None = None

    def run_evaluate(self, weights: Mapping[str, Array], config: Config) -> EvaluateResult | None:
        self._watch.turn_to("evaluate")
        self.evaluated = self._app.run_evaluate(weights, config)
        self._watch.turn_to("report")
        interrupts.check()
        return self.evaluated

    def run_train(self, weights: Mapping[str, Array], config: Config) -> TrainResult:
        self._watch.turn_to("train")
        self.trained = self._app.run_train(weights, config)
        self._watch.turn_to("report")
        interrupts.check()
        return self.trained


class _Notes(Instruments):
    """Counts the bytes that pass one log, and keeps what whoever invokes should hear. `also` looks on."""

    def __init__(self, also: Instruments) -> None:
        self._also = also
        self.bytes: dict[Direction, int] = {"in": 0, "out": 0}
        self.warnings: list[str] = []

    def log(self, log: Log) -> Log:
        return CountedLog(self._also.log(log), self._count)

    def hear(self, tell: Tell) -> None:
        self._also.hear(tell)
        if tell.name == "without memory":
            self.warnings.append(WITHOUT_MEMORY)

    def _count(self, topic: str, direction: Direction, records: int, size_bytes: int) -> None:
        del topic, records
        self.bytes[direction] += size_bytes


class Visitor:
    """Owns the log. After an error it can only be closed."""

    def __init__(
        self,
        log: Log,
        heartbeats: Heartbeats,
        config: Mapping[str, ConfigValue],
        profile: Mapping[str, str],
        instruments: Instruments = UNMEASURED,
        pins: Pins = NO_PINS,
    ) -> None:
        self._notes = _Notes(instruments)
        self._connection = Connection(
            log,
            (),
            heartbeats,
            config=config,
            profile=profile,
            identity=Identity(pins=pins),
            instruments=self._notes,
        )

    @property
    def client(self) -> str | None:
        """Whose visit was the last."""
        return next(iter(self._connection.session.clients), None)

    def visit(self, client: str, app: App, watch: Watch, key: SigningKey | None = None) -> Visit:
        """Take part in the round that is open now, if it asks the client, whose `key` signs.

        Raises `TransportError`, `RemoteError`; `UsageError` where the round asks and a key is needed.
        """
        before, self._notes.warnings = dict(self._notes.bytes), []
        work = _Work(app, watch)
        watch.turn_to("receive")
        visit = self._visit(client, key, work)
        if work.evaluated is not None:
            visit.evaluated_examples, visit.evaluate_metrics = (
                work.evaluated.num_examples,
                work.evaluated.metrics,
            )
        if work.trained is not None:
            visit.num_examples, visit.metrics = work.trained.num_examples, work.trained.metrics
        visit.warnings = self._notes.warnings
        visit.received_bytes = self._notes.bytes["in"] - before["in"]
        visit.sent_bytes = self._notes.bytes["out"] - before["out"]
        return visit

    def _visit(self, client: str, key: SigningKey | None, work: _Work) -> Visit:
        visit = None
        for task in self._connection.visit(client, key):
            failure = answer(work, self._connection, task)
            refusal = self._connection.session.refusal(client)
            if refusal is not None:
                visit = Visit(REFUSED, task.round, refusal)
            else:
                visit = Visit(REPORTED, task.round, failure=failure)
        return without_task(self._connection.session, client) if visit is None else visit

    def close(self) -> None:
        """Release the connections. What was not acknowledged may be lost."""
        self._connection.close()


def without_task(session: Session, client: str) -> Visit:
    """Why a visit found nothing to do."""
    ledger = session.ledger
    if ledger.finished is not None:
        return Visit(FINISHED, ledger.round, ledger.finished.reason, failed=ledger.finished.failed)
    if ledger.opened is None:
        return Visit(NO_ROUND_OPEN, reason="no server has opened this federation")
    if not ledger.asks_for_reports:
        return Visit(NO_ROUND_OPEN, ledger.round, f"what follows round {ledger.round} is not open yet")
    refusal = session.server_refusal(client)
    if refusal is not None:
        return Visit(REFUSED, ledger.round, f"the servers did not take this client's report: {refusal}")
    outcome, reason = _STANDINGS[session.standing(client)]
    return Visit(outcome, ledger.round, reason)
