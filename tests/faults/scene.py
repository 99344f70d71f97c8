"""What a case plays on: a federation, its servers and clients, its topics, and the checks at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Self

from fdstream.messages import ConfigValue
from fdstream.topics import table
from kafka_cluster import Cluster
from tests.cluster.expected import expected_hash
from tests.cluster.processes import Federation, Gate, Process, hash_of, wait_until
from tests.cluster.starting import Start, forking
from tests.cluster.topics import Topics
from tests.faults.account import Accounts
from tests.faults.crowd import Member
from tests.faults.haste import be_hasty, haste
from tests.faults.lab import Lab
from tests.faults.stops import Stop

CLIENTS = ("ada", "bob", "cyd")
ROUNDS = 4
MANY_ROUNDS = 500  # gates to open when a scene is over


@dataclass
class Scene:
    """One run of a case. A context manager: ends what it started, in any case.

    `bootstrap` is empty where the case brings a broker of its own and says so with `use`.
    """

    lab: Lab
    bootstrap: str
    folder: Path
    seed: int
    start: Start = field(default_factory=forking)
    rounds: int = ROUNDS
    clients: tuple[str, ...] = CLIENTS
    options: tuple[str, ...] = ("--keep-rounds", "all")
    expected: Callable[[Sequence[Sequence[str]]], str] = expected_hash  # the oracle: cohorts -> model_sha256

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.servers: list[Process] = []
        self.members: list[Member] = []
        self.reports: Counter[str] = Counter()  # what became of them
        self.facts: dict[str, object] = {}  # what a person may want to know of this run
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.federation = Federation(self.bootstrap, self.folder, self.start)
        self._stack.enter_context(self.federation)
        self.gate: Gate = self.federation.gate()
        self._stack.callback(self._leave)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def _leave(self) -> None:
        self.gate.open(*range(1, MANY_ROUNDS))
        for member in self.members:
            member.stop()

    def use(self, cluster: Cluster) -> None:
        """Play on this cluster."""
        self.federation.bootstrap = cluster.bootstrap

    def hurry(self) -> None:
        """Whoever takes part from now on soon believes that what is gone is gone."""
        self.start = forking(be_hasty)
        self._stack.enter_context(haste())

    # Who takes part

    @property
    def settings(self) -> tuple[str, ...]:
        """A server's options."""
        return ("--numrounds", str(self.rounds), "--minclients", str(len(self.clients)), *self.options)

    def server(self, *more: str, stop: Stop | None = None, start: Start | None = None) -> Process:
        """Start one; with `stop` it stands still there."""
        prepared = (start or self.start) if stop is None else forking(stop.install)
        server = self.federation.server(*self.settings, *more, start=prepared)
        self.servers.append(server)
        return server

    def client(self, name: str, *more: str, stop: Stop | None = None, start: Start | None = None) -> Process:
        """One as a process of its own; with `stop` it stands still there."""
        prepared = (start or self.start) if stop is None else forking(stop.install)
        return self.federation.client(name, *more, start=prepared)

    def stop(self, when: str, what: str, nth: int = 1) -> Stop:
        """A place at which one of the processes that get it will stand still."""
        number = len(list(self.federation.folder.glob("stop-*")))
        marker = self.federation.folder / f"stop-{number}-{len(self.facts)}"
        made = Stop(when, what, nth, marker)
        self.facts[f"stop {len(self.facts)}"] = str(made)
        return made

    def wait_for_stop(self, stop: Stop, among: list[Process]) -> Process:
        """The process that stands still there."""
        pid = wait_until(f"a process that stands still {stop}", lambda: stop.stopped)
        wait_until("its state", lambda: _state_of(pid) == "T")
        return next(process for process in among if process.pid == pid)

    def crowd(
        self,
        *clients: str,
        gated: bool = False,
        config: Mapping[str, ConfigValue] | None = None,
        kafka: Mapping[str, str] | None = None,
    ) -> Member:
        """Clients on one connection, in a thread; gated, they train when the gate of their round is open."""
        given = dict(config or {}) | ({"gate": str(self.gate.folder)} if gated else {})
        member = Member(self.federation, clients, given, kafka or {})
        self.members.append(member)
        return member

    def everybody(self, *, gated: bool = False) -> None:
        """Each client on a connection of its own, the last behind the gate where there is one."""
        for client in self.clients[:-1]:
            self.crowd(client)
        self.crowd(self.clients[-1], gated=gated)

    def open_gates(self, first: int = 1) -> None:
        """From this round on nobody waits any more."""
        self.gate.open(*range(first, self.rounds + 1))

    # What there is to see

    @cached_property
    def topics(self) -> Topics:
        """The federation's topics, as soon as they exist."""
        return self._stack.enter_context(Topics(self.federation))

    def keep_up(self) -> None:
        """Read the reports from now on, so that later deletions do not hide them."""
        for slot in range(table.SLOTS):
            self.topics.entries(table.reports(slot))

    def wait_for_reports(self, number: int, count: int | None = None) -> None:
        """So many reports of the round are there: by default of all but the gated client."""
        self.topics.wait_for_reports(number, len(self.clients) - 1 if count is None else count)

    def num_records(self) -> int:
        """Of those that a round is made of, in `control` and `shards`."""
        return len(self.topics.entries(table.CONTROL)) + len(self.topics.entries(table.SHARDS))

    def wait_for_records(self, count: int) -> None:
        """So many more are there."""
        enough = self.num_records() + count
        wait_until(f"{enough} records", lambda: self.num_records() >= enough or None)

    # How it must end

    def end(self, servers: list[Process] | None = None) -> Accounts:
        """All servers, or these, end with the oracle's bytes, clients well, and every report is accounted for."""
        hashes = {hash_of(server) for server in servers or self.servers}
        accounts = self.account()
        cohorts = accounts.cohorts()
        assert len(cohorts) == self.rounds, f"{len(cohorts)} of {self.rounds} rounds were closed"
        assert hashes == {self.expected(cohorts)}, f"not the oracle's bytes: {hashes}, cohorts {cohorts}"
        return accounts

    def account(self) -> Accounts:
        """Every client has ended well, and its reports are there."""
        for member in self.members:
            error = member.join()
            assert error is None, f"{member.clients[0]}: {error}"
        accounts = Accounts(self.topics)
        accounts.check_none_missing({key for member in self.members for key in member.reported})
        self.reports = accounts.totals
        return accounts

    def check_prefix(self) -> int:
        """For a federation that cannot go on: every model that it closed is the oracle's. How many there are."""
        accounts = Accounts(self.topics)
        self.reports = accounts.totals
        cohorts = accounts.cohorts()
        for number in range(1, len(cohorts) + 1):
            closed = accounts.history.closed[number]
            assert closed.model_sha256.hex() == self.expected(cohorts[:number]), (
                f"round {number} is not the oracle's"
            )
        return len(cohorts)


def _state_of(pid: int) -> str:
    """A process's state, one letter: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][:1]
