"""The loop of a client: wait for a round, hand its model out as a task, write what came back.

`Connection` is the form for scripts with a training loop of their own (`fdstream.connect`); `work` runs an `App`
on it. One connection can carry many virtual clients, or serve one after the other, a round at a time (`visit`). This
is where a client's core meets Kafka, time and threads.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from fdstream import interrupts
from fdstream.app import App, Config
from fdstream.client.session import Outcome, Session
from fdstream.driver import Driver
from fdstream.dtypes import Array
from fdstream.errors import FederationFailedError, UsageError
from fdstream.events import Tell
from fdstream.heartbeats import Heartbeats, Member
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.log import Log
from fdstream.members import GONE, PERIOD
from fdstream.messages import MAX_NAME_LENGTH, ConfigValue, FederationFinished, Heartbeat, Metrics
from fdstream.signatures import SigningKey
from fdstream.trust import NO_PINS, Pins
from fdstream.weights import (
    EvaluateResult,
    TrainResult,
    UserFunctionError,
    Weights,
    evaluate_result,
    to_user,
    train_result,
)

logger = logging.getLogger("fdstream.client")
POLL_SECONDS = 0.5
BETWEEN_SECONDS = 0.1  # at most, while clients that share a connection take turns, if their work allows
WITHOUT_MEMORY = (
    "this client has no memory of earlier rounds: what the codec left out of its updates then, if it took part, is "
    "lost. Keep clients running, or choose --codec bfloat16"
)


@dataclass(frozen=True, slots=True)
class Task:
    """One client's work in one round. `weights` are read-only, in the container the app's author gave.

    In a round with `training` False the model is final: evaluate it and report metrics alone.
    """

    client: str
    round: int
    training: bool
    weights: dict[str, Array] | list[Array]
    config: Config
    named: dict[str, Array] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a client is and whom it trusts: the key that signs its reports, the servers it takes part with."""

    key: SigningKey | None = None
    pins: Pins = NO_PINS


NOBODY = Identity()


class Connection:
    """Tasks come out by iterating; each is answered by `report` or `fail`. A context manager.

    Iteration ends when the federation has finished; if it failed, with `FederationFailedError`.
    """

    def __init__(
        self,
        log: Log,
        clients: Sequence[str],
        heartbeats: Heartbeats,
        *,
        config: Mapping[str, ConfigValue] | None = None,
        profile: Mapping[str, str] | None = None,
        identity: Identity = NOBODY,
        instruments: Instruments = UNMEASURED,
    ) -> None:
        _check_names(clients)
        self.session = Session(clients, lambda: os.urandom(16), identity.pins)
        self._log = instruments.log(log)
        self._instruments = instruments
        self._heartbeats = heartbeats
        self._config = dict(config or {})
        self._profile = {**(profile or {}), PERIOD: f"{heartbeats.period_seconds:g}"}
        core = instruments.core(self.session)
        self._driver = Driver(core, self._log, tell=self._hear, monotonic=time.monotonic, key=identity.key)
        self.states: dict[str, str] = {}  # what each client does, for people
        self.answered_round = 0
        self._members: dict[str, Member] = {}
        self._task: Task | None = None
        self._began_seconds = 0.0

    def __enter__(self) -> Connection:
        self._driver.begin()
        for client in self.session.clients:
            self._join(client)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._leave_all()
        if kind is None:
            self._driver.settle()
        self._log.close()

    def __iter__(self) -> Iterator[Task]:
        while due := self._wait_for_task():
            yield from self._hand_out(due)
            self._driver.perform(self.session.release())

    def visit(self, client: str, key: SigningKey | None = None) -> Iterator[Task]:
        """The client's task in the round that is open now, if it has one: waits for no other round.

        `key` signs its report. Afterwards everything is acknowledged, and the connection, which must not be entered,
        rests until it is closed or the next visit, perhaps of another client. After an error it can only be closed.
        """
        _check_names([client])
        self._driver.key = key
        self._driver.perform(self.session.visit([client], None if key is None else key.public))
        self._join(client)
        while not self.session.knows:
            interrupts.check()
            self._driver.turn(POLL_SECONDS)
        if due := self.session.due():
            self._check_signing()
        yield from self._hand_out(due)
        self._leave_all()
        self._driver.settle()
        self._driver.perform(self.session.leave())

    def close(self) -> None:
        """Of a connection for visits: as after an error, nothing more is sent."""
        for member in self._members.values():
            self._heartbeats.forget(member)
        self._log.close()

    @property
    def finished(self) -> FederationFinished | None:
        """How the federation ended, once it has."""
        return self.session.ledger.finished

    def report(
        self,
        weights: Weights | None,
        num_examples: int,
        metrics: Metrics | None = None,
        *,
        evaluated_examples: int = 0,
        evaluate_metrics: Metrics | None = None,
    ) -> str | None:
        """Send the trained weights of the task in hand (None where there was no training) and its metrics.

        Returns None, or why the update cannot be summed: then the report says that this client failed.
        Raises `UsageError` for weights, numbers or metrics that cannot be used; the task is then still open.
        """
        task = self._in_hand()
        evaluated = evaluate_metrics or {}
        if evaluated or evaluated_examples != 0:
            evaluated = evaluate_result(evaluated_examples, evaluated, source="report").metrics
        if not task.training:
            return self._finish(Outcome(None, 0, {}, evaluated_examples, evaluated))
        result = train_result(task.named, weights, num_examples, metrics or {}, source="report")
        return self._finish(
            Outcome(result.weights, result.num_examples, result.metrics, evaluated_examples, evaluated)
        )

    @contextmanager
    def training(self, task: Task) -> Iterator[None]:
        """Around what trains, where that is to be timed; uploading is no part of it."""
        began_seconds = time.monotonic()
        yield
        facts = {"client": task.client, "round": task.round}
        self._hear(Tell("trained", facts | {"lasted_seconds": time.monotonic() - began_seconds}))

    def fail(self, reason: str) -> None:
        """Say that this client cannot do the task in hand; it stays for the next round."""
        self._in_hand()
        self._finish(Outcome(failure=reason[:1000].encode(errors="replace").decode()))

    # Members

    def _join(self, client: str) -> None:
        self._say(client, "waiting")
        now = partial(self._heartbeat, client)
        self._members[client] = Member(self._log, now, lambda: self.session.protocol)
        self._heartbeats.join(self._members[client])

    def _leave_all(self) -> None:
        while self._members:
            client, member = self._members.popitem()
            self._say(client, GONE)
            self._heartbeats.leave(member)

    # One task

    def _hand_out(self, due: Sequence[str]) -> Iterator[Task]:
        """To one after another; what came of an earlier one's work does not wait for that of a later one."""
        turned_seconds = time.monotonic()
        for client in due:
            if time.monotonic() >= turned_seconds + BETWEEN_SECONDS:
                self._driver.turn(0)
                turned_seconds = time.monotonic()
            if not self.session.is_due(client):
                continue  # the round went on without it
            yield self._start(client)
            if self._task is not None:
                raise UsageError(f"round {self._task.round} was not answered: call report() or fail()")

    def _wait_for_task(self) -> list[str]:
        """The clients whose work is due; none once the federation has finished."""
        while not (due := self.session.due()):
            interrupts.check()
            finished = self.session.ledger.finished
            if finished is not None and self.session.finished:
                if finished.failed:
                    raise FederationFailedError(f"the federation ended early: {finished.reason}")
                return []
            self._driver.turn(POLL_SECONDS)
        self._check_signing()
        return due

    def _check_signing(self) -> None:
        """Better no training than training in vain."""
        if self.session.ledger.federation.settings.signed_reports and self._driver.key is None:
            raise UsageError(
                "this federation takes signed reports only: make a key with `fdstream keys new`, give its private "
                "part with --key, and its public part to whoever runs the servers"
            )

    def _start(self, client: str) -> Task:
        ledger, assembly = self.session.ledger, self.session.receiver.assembly
        assert assembly is not None
        opened = ledger.round_opened
        named = assembly.model.tensors()
        config: dict[str, Any] = {
            **ledger.federation.config,
            **self._config,
            "client_id": client,
            "round": opened.round,
            "num_rounds": ledger.federation.settings.num_rounds,
        }
        self._task = Task(client, opened.round, opened.training, to_user(named), config, named)
        self._began_seconds = time.monotonic()
        self._say(client, "training" if opened.training else "evaluating")
        return self._task

    def _in_hand(self) -> Task:
        if self._task is None:
            raise UsageError("there is no task to answer: each task of the loop is answered once")
        return self._task

    def _finish(self, outcome: Outcome) -> str | None:
        """Write it; why this client failed, if it did."""
        task, self._task = self._in_hand(), None
        self.answered_round = task.round
        self._say(task.client, "uploading")
        self._driver.perform(self.session.report(task.client, outcome))
        failure = outcome.failure or self.session.refusal(task.client)
        self._say(task.client, "failed" if failure else "waiting")
        facts = {"client": task.client, "round": task.round, "failure": failure}
        self._hear(Tell("task answered", facts | {"seconds": time.monotonic() - self._began_seconds}))
        return failure

    def _say(self, client: str, state: str) -> None:
        self.states[client] = state
        if client in self._members:
            self._heartbeats.hurry(self._members[client])
        self._hear(Tell("client state", {"client": client, "state": state}))

    def _hear(self, tell: Tell) -> None:
        _log(tell)
        self._instruments.hear(tell)

    def _heartbeat(self, client: str) -> Heartbeat:
        state = self.states[client]
        if state == "waiting" and self.session.is_uploading(client):
            state = "uploading"  # handed over to the log, which is not done with it
        return Heartbeat(client, "client", state, self.session.ledger.round, self._profile)


def _check_names(clients: Sequence[str]) -> None:
    for client in clients:
        if not (client and client.isprintable() and len(client) <= MAX_NAME_LENGTH):
            raise UsageError(
                f"{client[:80]!r} is no client id: use 1 to {MAX_NAME_LENGTH} printable characters"
            )
    if len(set(clients)) != len(clients):
        raise UsageError("two clients of one connection have the same id: give each one of its own")


def _log(tell: Tell) -> None:
    """A few lines about many bad records; one a client where a codec's memory is missing."""
    match tell.name, tell.facts:
        case "rejected", {"count": count} if count in (1, 10, 100) or count % 1000 == 0:
            logger.warning("record refused", extra=dict(tell.facts))
        case "report refused", _:
            logger.warning("the servers did not take this client's report", extra=dict(tell.facts))
        case "model lost", _:
            logger.warning(
                "the log no longer holds the model of this round, so this client leaves the round out. If the round "
                "is not over, set the retention of the federation's topics to unlimited (`fdstream topics settings`)",
                extra=dict(tell.facts),
            )
        case "without memory", _:
            logger.warning(WITHOUT_MEMORY, extra=dict(tell.facts))


def work(app: App, connection: Connection) -> Iterator[tuple[Task, UserFunctionError | None]]:
    """Answer every task with the app's functions; yields each with what went wrong, if anything did."""
    for task in connection:
        yield task, answer(app, connection, task)


class Functions(Protocol):
    """What an `App` does with a model."""

    def run_train(self, weights: Mapping[str, Array], config: Config) -> TrainResult: ...

    def run_evaluate(self, weights: Mapping[str, Array], config: Config) -> EvaluateResult | None: ...


def answer(functions: Functions, connection: Connection, task: Task) -> UserFunctionError | None:
    """Answer one task; what went wrong, if anything did."""
    try:
        evaluated = functions.run_evaluate(task.named, task.config)
        trained = _train(functions, connection, task) if task.training else None
    except UserFunctionError as error:
        connection.fail(str(error))
        return error
    refusal = connection.report(
        None if trained is None else trained.weights,
        0 if trained is None else trained.num_examples,
        {} if trained is None else trained.metrics,
        evaluated_examples=evaluated.num_examples if evaluated else 0,
        evaluate_metrics=evaluated.metrics if evaluated else {},
    )
    return None if refusal is None else UserFunctionError(refusal)


def _train(functions: Functions, connection: Connection, task: Task) -> TrainResult:
    with connection.training(task):
        return functions.run_train(task.named, task.config)
