"""Does a server need more memory for more clients?

    python evaluations/bench_memory.py [--clients 10,100,1000] [--models 1MB,10MB] [--rounds 3] [--repeats 3]

One broker, one server as a user starts it, and a swarm of `--work echo` behind 20 connections at most. Measured is
the largest resident memory that the kernel has seen of the server process (`VmHWM`), read after the last round and
before the process ends; medians over the repeats, and ratios to the smallest number of clients. Linux only.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from machine import report

from fdstream.topics.admin import Admin
from kafka_cluster import Cluster

FDSTREAM = [sys.executable, "-m", "fdstream"]
CONNECTIONS = 20
POLL_SECONDS = 0.02
AIM = 1.1


@dataclass
class Case:
    """So many clients with a model of such a size, and the server's memory in MiB in each repeat."""

    clients: int
    model: str
    peaks: list[float] = field(default_factory=list)

    def run(self, bootstrap: str, federation: str, rounds: int, errors: Path) -> None:
        where = ["--broker", bootstrap, "--federation", federation, "--model-size", self.model]
        rules = ["--numrounds", str(rounds), "--minclients", str(self.clients)]
        multiplex = str(-(-self.clients // CONNECTIONS))
        swarm = ["--clients", str(self.clients), "--multiplex", multiplex, "--work", "echo"]
        with errors.open("a") as log:
            server = subprocess.Popen([*FDSTREAM, "server", *where, *rules], stdout=log, stderr=log)
            clients = subprocess.Popen([*FDSTREAM, "swarm", *where, *swarm], stdout=log, stderr=log)
            try:
                self.peaks.append(peak_until_end(server))
                if server.returncode or clients.wait():
                    raise SystemExit(f"a process failed:\n{errors.read_text()}")
            finally:
                server.kill()
                clients.kill()


def peak_until_end(process: subprocess.Popen[bytes]) -> float:
    """The process's largest resident memory in MiB; waits for its end."""
    peak = 0.0
    while process.poll() is None:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        peak = float(found[1]) / 1024 if found else peak  # a process that has just ended has no memory
        time.sleep(POLL_SECONDS)
    return peak


def rows_of(cases: list[Case]) -> list[list[str]]:
    fewest = {case.model: case for case in sorted(cases, key=lambda case: -case.clients)}
    return [
        [
            case.model,
            str(case.clients),
            f"{statistics.median(case.peaks):.0f}",
            f"{statistics.median(case.peaks) / statistics.median(fewest[case.model].peaks):.2f}",
            " ".join(f"{peak:.0f}" for peak in case.peaks),
        ]
        for case in cases
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", default="10,100,1000")
    parser.add_argument("--models", default="1MB,10MB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("results/bench_memory.md"))
    options = parser.parse_args()
    cases = [Case(int(n), model) for model in options.models.split(",") for n in options.clients.split(",")]
    with tempfile.TemporaryDirectory() as folder, Cluster(data_dir=Path(folder) / "kafka") as cluster:
        for repeat in range(options.repeats):
            for index, case in enumerate(cases):
                federation = f"memory-{repeat}-{index}"
                case.run(cluster.bootstrap, federation, options.rounds, Path(folder) / "log")
                with Admin(cluster.bootstrap, settings={}) as admin:
                    admin.delete_topics(federation)
    text = (
        "Written by `python evaluations/bench_memory.py`, which says what is measured. Largest resident memory of "
        f"the server in MiB, median of {options.repeats} runs of {options.rounds} rounds. Aim: with 1,000 clients "
        f"at most {AIM} times that with 10."
    )
    page = report(
        "A server's memory and the number of clients",
        text,
        ["model", "clients", "MiB", "ratio", "each run"],
        rows_of(cases),
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
