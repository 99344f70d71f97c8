"""How much slower is a round of fdstream than moving the same bytes through the same Kafka with no protocol?

    python evaluations/bench_round.py [--points 10x40KB,100x1MB] [--blocks 4] [--rounds 6] [--out results/bench_round]

(a) the floor: `evaluations/floor.py`, confluent-kafka producers and consumers and nothing else.
(b) fdstream: `fdstream server --model-size` and `fdstream swarm --work echo`, as a user starts them.
Both: one broker started for this, 4 partitions, acks=all, chunks of 900 KiB, a thread and a connection for each
client, the receiving side and the clients in one process each, data in standing topics. Blocks of (a) and (b)
alternate, so that a busy machine disturbs both alike; the first rounds of a block, in which connections are made,
are left out. A round of (b) lasts from its RoundOpened to the next, by the broker's timestamps (to 1 ms); a
round of (a) from the append of the model's first chunk to the arrival of the last update's last byte.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from machine import about, report

from fdstream.log import Record
from fdstream.messages import RoundClosed, RoundClosing, RoundOpened
from fdstream.serde.avro import decode
from fdstream.topics import table
from fdstream.topics.admin import Admin
from fdstream.topics.kafka_log import KafkaLog
from kafka_cluster import Cluster

POINTS = "10x40KB,10x1MB,10x10MB,100x40KB,100x1MB,100x10MB"
UNITS = {"KB": 10**3, "MB": 10**6}
WARM_UP_ROUNDS = 2
POLL_SECONDS = 0.2
TARGET = 1.3
FDSTREAM = [sys.executable, "-m", "fdstream"]
FLOOR = [sys.executable, str(Path(__file__).with_name("floor.py"))]


@dataclass(frozen=True, slots=True)
class Round:
    """One round of fdstream in seconds, by the broker's timestamps."""

    collecting: float  # RoundOpened to RoundClosing
    closing: float  # RoundClosing to RoundClosed
    opening: float  # RoundClosed to the next RoundOpened

    @property
    def total(self) -> float:
        return self.collecting + self.closing + self.opening


@dataclass
class Point:
    """So many clients with a model of such a size, and what was measured."""

    clients: int
    model: str
    floor: list[float] = field(default_factory=list)
    rounds: list[Round] = field(default_factory=list)

    @property
    def model_bytes(self) -> int:
        return int(self.model[:-2]) * UNITS[self.model[-2:]]

    def row(self) -> dict[str, float | int | str]:
        """Medians, in milliseconds."""
        floor = statistics.median(self.floor)
        total = statistics.median(each.total for each in self.rounds)
        parts = {
            name: 1e3 * statistics.median(getattr(each, name) for each in self.rounds)
            for name in ("collecting", "closing", "opening")
        }
        counts = {"rounds_floor": len(self.floor), "rounds_fdstream": len(self.rounds)}
        times = {"floor_ms": 1e3 * floor, "fdstream_ms": 1e3 * total, "ratio": total / floor}
        return {"clients": self.clients, "model": self.model, **times, **parts, **counts}


def start(command: Sequence[str], errors: Path) -> subprocess.Popen[str]:
    with errors.open("a") as stderr:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)


def finish(processes: Sequence[subprocess.Popen[str]], errors: Path) -> list[str]:
    """The stdout of each, once all have ended well; the first that fails ends the benchmark."""
    try:
        while (codes := [process.poll() for process in processes]).count(0) < len(codes):
            if any(codes):
                raise SystemExit(f"a process failed:\n{errors.read_text()}")
            time.sleep(POLL_SECONDS)
        return [process.communicate()[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


def floor_block(bootstrap: str, name: str, point: Point, rounds: int, folder: Path) -> Iterator[float]:
    errors = folder / "floor.log"
    with Admin(bootstrap, settings={}) as admin:
        admin.create_topics(name, table.DEFAULT_SHARDS)
        arguments = [bootstrap, name, *map(str, (point.model_bytes, point.clients, rounds))]
        hub, edge = (start([*FLOOR, role, *arguments], errors) for role in ("hub", "edge"))
        lines, _ = finish([hub, edge], errors)
        admin.delete_topics(name)
    yield from map(float, lines.split()[WARM_UP_ROUNDS:])


def fdstream_block(bootstrap: str, name: str, point: Point, rounds: int, folder: Path) -> Iterator[Round]:
    errors = folder / "fdstream.log"
    where = [
        "--broker",
        bootstrap,
        "--federation",
        name,
        "--model-size",
        point.model,
        "--log-level",
        "warning",
    ]
    clients = str(point.clients)
    server = start([*FDSTREAM, "server", *where, "--numrounds", str(rounds), "--minclients", clients], errors)
    swarm = start([*FDSTREAM, "swarm", *where, "--clients", clients, "--work", "echo"], errors)
    finish([server, swarm], errors)
    measured = list(rounds_of(bootstrap, name))
    with Admin(bootstrap, settings={}) as admin:
        admin.delete_topics(name)
    yield from measured[WARM_UP_ROUNDS:]


def rounds_of(bootstrap: str, federation: str) -> Iterator[Round]:
    """What `control` says of each round of training."""
    log = KafkaLog(bootstrap, federation, client_id="bench", settings={})
    end, position = log.end_offsets(table.CONTROL)[0], 0
    log.follow(table.CONTROL, 0, 0)
    times: dict[tuple[type, int], float] = {}
    while position < end:
        for record in log.poll(1.0):
            assert isinstance(record, Record), "control is kept for ever"
            message, position = decode(record.value), record.offset + 1
            if isinstance(message, RoundOpened | RoundClosing | RoundClosed):
                times[type(message), message.round] = record.timestamp_seconds
    log.close()
    number = 1
    while (RoundOpened, number + 1) in times:
        opened, closing = times[RoundOpened, number], times[RoundClosing, number]
        closed, next_opened = times[RoundClosed, number], times[RoundOpened, number + 1]
        yield Round(closing - opened, closed - closing, next_opened - closed)
        number += 1


def measure(bootstrap: str, points: list[Point], blocks: int, rounds: int, folder: Path) -> None:
    total = rounds + WARM_UP_ROUNDS
    for block in range(blocks):
        for index, point in enumerate(points):
            name = f"b{block}-{index}"
            point.floor += floor_block(bootstrap, f"{name}-floor", point, total, folder)
            point.rounds += fdstream_block(bootstrap, name, point, total, folder)
            row = point.row()
            print(
                f"block {block + 1}: {point.clients} x {point.model}: {row['floor_ms']:.0f} ms, "
                f"{row['fdstream_ms']:.0f} ms",
                file=sys.stderr,
            )


def warm_up(bootstrap: str, folder: Path) -> None:
    """A fresh broker is several times slower: its code is not compiled yet."""
    for index in range(2):
        point = Point(20, "1MB")
        list(floor_block(bootstrap, f"warm-{index}-floor", point, 20, folder))
        list(fdstream_block(bootstrap, f"warm-{index}", point, 20, folder))


def as_markdown(rows: Sequence[dict[str, float | int | str]]) -> str:
    text = (
        "Written by `python evaluations/bench_round.py`, which says what is measured. Medians in milliseconds; "
        "collecting, closing and opening are the parts of (b): RoundOpened to RoundClosing to RoundClosed to the "
        f"next RoundOpened. Aim: b/a at most {TARGET} at every point."
    )
    phases = ["collecting", "closing", "opening"]
    head = ["clients", "model", "(a) floor", "(b) fdstream", "b/a", *phases, "rounds"]
    cells = [
        [
            str(row["clients"]),
            str(row["model"]),
            *(f"{row[name]:.0f}" for name in ("floor_ms", "fdstream_ms")),
            f"{row['ratio']:.2f}",
            *(f"{row[name]:.0f}" for name in phases),
            f"{row['rounds_floor']} + {row['rounds_fdstream']}",
        ]
        for row in rows
    ]
    return report("A round of fdstream against the raw floor", text, head, cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", default=POINTS)
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=6, help="measured in each block")
    parser.add_argument("--out", type=Path, default=Path("results/bench_round"))
    options = parser.parse_args()
    points = [Point(int(p.partition("x")[0]), p.partition("x")[2]) for p in options.points.split(",")]
    machine = about()
    with tempfile.TemporaryDirectory() as folder, Cluster(data_dir=Path(folder) / "kafka") as cluster:
        warm_up(cluster.bootstrap, Path(folder))
        measure(cluster.bootstrap, points, options.blocks, options.rounds, Path(folder))
    rows = [point.row() for point in points]
    text = as_markdown(rows)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".md").write_text(text)
    everything = {"about": machine, "rows": rows, "points": [asdict(point) for point in points]}
    options.out.with_suffix(".json").write_text(json.dumps(everything, indent=1) + "\n")
    print(text)


if __name__ == "__main__":
    main()
