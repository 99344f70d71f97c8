"""Many light clients in one process: each a member with its own name, several of them behind each connection.

A connection has a thread. The first error of any ends the swarm; so does Ctrl-C, wherever they wait. What the
clients do with a model costs little or a set time, or is an app's: then they take turns, as they share a processor.
Imports no machine learning library.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from fdstream import interrupts
from fdstream.app import App
from fdstream.client.connection import NOBODY, Connection, Identity, Task, answer
from fdstream.errors import UsageError
from fdstream.examples import synthetic
from fdstream.heartbeats import Heartbeats
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.log import Log
from fdstream.weights import UserFunctionError, Weights

logger = logging.getLogger("fdstream.swarm")
OpenLog = Callable[[Sequence[str]], Log]


@dataclass(frozen=True, slots=True)
class Work:
    """What a client does with a model `seconds` after it came: what the `app` says, or else it hands it back.

    If `synthetic`, with changes.
    """

    synthetic: bool = False
    seconds: float = 0.0
    app: App | None = None


@dataclass(frozen=True, slots=True)
class Swarm:
    """Which clients there are and what they do. `model_bytes` is the size a model must have, if given."""

    clients: int
    seed: int
    work: Work
    multiplex: int = 1  # clients behind one connection
    model_bytes: int | None = None
    heartbeat_period_seconds: float = 5.0
    first: int = 0  # number of the first client

    @property
    def names(self) -> list[str]:
        """The same at every start, so that a swarm started again is known again."""
        return [f"swarm-{self.seed}-{index:05}" for index in range(self.first, self.first + self.clients)]

    @property
    def groups(self) -> list[list[str]]:
        """The names behind each connection."""
        names = self.names
        return [names[start : start + self.multiplex] for start in range(0, len(names), self.multiplex)]


@dataclass(frozen=True, slots=True)
class Totals:
    """What a swarm has done."""

    clients: int
    reported: int
    failed: int
    seconds: float


def run_swarm(
    swarm: Swarm,
    open_log: OpenLog,
    instruments: Instruments = UNMEASURED,
    identity: Identity = NOBODY,
) -> Totals:
    """Take part until the federation has finished. `open_log` makes a connection for the clients named.

    One key signs for all of them: a trust list has it once for each name.

    Raises the first error of any connection: `UsageError` for a model of another size,
    `FederationFailedError`, `TransportError`, `RemoteError`.
    """
    began, stop = time.monotonic(), threading.Event()
    groups = swarm.groups
    with Heartbeats(swarm.heartbeat_period_seconds) as heartbeats, ThreadPoolExecutor(len(groups)) as pool:
        turn = threading.Lock()
        workers = [_Worker(swarm, group, stop, instruments, turn, identity) for group in groups]
        try:
            futures = [pool.submit(worker.run, open_log, heartbeats) for worker in workers]
            ended = wait(futures, return_when=FIRST_EXCEPTION).done
        finally:
            stop.set()
    _raise_first(ended)
    reported, failed = sum(each.reported for each in workers), sum(each.failed for each in workers)
    return Totals(swarm.clients, reported, failed, time.monotonic() - began)


def _raise_first(futures: Iterable[Future[None]]) -> None:
    for future in futures:
        future.result()


class _Worker:
    """One connection and the clients behind it, in a thread of its own."""

    def __init__(
        self,
        swarm: Swarm,
        clients: Sequence[str],
        stop: threading.Event,
        instruments: Instruments,
        turn: threading.Lock,
        identity: Identity,
    ) -> None:
        self.reported = 0
        self.failed = 0
        self._swarm = swarm
        self._clients = clients
        self._stop = stop
        self._instruments = instruments
        self._turn = turn  # held while an app trains: it may know one model only
        self._identity = identity
        self._round = 0
        self._received_seconds = 0.0

    def run(self, open_log: OpenLog, heartbeats: Heartbeats) -> None:
        try:
            log = open_log(self._clients)
            with (
                interrupts.heeding(self._stop),
                Connection(
                    log, self._clients, heartbeats, instruments=self._instruments, identity=self._identity
                ) as connection,
            ):
                for task in connection:
                    self._answer(connection, task)
        except interrupts.Stopped:
            logger.debug("a swarm's connection has stopped")

    def _answer(self, connection: Connection, task: Task) -> None:
        self._check_size(connection.session.ledger.layout.model_bytes)
        refusal = self._report(connection, task)
        self.reported += refusal is None
        self.failed += refusal is not None

    def _report(self, connection: Connection, task: Task) -> str | None:
        """Why it failed, if it did."""
        app = self._swarm.work.app
        if app is not None:
            if task.training:
                self._wait(task)
            config = {**task.config, "data_index": int(task.client.rpartition("-")[2])}
            with self._turn:
                error = answer(app, connection, replace(task, config=config))
            return None if error is None else str(error)
        try:
            return connection.report(*self._work(connection, task))
        except UserFunctionError as error:
            connection.fail(str(error))
            return str(error)

    def _work(self, connection: Connection, task: Task) -> tuple[Weights | None, int]:
        if not task.training:
            return None, 0
        with connection.training(task):
            self._wait(task)
            if self._swarm.work.synthetic:
                return synthetic.train(task.named, self._swarm.seed, task.client, task.round)
            return task.weights, 1

    def _wait(self, task: Task) -> None:
        """The clients behind one connection work at the same time, as they would on machines of their own."""
        if task.round != self._round:
            self._round, self._received_seconds = task.round, time.monotonic()
        remaining = self._received_seconds + self._swarm.work.seconds - time.monotonic()
        if remaining > 0:
            self._stop.wait(remaining)
            interrupts.check()

    def _check_size(self, model_bytes: int) -> None:
        wanted = self._swarm.model_bytes
        if wanted is not None and wanted != model_bytes:
            raise UsageError(
                f"the federation's model has {model_bytes} bytes, not the {wanted} of --model-size: start the "
                "server with the same --model-size, or leave it out here"
            )
