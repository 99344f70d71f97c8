"""Does a round get shorter with more servers and brokers, where links are what is scarce?

    python evaluations/scale_out.py [--clients 50] [--model-size 1MB] [--rounds 5] [--megabits 100] [--repeat 2]
        [--copies 1,3]

Hosts are network namespaces, each with one link of 100 Mbit/s each way to a switch: a host for the gRPC server, for
each broker and each server, and ten for the clients, an equal part of them on each, as `fdstream swarm --work echo`.
Measured, in turns: one server over gRPC; three brokers with 1, 2 and 3 servers, each with one copy of every record
and with three. A round lasts from one RoundClosed to the next, as a server hears them; the first is left out. Beside
it stands what the busiest link carried (the whole federation, divided by its rounds of training), and how long such a
link takes for it.
Needs Linux, root, iproute2 and util-linux.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import spread_cluster
from machine import report

from fdstream.stress.network import Host, hosts

FDSTREAM = [sys.executable, "-m", "fdstream"]
SPREAD = [sys.executable, str(Path(__file__).with_name("spread_cluster.py"))]
BROKERS, CLIENT_HOSTS, MOST_SERVERS = 3, 10, 3
SHARDS = "6"  # so that each broker leads, and each server takes, as many as the others
GRPC_PORT = 9095
POLL_SECONDS = 0.2
PATIENCE_SECONDS = 90.0
TARGET = 0.5


@dataclass
class Way:
    """One way to carry the rounds, and the seconds that each took."""

    servers: int
    replicas: int  # 0: over gRPC, without brokers
    rounds: list[float] = field(default_factory=list)
    link_bytes: list[float] = field(
        default_factory=list
    )  # a round, of the busiest link in its busier direction
    busiest: str = ""

    @property
    def title(self) -> str:
        if not self.replicas:
            return "gRPC, 1 server"
        copies = "1 copy" if self.replicas == 1 else f"{self.replicas} copies"
        return f"{BROKERS} brokers, {self.servers} server{'s' * (self.servers > 1)}, {copies}"

    @property
    def median_seconds(self) -> float:
        return statistics.median(self.rounds)


class Bench:
    """The hosts, and what runs on them."""

    def __init__(self, made: Sequence[Host], folder: Path, options: argparse.Namespace) -> None:
        self._hosts = {host.name: host for host in made}
        self._folder = folder
        self._options = options
        self._number = 0

    def start(self, host: str, *command: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [*self._hosts[host].prefix, *command], stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def start_brokers(self) -> list[subprocess.Popen[bytes]]:
        folders = spread_cluster.prepare_folders(self._folder, BROKERS)
        return [
            self.start(f"broker-{index}", *SPREAD, "node", str(index), str(folders[index]), *self.brokers)
            for index in range(BROKERS)
        ]

    @property
    def brokers(self) -> list[str]:
        return [self._hosts[f"broker-{index}"].address for index in range(BROKERS)]

    def run(self, way: Way) -> None:
        """One federation; adds its rounds to the way."""
        self._number += 1
        federation = f"scale-{self._number}"
        files = [self._folder / f"{federation}-{index}.jsonl" for index in range(way.servers)]
        before = self._counts()
        self._finish(list(self._start(way, federation, files)))
        total = self._options.rounds + 1
        closed = list(_closed(files[0]))
        way.rounds += [later - earlier for earlier, later in itertools.pairwise(closed[:total])]
        after = self._counts()
        carried = {name: max(np.subtract(after[name], before[name])) for name in after}
        way.busiest = max(carried, key=lambda name: carried[name])
        way.link_bytes.append(float(carried[way.busiest]) / total)

    def _start(self, way: Way, federation: str, files: list[Path]) -> Iterator[subprocess.Popen[bytes]]:
        where = ["--federation", federation, "--log-level", "warning"]
        if way.replicas:
            place = spread_cluster.bootstrap(self.brokers)
            made = self.start("server-0", *SPREAD, "topics", place, federation, SHARDS, str(way.replicas))
            self._finish([made])
            listen = reach = [*where, "--broker", place]
        else:
            address = f"{self._hosts['server-0'].address}:{GRPC_PORT}"
            listen = [*where, "--grpc", "--listen", address]
            reach = [*where, "--grpc", "--server", address]
        rules = ["--numrounds", str(self._options.rounds + 1), "--minclients", str(self._options.clients)]
        for index, file in enumerate(files):
            wanted = [
                *rules,
                "--model-size",
                self._options.model_size,
                "--shards",
                SHARDS,
                "--moments",
                str(file),
            ]
            yield self.start(f"server-{index}", *FDSTREAM, "server", *listen, *wanted)
        edges = [self._options.clients * index // CLIENT_HOSTS for index in range(CLIENT_HOSTS + 1)]
        for index, (first, end) in enumerate(itertools.pairwise(edges)):
            some = ["--first", str(first), "--clients", str(end - first), "--work", "echo"]
            yield self.start(f"clients-{index}", *FDSTREAM, "swarm", *reach, *some)

    def _finish(self, processes: list[subprocess.Popen[bytes]]) -> None:
        try:
            while (codes := [process.poll() for process in processes]).count(0) < len(codes):
                if any(codes):
                    raise SystemExit(f"a process failed:\n{(self._folder / 'log').read_text()[-4000:]}")
                time.sleep(POLL_SECONDS)
        finally:
            for process in processes:
                process.kill()

    def _counts(self) -> dict[str, tuple[int, int]]:
        """Bytes up and down, by host."""
        traffic = {name: host.traffic() for name, host in self._hosts.items()}
        return {name: (seen.up.bytes, seen.down.bytes) for name, seen in traffic.items() if seen is not None}


def _closed(file: Path) -> Iterator[float]:
    """When the server heard of each RoundClosed, in seconds."""
    for moment in map(json.loads, file.read_text().splitlines()):
        if moment["moment"] == "round closed":
            yield moment["seconds"]


def rows_of(ways: Sequence[Way], megabits: int) -> list[list[str]]:
    baseline = ways[0].median_seconds
    return [
        [
            way.title,
            f"{way.median_seconds:.2f}",
            f"{way.median_seconds / baseline:.2f}",
            way.busiest.partition("-")[0],
            f"{statistics.median(way.link_bytes) / 1e6:.0f}",
            f"{statistics.median(way.link_bytes) * 8 / megabits / 1e6:.2f}",
            str(len(way.rounds)),
        ]
        for way in ways
    ]


def measure(ways: Sequence[Way], options: argparse.Namespace) -> None:
    names = [f"broker-{index}" for index in range(BROKERS)]
    names += [f"server-{index}" for index in range(MOST_SERVERS)]
    names += [f"clients-{index}" for index in range(CLIENT_HOSTS)]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made, how = stack.enter_context(hosts(names, megabits=options.megabits))
        if made[0].ports is None:
            raise SystemExit(f"this needs network namespaces, and there are none ({how})")
        bench = Bench(made, folder, options)
        brokers = bench.start_brokers()
        for process in brokers:
            stack.callback(process.wait)
            if process.stdin is not None:
                stack.callback(process.stdin.close)
        for repeat in range(options.repeat):
            for way in ways:
                bench.run(way)
                print(f"{repeat + 1}: {way.title}: {way.median_seconds:.2f} s", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--model-size", default="1MB")
    parser.add_argument("--rounds", type=int, default=5, help="measured in each federation")
    parser.add_argument("--megabits", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=2)
    parser.add_argument("--copies", default="1,3", help="of every record on the brokers")
    parser.add_argument("--out", type=Path, default=Path("results/scale_out.md"))
    options = parser.parse_args()
    copies = [int(each) for each in options.copies.split(",")]
    ways = [Way(1, 0), *(Way(servers, each) for each in copies for servers in (1, 2, 3))]
    measure(ways, options)
    text = (
        "Written by `python evaluations/scale_out.py`, which says what is measured. "
        f"{options.clients} clients, a model of {options.model_size}, links of {options.megabits} Mbit/s. Medians. "
        f"Aim: three brokers and three servers take at most {TARGET} of the time of one gRPC server."
    )
    head = ["over", "round, s", "÷ gRPC", "busiest link", "MB a round", "needs, s", "rounds"]
    page = report("Rounds over slow links, with more servers", text, head, rows_of(ways, options.megabits))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
