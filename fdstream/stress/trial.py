"""One federation over one channel: its processes are started, awaited, and what was seen of it is put down."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fdstream.stress.crew import Crew, Meter
from fdstream.stress.observation import BROKER, CLIENTS, PARTIES, SERVER, Cost, Moment, Observation
from fdstream.stress.plan import KAFKA, Group, Scenario
from fdstream.stress.sockets import COMMAND, Sockets
from fdstream.stress.wire import Traffic
from kafka_cluster.ports import free_ports

TURN_SECONDS = 0.1
DIGITS = "fdstream.examples.digits:app"
DEADLINE_SECONDS = 3600
HEARTBEAT_SECONDS = 60
STATISTICS = "statistics.interval.ms=1000"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a federation is: its name, and the options by which its server and its clients find each other."""

    federation: str
    server: tuple[str, ...]
    clients: tuple[str, ...]


class _ClosedRounds:
    """Counted in a file of moments that grows by a line for every report: what was counted is not read again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._position = 0
        self._count = 0

    def count(self) -> int:
        """How many rounds are closed by now."""
        if self._file.exists():
            with self._file.open("rb") as file:
                file.seek(self._position)
                whole, end, _ = file.read().rpartition(b"\n")
            self._position += len(whole + end)
            self._count += sum(json.loads(line)["moment"] == "round closed" for line in whole.splitlines())
        return self._count


class Trial:
    """`progress` hears how many rounds have closed."""

    def __init__(
        self, crew: Crew, folder: Path, scenario: Scenario, channel: str, name: str, processes: int
    ) -> None:
        self._crew = crew
        self._folder = folder
        self._scenario = scenario
        self._channel = channel
        self._name = name
        self._groups = scenario.groups(processes)
        self._sockets = Sockets()
        own_links = all(host.ports is not None for host in crew.hosts.values())
        self._can_see_sockets = not own_links and shutil.which(COMMAND[0]) is not None

    def run(self, bootstrap: str, progress: Callable[[int], None]) -> Observation:
        """Raises `ChildFailedError`."""
        place = self._place(bootstrap)
        before, broker = self._links(), self._meter_broker()
        server = f"{self._name}-server"
        self._crew.start(SERVER, server, "fdstream", *self._server(place))
        clients = list(self._start_clients(place))
        self._await({SERVER: [server], CLIENTS: clients}, progress)
        costs = {
            SERVER: self._crew.cost(SERVER, [server]),
            CLIENTS: self._crew.cost(CLIENTS, clients),
            BROKER: broker.read() if broker is not None else Cost(0.0, 0, 0),
        }
        after = self._links()
        traffic = {party: after[party] - before[party] for party in after} or self._sockets.traffic()
        return Observation(
            scenario=self._scenario,
            channel=self._channel,
            connections=self._scenario.functions
            + sum(-(-group.count // group.multiplex) for group in self._groups),
            moments={party: tuple(self._moments(party)) for party in (SERVER, CLIENTS)},
            traffic=traffic,
            costs=costs,
            summary=json.loads(self._crew.said(SERVER, server).splitlines()[-1]),
        )

    # Processes

    def _place(self, bootstrap: str) -> Place:
        name = ("--federation", self._name)
        if self._channel == KAFKA:
            broker = (*name, "--broker", bootstrap, "--kafka", STATISTICS)
            return Place(self._name, broker, broker)
        address = f"{self._crew.hosts[SERVER].address}:{free_ports(1)[0]}"
        listen = ("--grpc", *name, "--listen", address)
        return Place(self._name, listen, ("--grpc", *name, "--server", address))

    def _server(self, place: Place) -> Iterator[object]:
        scenario = self._scenario
        yield from ("server", *place.server, "--json", "--log-level", "warning")
        yield from ("--moments", self._file(SERVER), "--heartbeat-period", HEARTBEAT_SECONDS)
        yield from ("--numrounds", scenario.training_rounds, "--minclients", scenario.clients)
        yield from ("--deadline", DEADLINE_SECONDS)
        if scenario.workload == "digits":
            yield from ("--app", DIGITS, "--set", f"partitions={scenario.clients}")
        else:
            yield from ("--model-size", scenario.model_bytes)

    def _start_clients(self, place: Place) -> Iterator[str]:
        for group in self._groups:
            name = f"{self._name}-clients-{group.first}"
            self._crew.start(CLIENTS, name, "fdstream", *self._swarm(place, group))
            yield name
        if self._scenario.functions:
            name = f"{self._name}-functions"
            self._crew.start(CLIENTS, name, "fdstream.stress.functions", *self._functions(place))
            yield name

    def _swarm(self, place: Place, group: Group) -> Iterator[object]:
        yield from (
            "swarm",
            *place.clients,
            "--log-level",
            "warning",
            "--heartbeat-period",
            HEARTBEAT_SECONDS,
        )
        yield from ("--moments", self._file(CLIENTS), "--first", group.first, "--clients", group.count)
        work = "synthetic" if self._scenario.workload == "synthetic" else "echo"
        yield from ("--multiplex", group.multiplex, "--work", f"{work}:{group.seconds:g}")
        if self._scenario.workload == "digits":
            yield from ("--app", DIGITS)

    def _functions(self, place: Place) -> Iterator[object]:
        yield from (each for each in place.clients if each not in ("--grpc", "--kafka", STATISTICS))
        yield from ("--moments", self._file(CLIENTS), "--clients", self._scenario.functions)
        yield from ("--work", self._scenario.workload, "--seconds", self._scenario.train_seconds)

    def _await(self, names: dict[str, list[str]], progress: Callable[[int], None]) -> None:
        closed = _ClosedRounds(self._file(SERVER))
        while not all(self._crew.has_ended(host, name) for host in names for name in names[host]):
            time.sleep(TURN_SECONDS)
            self._crew.check()
            self._look_at_sockets(names)
            progress(closed.count())

    # What is seen

    def _meter_broker(self) -> Meter | None:
        return self._crew.meter(BROKER, BROKER) if self._channel == KAFKA else None

    def _look_at_sockets(self, names: dict[str, list[str]]) -> None:
        """Where links are not counted."""
        if self._can_see_sockets:
            self._sockets.look({party: self._crew.pids(party, names[party]) for party in names})

    def _links(self) -> dict[str, Traffic]:
        found = {party: self._crew.hosts[party].traffic() for party in PARTIES}
        return {party: traffic for party, traffic in found.items() if traffic is not None}

    def _moments(self, party: str) -> Iterable[Moment]:
        file = self._file(party)
        lines = file.read_text("utf-8").splitlines() if file.exists() else []
        return map(json.loads, lines)

    def _file(self, party: str) -> Path:
        return self._folder / f"{self._name}-{party}.jsonl"
