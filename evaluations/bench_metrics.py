"""What do metrics cost a round, in processor time?

    python evaluations/bench_metrics.py [--clients 10] [--rounds 30] [--blocks 10] [--out results/bench_metrics.md]

A server and its clients in one thread on a log in memory, clients that hand the model back: all that fdstream
itself does in a round, and no waiting, no broker, no librdkafka. (a) without instruments; (b) with those of
`--metrics-port`. A scrape of the server is measured apart: it comes every few seconds, whatever rounds do, in a
thread of its own. Blocks alternate, and who begins alternates too. Processor time, so that others disturb little.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from pathlib import Path

from machine import report
from prometheus_client import CollectorRegistry, generate_latest

from fdstream.client.connection import Connection
from fdstream.driver import Driver
from fdstream.examples import synthetic
from fdstream.heartbeats import Heartbeats
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.layout import Layout
from fdstream.log import Log, Lost, MemoryBroker, MemoryLog, Record
from fdstream.messages import Settings
from fdstream.metrics.exporter import instruments
from fdstream.server.opening import Proposal
from fdstream.server.server import Server
from fdstream.topics import table

SHARDS = 4
NEVER_SECONDS = 1e6
SIZES = {"40 KB": 40_000, "1 MB": 1_000_000}


class Site(MemoryLog):
    """The clients' log: whenever they wait, the server moves."""

    def __init__(self, broker: MemoryBroker, server: Driver) -> None:
        super().__init__(broker)
        self._server = server

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        self._server.turn(0)
        return super().poll(timeout_seconds)


def settings(rounds: int, clients: int) -> Settings:
    return Settings(
        num_rounds=rounds,
        min_clients=clients,
        max_clients=clients,
        deadline_seconds=NEVER_SECONDS,
        max_extensions=0,
        fraction=1.0,
        strategy="fedavg",
        keep_rounds=2,
        seed=0,
        final_evaluation=False,
    )


def serving(broker: MemoryBroker, ours: Instruments, model_bytes: int, terms: Settings) -> Driver:
    """A server that has opened a federation."""
    ids = (number.to_bytes(16, "big") for number in itertools.count(1))
    server = Server(control_end=0, new_id=lambda: next(ids))
    log: Log = ours.log(MemoryLog(broker))
    driver = Driver(ours.core(server), log, tell=ours.hear, monotonic=time.monotonic)
    driver.begin()
    driver.perform(server.assign(range(SHARDS)))
    weights = synthetic.app(model_bytes, 0).initial_weights()
    layout = Layout.of(weights, chunk_bytes=None, shards=SHARDS)
    driver.perform(server.propose(Proposal(layout, weights, terms, {})))
    return driver


def run(model_bytes: int, rounds: int, clients: int, registries: tuple[CollectorRegistry, ...]) -> float:
    """Seconds of processor time for a round."""
    roles = zip(registries, ("server", "swarm"), strict=False)
    ours = iter([instruments(registry, "bench", role) for registry, role in roles])
    broker = MemoryBroker({spec.name: spec.partitions for spec in table.topic_specs(SHARDS)}, time.time)
    driver = serving(broker, next(ours, UNMEASURED), model_bytes, settings(rounds, clients))
    names = [f"client-{index}" for index in range(clients)]
    heartbeats, site = Heartbeats(NEVER_SECONDS), Site(broker, driver)
    began = time.process_time()
    with Connection(site, names, heartbeats, instruments=next(ours, UNMEASURED)) as connection:
        for task in connection:
            connection.report(task.weights, 1)
    return (time.process_time() - began) / rounds


def scrape(registry: CollectorRegistry) -> float:
    """Seconds of processor time for one."""
    began = time.process_time()
    generate_latest(registry)
    return time.process_time() - began


def measure(
    model_bytes: int, rounds: int, clients: int, blocks: int
) -> tuple[list[float], list[float], list[float]]:
    """Rounds without and with, and scrapes."""
    found: tuple[list[float], list[float], list[float]] = ([], [], [])
    for block in range(blocks):
        for measured in (False, True) if block % 2 else (True, False):
            registries = (CollectorRegistry(), CollectorRegistry()) if measured else ()
            found[measured].append(run(model_bytes, rounds, clients, registries))
            found[2].extend(scrape(registry) for registry in registries[:1])
    return found


def row(size: str, without: list[float], measured: list[float], scrapes: list[float]) -> list[str]:
    """Medians, their ratio, and the quartiles of the pairs' ratios."""
    a, b = statistics.median(without), statistics.median(measured)
    low, _, high = statistics.quantiles([y / x for x, y in zip(without, measured, strict=True)])
    return [
        size,
        f"{1e3 * a:.2f}",
        f"{1e3 * b:.2f}",
        f"{b / a:.3f}",
        f"{low:.3f} to {high:.3f}",
        f"{1e3 * statistics.median(scrapes):.1f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("results/bench_metrics.md"))
    options = parser.parse_args()
    rows = []
    for size, model_bytes in SIZES.items():
        run(model_bytes, options.rounds, options.clients, ())  # whatever is done once
        rows.append(row(size, *measure(model_bytes, options.rounds, options.clients, options.blocks)))
    page = report(
        "What metrics cost a round",
        "Written by `python evaluations/bench_metrics.py`, which says what is measured. "
        f"{options.clients} clients, {options.blocks} blocks of {options.rounds} rounds each; medians in "
        "milliseconds of processor time a round, of server and clients together.",
        ["model", "(a) without", "(b) with metrics", "b/a", "quartiles of pairs", "a scrape"],
        rows,
    )
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
