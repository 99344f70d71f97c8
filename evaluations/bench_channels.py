"""How long is a round over Kafka, over fdstream's own gRPC channel, and over a bare gRPC stream with the same bytes?

    python evaluations/bench_channels.py [--points 100x40KB,100x1MB] [--blocks 4] [--rounds 6]

(k) fdstream over Kafka; (h) the same with bfloat16 both ways; (g) fdstream over its gRPC channel; (b)
`evaluations/bare_grpc.py`, which moves the bytes and adds them up and knows no protocol; (f)
`evaluations/floor.py`, which moves them through the same Kafka and does not even add them up: what (k) could be at
best. All: one server's process and one process with a thread or a stream, and a connection, for each client;
`--work echo`; 4 shards. Blocks alternate, so that a busy machine disturbs all alike; the first five rounds of a
block are left out. A round of fdstream lasts from one "round closed" in the server's log to the next, a round of
(b) and (f) from the first byte of the model to the last update's last byte. Egress is what servers wrote to the
broker for one round of (k), records with their batches' heads, divided by the model's bytes.

Every measurement is kept in the JSON file beside the page. With --add what it holds counts too: so many short calls,
each with a broker of its own, make one table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from bench_round import FDSTREAM, UNITS, finish, floor_block, start
from bench_round import Point as FloorPoint
from machine import report

from fdstream.log import Record
from fdstream.messages import ModelChunk, RoundOpened
from fdstream.serde.avro import decode
from fdstream.topics import table
from fdstream.topics.admin import Admin
from fdstream.topics.kafka_log import KafkaLog
from kafka_cluster import Cluster
from kafka_cluster.ports import free_ports

BARE = [sys.executable, str(Path(__file__).with_name("bare_grpc.py"))]
POINTS = "100x40KB,100x1MB,100x10MB"
WARM_UP_ROUNDS = 5  # over Kafka the first rounds of a federation are longer
CHANNELS = ("k", "h", "g", "b", "f")
BATCH_BYTES = 71  # the head of a batch (61) and of the one record in it
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
    egress: list[float] = field(default_factory=list)  # bytes ÷ model bytes of one round each

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
        if not options:
            point.egress.append(written_by_servers(bootstrap, name, rounds) / point.model_bytes)
        with Admin(bootstrap, settings={}) as admin:
            admin.delete_topics(name)
        return found

    return measure


def written_by_servers(bootstrap: str, federation: str, number: int) -> int:
    """Bytes that went to the broker because of the round, whose model and successor are still there."""
    log = KafkaLog(bootstrap, federation, client_id="bench", settings={})
    topics = [table.CONTROL, table.SHARDS, *(name(number + 1 & 1) for name in (table.model, table.state))]
    waited: dict[tuple[str, int], int] = {}
    for topic in topics:
        ends = zip(log.start_offsets(topic), log.end_offsets(topic), strict=True)
        for partition, (first, end) in enumerate(ends):
            if first < end:
                waited[topic, partition] = end
                log.follow(topic, partition, first)
    total = 0
    while waited:
        for item in log.poll(1.0):
            assert isinstance(item, Record), "kept rounds are not deleted"
            total += _bytes_for(number, item)
            if item.offset + 1 >= waited[item.topic, item.partition]:
                del waited[item.topic, item.partition]
                log.unfollow(item.topic, item.partition)
    log.close()
    return total


def _bytes_for(number: int, record: Record) -> int:
    """The record's, where it is one of the round: its model is the one that it makes."""
    message = decode(record.value)
    of = getattr(message, "round", 0) - isinstance(message, ModelChunk | RoundOpened)
    return BATCH_BYTES + len(record.value) if of == number else 0


def raw_kafka(bootstrap: str) -> Callable[[Point, int, Path, str], list[float]]:
    def measure(point: Point, rounds: int, folder: Path, name: str) -> list[float]:
        return list(floor_block(bootstrap, name, FloorPoint(point.clients, point.model), rounds, folder))

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


def joined(before: list[Point], points: list[Point]) -> list[Point]:
    """Both measurements of a point as one, those from before first."""
    known: dict[tuple[int, str], Point] = {}
    for point in (*before, *points):
        both = known.setdefault((point.clients, point.model), Point(point.clients, point.model))
        both.egress += point.egress
        for channel, found in point.seconds.items():
            both.seconds.setdefault(channel, []).extend(found)
    return sorted(known.values(), key=lambda point: (point.clients, point.model_bytes))


def row(point: Point) -> list[str]:
    kafka, narrow, own, bare_stream, floor = (point.median(name) for name in CHANNELS)
    targets = [f"≤ {target}" if target else "none" for target in TARGETS.get(point.model, (None,) * 3)]
    ratios = [f"{ratio:.2f}" for ratio in (kafka / own, kafka / bare_stream, narrow / bare_stream)]
    cells = [cell for pair in zip(ratios, targets, strict=True) for cell in pair]
    times = [f"{1e3 * seconds:.0f}" for seconds in (kafka, narrow, own, bare_stream, floor)]
    counts = "/".join(str(len(point.seconds[name])) for name in CHANNELS)
    others = [f"{own / bare_stream:.2f}", "≤ 1.2", f"{floor / bare_stream:.2f}", f"{kafka / floor:.2f}"]
    egress = [f"{statistics.median(point.egress):.3f}", "≤ 1.05"]
    return [str(point.clients), point.model, *times, *cells, *others, *egress, counts]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", default=POINTS)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=6, help="measured in each block")
    parser.add_argument("--add", action="store_true", help="to what the JSON file holds")
    parser.add_argument("--out", type=Path, default=Path("results/bench_channels.md"))
    options = parser.parse_args()
    points = [Point(int(p.partition("x")[0]), p.partition("x")[2]) for p in options.points.split(",")]
    kept = options.out.with_suffix(".json")
    before = [Point(**each) for each in json.loads(kept.read_text())] if options.add and kept.exists() else []
    rounds = options.rounds + WARM_UP_ROUNDS
    with tempfile.TemporaryDirectory() as made, Cluster(data_dir=Path(made) / "kafka") as cluster:
        folder = Path(made)
        channels = {
            "k": over_kafka(cluster.bootstrap, ()),
            "h": over_kafka(cluster.bootstrap, BFLOAT16),
            "g": over_grpc,
            "b": bare,
            "f": raw_kafka(cluster.bootstrap),
        }
        for index in range(2):  # a fresh broker is several times slower: its code is not compiled yet
            channels["k"](Point(20, "1MB"), 20, folder, f"warm-{index}")
        for block in range(options.blocks):
            for index, point in enumerate(points):
                for name, measure in channels.items():
                    found = measure(point, rounds, folder, f"{name}-{block}-{index}")
                    point.seconds.setdefault(name, []).extend(found)
                save(joined(before, points[: index + 1] if block == 0 else points), options.out)
                print(f"block {block + 1}:", *row(point), file=sys.stderr, flush=True)
    print(options.out.read_text())


def save(points: list[Point], out: Path) -> None:
    """The page and what it is made of, after every point: a measurement that is cut short is not lost."""
    head = ["clients", "model", "(k) Kafka", "(h) bfloat16", "(g) own gRPC", "(b) bare gRPC", "(f) raw Kafka"]
    ratios = ["k/g", "aim", "k/b", "aim", "h/b", "aim", "g/b", "aim", "f/b", "k/f", "egress", "aim", "rounds"]
    page = report(
        "A round over Kafka and over gRPC",
        "Written by `python evaluations/bench_channels.py`, which says what is measured. Medians in milliseconds.",
        [*head, *ratios],
        [row(point) for point in points],
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(page)
    out.with_suffix(".json").write_text(json.dumps([asdict(point) for point in points]) + "\n")


if __name__ == "__main__":
    main()
