"""How long is a round over Kafka, over fdstream's own gRPC channel, and over a bare gRPC stream with the same bytes?

    python evaluations/bench_channels.py [--points 100x40KB,100x1MB] [--blocks 4] [--rounds 6]

(k) fdstream over Kafka; (h) the same with bfloat16 both ways; (g) fdstream over its gRPC channel; (b)
`evaluations/bare_grpc.py`, which moves the bytes and adds them up and knows no protocol. All: one server's process
and one process with a thread or a stream, and a connection, for each client; `--work echo`; 4 shards. Blocks
alternate, so that a busy machine disturbs all alike; the first rounds of a block are left out. A round of fdstream
lasts from one "round closed" in the server's log to the next, a round of (b) from the first byte of the model
to the last update's last byte.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bench_round import FDSTREAM, UNITS, finish, start
from machine import report

from fdstream.topics.admin import Admin
from kafka_cluster import Cluster
from kafka_cluster.ports import free_ports

BARE = [sys.executable, str(Path(__file__).with_name("bare_grpc.py"))]
POINTS = "100x40KB,100x1MB,100x10MB"
WARM_UP_ROUNDS = 2
BFLOAT16 = ("--codec", "bfloat16", "--model-codec", "bfloat16")
TARGETS = {
    "40KB": (1.0, 1.1, None),
    "1MB": (1.0, 1.2, 0.8),
    "10MB": (1.5, 2.0, 1.0),
}


@dataclass
class Point:
    """So many clients with a model of such a size, and the seconds of each measured round by channel."""

    clients: int
    model: str
    seconds: dict[str, list[float]] = field(default_factory=dict)

    @property
    def model_bytes(self) -> int:
        return int(self.model[:-2]) * UNITS[self.model[-2:]]

    def median(self, channel: str) -> float:
        return statistics.median(self.seconds[channel])


def fdstream_rounds(
    point: Point, server: list[str], swarm: list[str], rounds: int, folder: Path
) -> list[float]:
    """Seconds between the ends of rounds, warm-up left out."""
    log = folder / "server.log"
    log.unlink(missing_ok=True)
    clients, model = ("--clients", str(point.clients)), ("--model-size", point.model)
    rules = ("--numrounds", str(rounds), "--minclients", str(point.clients), "--log-format", "json")
    one = start([*FDSTREAM, "server", *model, *rules, *server], log)
    other = start([*FDSTREAM, "swarm", *clients, "--log-level", "warning", *swarm], folder / "swarm.log")
    finish([one, other], log)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    ends = [
        datetime.fromisoformat(line["ts"]).timestamp() for line in lines if line["event"] == "round closed"
    ]
    spans = [later - earlier for earlier, later in itertools.pairwise(ends)]
    return spans[WARM_UP_ROUNDS - 1 :]


def over_kafka(bootstrap: str, options: tuple[str, ...]) -> Callable[[Point, int, Path, str], list[float]]:
    def measure(point: Point, rounds: int, folder: Path, name: str) -> list[float]:
        where = ["--broker", bootstrap, "--federation", name]
        found = fdstream_rounds(point, [*where, *options], where, rounds, folder)
        with Admin(bootstrap, settings={}) as admin:
            admin.delete_topics(name)
        return found

    return measure


def over_grpc(point: Point, rounds: int, folder: Path, name: str) -> list[float]:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    where = ["--grpc", "--federation", name]
    return fdstream_rounds(
        point, [*where, "--listen", address], [*where, "--server", address], rounds, folder
    )


def bare(point: Point, rounds: int, folder: Path, name: str) -> list[float]:
    del name
    address = f"127.0.0.1:{free_ports(1)[0]}"
    arguments = [address, *map(str, (point.model_bytes, point.clients, rounds))]
    processes = [start([*BARE, role, *arguments], folder / "bare.log") for role in ("hub", "edge")]
    lines, _ = finish(processes, folder / "bare.log")
    return [float(line) for line in lines.split()][WARM_UP_ROUNDS:]


def row(point: Point) -> list[str]:
    kafka, narrow, own, floor = (point.median(name) for name in ("k", "h", "g", "b"))
    targets = [f"≤ {target}" if target else "none" for target in TARGETS.get(point.model, (None,) * 3)]
    ratios = [f"{ratio:.2f}" for ratio in (kafka / own, kafka / floor, narrow / floor)]
    cells = [cell for pair in zip(ratios, targets, strict=True) for cell in pair]
    times = [f"{1e3 * seconds:.0f}" for seconds in (kafka, narrow, own, floor)]
    counts = "/".join(str(len(point.seconds[name])) for name in ("k", "h", "g", "b"))
    return [str(point.clients), point.model, *times, *cells, f"{own / floor:.2f}", "≤ 1.2", counts]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", default=POINTS)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=6, help="measured in each block")
    parser.add_argument("--out", type=Path, default=Path("results/bench_channels.md"))
    options = parser.parse_args()
    points = [Point(int(p.partition("x")[0]), p.partition("x")[2]) for p in options.points.split(",")]
    rounds = options.rounds + WARM_UP_ROUNDS
    with tempfile.TemporaryDirectory() as made, Cluster(data_dir=Path(made) / "kafka") as cluster:
        folder = Path(made)
        channels = {
            "k": over_kafka(cluster.bootstrap, ()),
            "h": over_kafka(cluster.bootstrap, BFLOAT16),
            "g": over_grpc,
            "b": bare,
        }
        for index in range(2):  # a fresh broker is several times slower: its code is not compiled yet
            channels["k"](Point(20, "1MB"), 20, folder, f"warm-{index}")
        for block in range(options.blocks):
            for index, point in enumerate(points):
                for name, measure in channels.items():
                    found = measure(point, rounds, folder, f"{name}-{block}-{index}")
                    point.seconds.setdefault(name, []).extend(found)
                print(f"block {block + 1}:", *row(point), file=sys.stderr)
    head = ["clients", "model", "(k) Kafka", "(h) bfloat16", "(g) own gRPC", "(b) bare gRPC"]
    ratios = ["k/g", "aim", "k/b", "aim", "h/b", "aim", "g/b", "aim", "rounds"]
    page = report(
        "A round over Kafka and over gRPC",
        "Written by `python evaluations/bench_channels.py`, which says what is measured. Medians in milliseconds.",
        [*head, *ratios],
        [row(point) for point in points],
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
