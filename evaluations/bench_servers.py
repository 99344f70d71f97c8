"""What do more servers take off each other, and what do ten thousand clients cost one?

    python evaluations/bench_servers.py [--servers 1,2,4] [--rounds 12] [--multitude 10000]

Hosts are network namespaces where this machine has them, so that what each server's link carries can be counted.

*Servers.* 50 clients that send 12 chunks of 900 KiB each, 1, 2 and 4 servers. Bytes are what the server's link
brought to it, CPU-seconds what its process used, both from the end of the fourth round to the end of the last one, so
that starting, connecting and sharing out is not in them; of the servers of one federation, the means and the largest.

*Clients.* 10,000 clients with 40 KB each, in 2 processes with a connection each; and the least that reading their
updates can take: one consumer that reads as many records of that size from as many partitions, once they are all
there. The server's memory is compared with that of a server with 100 such clients.
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
from dataclasses import dataclass
from pathlib import Path

import psutil
from machine import report

from fdstream.stress.network import Host, hosts

FDSTREAM = [sys.executable, "-m", "fdstream"]
RAW = [sys.executable, str(Path(__file__).with_name("raw_consumer.py"))]
SETTLED = 4  # by the end of this round the group has given every server its shards
CHUNKS, CHUNK = 12, "900KiB"
CLIENTS, CLIENT_PROCESSES = 50, 2
SMALL_BYTES, FEW = 40_000, 100
CHUNK_OF_SMALL = "100KB"
BROKER_HOST, CLIENT_HOST = "broker", "clients"
READY = "Apache Kafka is ready at "
POLL_SECONDS, PAUSE_SECONDS = 0.2, 0.02
TOLERANCE, MOST = 0.15, 1.5


@dataclass(frozen=True, slots=True)
class Used:
    """What a server used between two moments."""

    bytes: int
    cpu_seconds: float


class Bench:
    """A broker, and federations on it one after another."""

    def __init__(self, made: Sequence[Host], folder: Path) -> None:
        self._hosts = {host.name: host for host in made}
        self._folder = folder
        self._number = 0
        self.bootstrap = ""

    def start(self, host: str, *command: str, out: Path | None = None) -> subprocess.Popen[bytes]:
        """A process on a host; its stdout goes to `out`."""
        with (self._folder / "log").open("ab") as log, (out or self._folder / "log").open("ab") as said:
            return subprocess.Popen(
                [*self._hosts[host].prefix, *command], stdin=subprocess.DEVNULL, stdout=said, stderr=log
            )

    def start_broker(self) -> subprocess.Popen[bytes]:
        out = self._folder / "broker"
        place = ["--host", self._hosts[BROKER_HOST].address, "--data-dir", str(self._folder / "kafka")]
        broker = self.start(BROKER_HOST, *FDSTREAM, "broker", *place, out=out)
        while READY not in (said := out.read_text()):
            self._check([broker])
            time.sleep(POLL_SECONDS)
        self.bootstrap = said.partition(READY)[2].split()[0]
        return broker

    def federation(self, servers: int, clients: int, model: str, chunk: str, rounds: int) -> Federation:
        self._number += 1
        return Federation(self, f"servers-{self._number}", servers, clients, model, chunk, rounds)

    def traffic(self, host: str) -> int:
        seen = self._hosts[host].traffic()
        return 0 if seen is None else seen.down.bytes

    def file(self, name: str) -> Path:
        return self._folder / name

    def finish(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        while any(process.poll() is None for process in processes):
            self._check(processes)
            time.sleep(POLL_SECONDS)
        self._check(processes)

    def _check(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        if any(process.poll() for process in processes):
            raise SystemExit(f"a process failed:\n{(self._folder / 'log').read_text()[-4000:]}")


class Federation:
    """The processes of one, watched through the moments that the first server tells."""

    def __init__(
        self, bench: Bench, name: str, servers: int, clients: int, model: str, chunk: str, rounds: int
    ) -> None:
        self._bench = bench
        self._names = [f"server-{index}" for index in range(servers)]
        self._moments = bench.file(f"{name}.jsonl")
        where = ["--broker", bench.bootstrap, "--federation", name, "--log-level", "warning"]
        rules = ["--numrounds", str(rounds), "--minclients", str(clients), "--chunk-bytes", chunk]
        told = ["--model-size", model, "--moments"]
        self.servers = [
            bench.start(host, *FDSTREAM, "server", *where, *rules, *told, f"{self._moments}.{host}")
            for host in self._names
        ]
        edges = [clients * index // CLIENT_PROCESSES for index in range(CLIENT_PROCESSES + 1)]
        multiplex = str(1 if clients <= FEW else -(-clients // CLIENT_PROCESSES))
        self.clients = [
            bench.start(
                CLIENT_HOST,
                *[*FDSTREAM, "swarm", *where, "--work", "echo", "--multiplex", multiplex],
                *["--first", str(first), "--clients", str(end - first)],
            )
            for first, end in itertools.pairwise(edges)
        ]

    def closed_seconds(self) -> list[float]:
        """When the first server heard of each RoundClosed."""
        file = Path(f"{self._moments}.{self._names[0]}")
        lines = file.read_text().splitlines() if file.exists() else []
        return [told["seconds"] for told in map(json.loads, lines) if told["moment"] == "round closed"]

    def wait_for_round(self, number: int) -> None:
        while len(self.closed_seconds()) < number:
            time.sleep(PAUSE_SECONDS)

    def read(self) -> list[Used]:
        """What each server has used so far."""
        return [
            Used(self._bench.traffic(host), sum(psutil.Process(process.pid).cpu_times()[:2]))
            for host, process in zip(self._names, self.servers, strict=True)
        ]

    def peak_bytes(self) -> int:
        return max(
            int(next(line for line in _status(process.pid) if line.startswith("VmHWM")).split()[1]) * 1024
            for process in self.servers
        )

    def finish(self) -> None:
        self._bench.finish([*self.servers, *self.clients])


def _status(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/status").read_text().splitlines()


def shared_out(bench: Bench, counts: Sequence[int], rounds: int) -> Iterator[list[str]]:
    """A row for each number of servers."""
    alone: list[float] = []
    for count in counts:
        federation = bench.federation(count, CLIENTS, f"{CHUNKS * 900}KiB", CHUNK, rounds)
        federation.wait_for_round(SETTLED)
        before = federation.read()
        federation.wait_for_round(rounds)
        after = federation.read()
        federation.finish()
        mib = [(b.bytes - a.bytes) / (rounds - SETTLED) / 2**20 for a, b in zip(before, after, strict=True)]
        cpu = [
            1e3 * (b.cpu_seconds - a.cpu_seconds) / (rounds - SETTLED)
            for a, b in zip(before, after, strict=True)
        ]
        means = [statistics.mean(mib), statistics.mean(cpu)]
        alone = alone or means
        shares = [f"{mean * count / one:.2f}" for mean, one in zip(means, alone, strict=True)]
        yield [
            str(count),
            f"{means[0]:.0f} (at most {max(mib):.0f})",
            shares[0],
            f"{means[1]:.0f} (at most {max(cpu):.0f})",
            shares[1],
        ]


def multitude(bench: Bench, count: int, rounds: int) -> list[str]:
    """One row: so many clients, the floor, and the memory beside that with few clients."""
    peaks, times = [], []
    for clients in (FEW, count):
        federation = bench.federation(1, clients, f"{SMALL_BYTES}B", CHUNK_OF_SMALL, rounds)
        federation.wait_for_round(rounds)
        peaks.append(federation.peak_bytes())
        times = [
            later - earlier for earlier, later in itertools.pairwise(federation.closed_seconds()[:rounds])
        ]
        federation.finish()
    floor = statistics.median(raw_read_seconds(bench, count) for _ in range(3))
    round_seconds = statistics.median(times)
    return [
        f"{count:,}",
        f"{round_seconds:.2f}",
        f"{floor:.2f}",
        f"{round_seconds / floor:.1f}",
        f"{peaks[1] / 2**20:.0f}",
        f"{peaks[1] / peaks[0]:.2f}",
    ]


def raw_read_seconds(bench: Bench, count: int) -> float:
    """See `raw_consumer.py`."""
    out = bench.file("raw")
    out.unlink(missing_ok=True)
    bench.finish([bench.start(CLIENT_HOST, *RAW, bench.bootstrap, str(count), str(SMALL_BYTES), out=out)])
    return float(out.read_text())


def page_of(rows: list[list[str]], row: list[str] | None, how: str) -> str:
    text = (
        f"Written by `python evaluations/bench_servers.py`, which says what is measured. Hosts: {how}. Share: what "
        f"all servers use together, as a multiple of what one alone uses; aim: 1 within {TOLERANCE:.0%}."
    )
    head = ["servers", "MiB read by each, a round", "share", "CPU ms of each, a round", "share"]
    page = report("What more servers take off each other", text, head, rows)
    if row is None:
        return page
    columns = [
        "clients x 40 KB",
        "a round, s",
        "raw consumer, s",
        "ratio",
        "server, MiB",
        "÷ with 100 clients",
    ]
    table_ = "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---:"] * len(columns), row))
    return (
        f"{page}\n## Very many clients\n\nAim: a round at most {MOST} times the raw consumer's.\n\n{table_}\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--servers", default="1,2,4")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--multitude", type=int, default=10_000, help="0 leaves this part out")
    parser.add_argument("--out", type=Path, default=Path("results/bench_servers.md"))
    options = parser.parse_args()
    counts = [int(count) for count in options.servers.split(",")]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        names = [BROKER_HOST, CLIENT_HOST, *(f"server-{index}" for index in range(max(counts)))]
        made, how = stack.enter_context(hosts(names))
        bench = Bench(made, folder)
        broker = bench.start_broker()
        stack.callback(broker.wait)
        stack.callback(broker.terminate)
        rows = list(shared_out(bench, counts, options.rounds))
        row = multitude(bench, options.multitude, 4) if options.multitude else None
    page = page_of(rows, row, how)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
