"""The loop of a server: group membership, Kafka, the app and the clock around the pure core.

`ServerRun` holds what one process needs and gives it back in any case; `serve` runs it to the federation's end.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields
from types import TracebackType

from fdstream.app import App
from fdstream.client.fetch import fetch_version
from fdstream.driver import Driver
from fdstream.dtypes import Array
from fdstream.errors import FederationFailedError, UsageError
from fdstream.events import Tell
from fdstream.heartbeats import Heartbeats, Member
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.keys import TrustFile
from fdstream.layout import Layout
from fdstream.ledger import Phase
from fdstream.log import Log
from fdstream.members import GONE, PERIOD
from fdstream.messages import ConfigValue, FederationOpened, Heartbeat, Settings
from fdstream.server.evaluator import Evaluator, Job
from fdstream.server.opening import Proposal
from fdstream.server.server import COORDINATING_SHARD, Server
from fdstream.signatures import SigningKey
from fdstream.topics import table
from fdstream.trust import ANYBODY, Pins

logger = logging.getLogger("fdstream.server")
POLL_SECONDS = 0.1
_MODELS = frozenset({"app", "model_bytes"})  # options that say what is trained


@dataclass(frozen=True, slots=True)
class Plan:
    """What the person who starts a server wants of the federation, should it be the one to open it."""

    settings: Settings
    chunk_bytes: int | None  # None: as much for each shard
    shards: int
    config: Mapping[str, ConfigValue]
    chosen: Mapping[str, str]  # what was asked for, and not left at its default: setting -> option


@dataclass(frozen=True, slots=True)
class Connections:
    """How a server reaches its federation: logs to open, a membership in the group, the number of shards."""

    federation: str  # its name
    open_log: Callable[[str], Log]  # by role, for names and metrics
    ownership: Callable[[], frozenset[int] | None]  # the shards, when they have changed since the last call
    shards: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a server is and whom it knows. Without `key` it signs nothing, without `trust` anybody may take part."""

    key: SigningKey | None = None
    servers: frozenset[bytes] = frozenset()  # public keys of all who may run the federation
    trust: TrustFile | None = None


NOBODY = Identity()


@dataclass(frozen=True, slots=True)
class Summary:
    """How a federation ended, as a server saw it."""

    rounds: int
    clients: int  # in the last cohort
    metrics: dict[str, float]
    model_sha256: str


class ServerRun:
    """One server process."""

    def __init__(
        self,
        connections: Connections,
        app: App,
        plan: Plan,
        *,
        heartbeat_period_seconds: float,
        observe: Callable[[Tell], None],
        identity: Identity = NOBODY,
        instruments: Instruments = UNMEASURED,
    ) -> None:
        self._connections = connections
        self._identity = identity
        self._app = app
        self._plan = plan
        self._observe = observe
        self._instruments = instruments
        self._stack = ExitStack()
        self._log = connections.open_log("server")
        self.core = Server(
            control_end=self._log.end_offsets(table.CONTROL)[0],
            new_id=lambda: os.urandom(16),
            pins=Pins(connections.federation, identity.servers),
            trust=identity.trust.trust if identity.trust is not None else ANYBODY,
        )
        core = instruments.core(self.core)
        self._driver = Driver(core, self._log, tell=self._hear, monotonic=time.monotonic, key=identity.key)
        self._heartbeats = Heartbeats(heartbeat_period_seconds)
        self._evaluator = Evaluator(app, lambda: connections.open_log("evaluator"), identity.key)
        self._checked = False
        self._evaluated = 0
        self._gone = False
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self._member = Member(self._log, self._heartbeat, lambda: self.core.protocol)

    def __enter__(self) -> ServerRun:
        self._stack.callback(self._log.close)
        self._stack.enter_context(self._heartbeats)
        self._stack.enter_context(self._evaluator)
        attendance = self._instruments.attending(lambda: self._connections.open_log("attendance"))
        self._stack.enter_context(attendance)
        self._heartbeats.join(self._member)
        self._stack.callback(self._leave)
        self._driver.begin()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def run(self) -> Summary:
        """Serve until the federation has finished. Raises `FederationFailedError` where it gave up."""
        if self._identity.trust is None:
            logger.info("anyone who may write to the reports topic may take part: --trust says who may")
        while self.core.ledger.phase is not Phase.FINISHED or not self.core.caught_up:
            self._turn()
        self._hear_out()
        finished = self.core.ledger.finished
        assert finished is not None
        if finished.failed:
            raise FederationFailedError(f"the federation ended early: {finished.reason}")
        return self._summary()

    def final_weights(self) -> dict[str, Array]:
        """The global model at the end, by name."""
        return fetch_version(self._log, self.core.ledger, self._final_round).tensors()

    # The loop

    def _turn(self) -> None:
        shards = self._connections.ownership()
        if shards is not None:
            said = "the group gave this server its shards" if shards else "this server has no shards for now"
            logger.info(said, extra={"shards": sorted(shards)})
            self._driver.perform(self.core.assign(shards))
            self._heartbeats.hurry(self._member)
        trust = self._identity.trust.poll() if self._identity.trust is not None else None
        if trust is not None:
            self._driver.perform(self.core.trust(trust))
        if self.core.needs_proposal:
            self._driver.perform(self.core.propose(self._proposal()))
        self._driver.turn(POLL_SECONDS)
        if not self._checked and self.core.caught_up and self.core.ledger.opened is not None:
            self._check()
        self._evaluate()

    def _hear_out(self) -> None:
        """Let the last evaluation end, and read what it found."""
        self._evaluate()
        self._evaluator.drain()
        self._log.flush()
        end = self._log.end_offsets(table.CONTROL)[0]
        while self.core.control_position < end:
            self._driver.turn(POLL_SECONDS)

    def _proposal(self) -> Proposal:
        weights = self._app.initial_weights()
        layout = Layout.of(weights, chunk_bytes=self._plan.chunk_bytes, shards=self._connections.shards)
        return Proposal(
            layout,
            weights,
            self._plan.settings,
            self._plan.config,
            federation=self._connections.federation,
            server_keys=tuple(sorted(self._identity.servers)),
        )

    def _check(self) -> None:
        """The federation is open: what this server was asked to do must not contradict it."""
        self._checked = True
        federation = self.core.ledger.federation
        self._check_key(federation)
        if self._plan.chosen.keys() & _MODELS:
            self._check_model()
        theirs = _terms(federation.settings, federation.chunk_bytes, federation.shards, federation.config)
        ours = _terms(self._plan.settings, self._plan.chunk_bytes, self._plan.shards, self._plan.config)
        wrong = [
            f"{option} = {_said(name, theirs)}, not {_said(name, ours)}"
            for name, option in sorted(self._plan.chosen.items())
            if name in ours and theirs.get(name) != ours[name]
        ]
        if wrong:
            raise UsageError(
                f"this federation is open with {'; with '.join(wrong)}: leave the option"
                f"{'s' * (len(wrong) > 1)} out, or choose another --federation"
            )

    def _check_key(self, federation: FederationOpened) -> None:
        """Where a federation names keys, only what is signed with one of them counts: this server must have one."""
        key = self._identity.key
        if federation.server_keys and (key is None or key.public not in federation.server_keys):
            raise UsageError(
                "this federation's servers sign what they write, and this one has none of their keys: give --key, "
                "or choose another --federation"
            )

    def _check_model(self) -> None:
        """An app that was asked for must be the one that the federation trains, as far as its tensors show."""
        layout = self.core.ledger.layout
        ours = Layout.of(self._app.initial_weights(), chunk_bytes=layout.chunk_bytes, shards=layout.shards)
        difference = layout.mismatch(ours.tensors)
        if difference is not None:
            raise UsageError(
                f"this federation is open with another model: of the one asked for here, {difference}. "
                "Give the app that it was opened with, or choose another --federation"
            )

    def _evaluate(self) -> None:
        """Give the evaluator the newest model, once per round, where this server coordinates."""
        ledger, number = self.core.ledger, self._newest_round()
        if not self._app.evaluates_globally:
            return
        if (
            number <= self._evaluated
            or number in ledger.evaluated
            or COORDINATING_SHARD not in self.core.assigned
        ):
            return
        self._evaluated = number
        slot = table.slot_of(number, ledger.federation.slots)
        model = ledger.current_model() if number > ledger.round else ledger.round_opened.model
        config = {**ledger.federation.config, "round": number}
        nonce, topic, codec = ledger.federation.nonce, table.model(slot), ledger.model_codec
        job = Job(nonce, ledger.protocol, number, topic, model, ledger.layout, codec, config)
        self._evaluator.submit(job)

    def _newest_round(self) -> int:
        ledger = self.core.ledger
        if not self.core.caught_up or ledger.opened is None:
            return 0
        return self._final_round if ledger.phase is Phase.FINISHED else ledger.round

    @property
    def _final_round(self) -> int:
        finished = self.core.ledger.finished
        assert finished is not None
        return finished.rounds + 1

    def _summary(self) -> Summary:
        ledger = self.core.ledger
        closed = ledger.closed_record
        assert closed is not None
        evaluated = ledger.evaluated.get(self._final_round)
        metrics = {f"train_{name}": value for name, value in closed.train_metrics.items()}
        metrics |= {f"evaluate_{name}": value for name, value in closed.evaluate_metrics.items()}
        metrics |= {
            f"global_{name}": value for name, value in (evaluated.metrics if evaluated else {}).items()
        }
        return Summary(self._final_round - 1, closed.num_clients, metrics, closed.model_sha256.hex())

    # What is heard

    def _hear(self, tell: Tell) -> None:
        self._observe(tell)
        self._instruments.hear(tell)

    def _leave(self) -> None:
        self._gone = True
        self._heartbeats.leave(self._member)

    def _heartbeat(self) -> Heartbeat:
        ledger = self.core.ledger
        shards = " ".join(map(str, sorted(self.core.owners)))
        state = GONE if self._gone else ledger.phase.name.lower()
        profile = {"shards": shards, PERIOD: f"{self._heartbeats.period_seconds:g}"}
        return Heartbeat(self.name, "server", state, ledger.round, profile)


def _terms(
    settings: Settings, chunk_bytes: int | None, shards: int, config: Mapping[str, ConfigValue]
) -> dict[str, object]:
    """Everything a federation is opened with, by name; `set NAME` is an entry of its config."""
    terms: dict[str, object] = {field.name: getattr(settings, field.name) for field in fields(Settings)}
    terms |= {"chunk_bytes": chunk_bytes, "shards": shards}
    return terms | {f"set {name}": value for name, value in config.items()}


def _said(name: str, terms: Mapping[str, object]) -> object:
    """A setting as one would give it."""
    if name == "keep_rounds" and terms[name] == 0:
        return "all"
    return terms.get(name, "nothing")
