"""What is asked for, and which federations and processes that makes. Pure: knows no process and no clock."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

KAFKA, GRPC = "kafka", "grpc"
CHANNELS = (KAFKA, GRPC)
WORKLOADS = ("echo", "synthetic", "digits")
WARM_UP_ROUNDS = 1
CLIENTS_A_PROCESS = 25
MOST_CONNECTIONS = 200  # where there are more local clients, those of a process share one


@dataclass(frozen=True, slots=True)
class Stragglers:
    """A share of the clients that take so much longer than the others."""

    share: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """Clients in one process: numbers `first` to `first + count - 1`, `multiplex` behind each connection."""

    first: int
    count: int
    multiplex: int
    seconds: float  # that each takes to train, beyond what its work takes


@dataclass(frozen=True, slots=True)
class Scenario:
    """One federation, whatever carries it. `rounds` are those that are measured."""

    local: int
    functions: int
    rounds: int
    model_bytes: int  # of the synthetic model; digits brings its own
    workload: str
    train_seconds: float = 0.0
    stragglers: Stragglers = Stragglers()

    @property
    def clients(self) -> int:
        return self.local + self.functions

    @property
    def training_rounds(self) -> int:
        """The first, in which processes start and connect, is not measured."""
        return self.rounds + WARM_UP_ROUNDS

    @property
    def measured(self) -> range:
        """Numbers of the rounds that are measured."""
        return range(1 + WARM_UP_ROUNDS, 1 + self.training_rounds)

    def groups(self, processes: int) -> list[Group]:
        """The local clients, shared out over about so many processes; stragglers have one of their own."""
        slow = math.ceil(self.stragglers.share * self.local)
        wanted = min(processes, math.ceil((self.local - slow) / CLIENTS_A_PROCESS))
        quick = [self._group(part, self.train_seconds) for part in _parts(self.local - slow, wanted)]
        late = self._group(range(self.local - slow, self.local), self.train_seconds + self.stragglers.seconds)
        return quick + ([late] if slow else [])

    def _group(self, part: range, seconds: float) -> Group:
        return Group(part.start, len(part), len(part) if self.local > MOST_CONNECTIONS else 1, seconds)

    @property
    def title(self) -> str:
        """In a few words, for people."""
        size = "digits" if self.workload == "digits" else f"{size_text(self.model_bytes)}, {self.workload}"
        mix = f"{self.local} local clients and {self.functions} functions" if self.functions else ""
        time = f", {self.train_seconds:g} s of training" if self.train_seconds else ""
        late, share = self.stragglers, f"{100 * self.stragglers.share:.3g}%"
        slow = f", {share} of the local clients {late.seconds:g} s later" if late.share * late.seconds else ""
        return f"{mix or f'{self.clients} clients'}, {size}{time}{slow}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one command measures."""

    scenarios: tuple[Scenario, ...]
    analysis: Scenario  # for the analysis of the network: on data that is there to be compared with
    channels: tuple[str, ...]
    repeat: int
    out: Path
    processes: int  # for clients
    warm_up: Scenario  # for the broker, whose code is slow until it is compiled

    def trials(self) -> Iterator[tuple[Scenario, str]]:
        """Which federation runs when: channels alternate, and take turns in going first."""
        for scenario in self.scenarios:
            for index in range(self.repeat):
                order = self.channels if index % 2 == 0 else self.channels[::-1]
                yield from ((scenario, channel) for channel in order)
        if self.analysis not in self.scenarios:
            yield from ((self.analysis, channel) for channel in self.channels)

    @property
    def count(self) -> int:
        return sum(1 for _ in self.trials())


def sweep(scenario: Scenario, name: str, values: Sequence[int]) -> tuple[Scenario, ...]:
    """The scenario with each of the values for `clients` or `model-size`."""
    if name == "clients":
        return tuple(_with_clients(scenario, value) for value in values)
    return tuple(replace(scenario, model_bytes=value) for value in values)


def size_text(size: int) -> str:
    """A model's size as one would give it: 40KB, 1MB, 1.5MB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if size >= unit:
            return f"{size / unit:g}{name}"
    return f"{size}B"


def _with_clients(scenario: Scenario, clients: int) -> Scenario:
    """The mix of local clients and functions stays."""
    functions = round(clients * scenario.functions / scenario.clients)
    return replace(scenario, local=clients - functions, functions=functions)


def _parts(count: int, parts: int) -> Iterator[range]:
    edges = [count * index // max(parts, 1) for index in range(parts + 1)]
    yield from (range(low, high) for low, high in itertools.pairwise(edges) if high > low)
