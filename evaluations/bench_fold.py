"""How fast does a server take in update chunks: verify, decode and fold into exact sums?

    python evaluations/bench_fold.py [--seconds 0.5] [--repeats 9] [--threads 1,2,4]

Every thread has its own chunks and its own sums, larger together than the caches, as a server's shards are. What
is compared runs interleaved, so that a busy machine disturbs all of it alike. Printed are medians in GB of update
payload: a second by the clock, and a second of processor time, which other programs disturb less. `naive` is what
one would write without exactness: no digest, no check, float64 += value * weight.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from threading import Barrier, Thread
from time import perf_counter, thread_time

import numpy as np
import numpy.typing as npt
from machine import report

from fdstream.aggregation.fixed_point import FixedPointSum, admissible
from fdstream.digests import chunk_digest
from fdstream.dtypes import from_payload
from fdstream.layout import DEFAULT_CHUNK_BYTES

ELEMENTS = DEFAULT_CHUNK_BYTES // 4
CHUNKS, UPDATES = 8, 16
FLOAT32 = np.dtype(np.float32)
WEIGHT = 600


@dataclass
class Work:
    """What one thread works on: payloads of a few clients, and what they are added to."""

    seed: int
    payloads: list[bytes] = field(init=False)
    sums: list[FixedPointSum] = field(init=False)
    floats: list[npt.NDArray[np.float64]] = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.payloads = [rng.normal(0, 0.01, ELEMENTS).astype(FLOAT32).tobytes() for _ in range(UPDATES)]
        self.digests = [chunk_digest(payload) for payload in self.payloads]
        self.sums = [FixedPointSum(ELEMENTS) for _ in range(CHUNKS)]
        self.floats = [np.zeros(ELEMENTS) for _ in range(CHUNKS)]


def exact(work: Work, place: int) -> None:
    """All that a shard does with a chunk; `add` checks the values before it adds them."""
    payload = work.payloads[place]
    if chunk_digest(payload) != work.digests[place]:
        raise AssertionError("a digest changed")
    work.sums[place % CHUNKS].add(from_payload(payload, FLOAT32, ELEMENTS), WEIGHT)


def naive(work: Work, place: int) -> None:
    values = from_payload(work.payloads[place], FLOAT32, ELEMENTS)
    work.floats[place % CHUNKS] += np.multiply(values, np.float64(WEIGHT), dtype=np.float64)


def digest_alone(work: Work, place: int) -> None:
    chunk_digest(work.payloads[place])


def check_alone(work: Work, place: int) -> None:
    admissible(from_payload(work.payloads[place], FLOAT32, ELEMENTS), WEIGHT)


def gigabytes(task: Callable[[Work, int], None], works: list[Work], seconds: float) -> tuple[float, float]:
    """All threads together: per second from a common start to the last one's end, and per processor second."""
    barrier = Barrier(len(works) + 1)
    done, busy_seconds = [0] * len(works), [0.0] * len(works)

    def run(index: int) -> None:
        barrier.wait()
        began, end = thread_time(), perf_counter() + seconds
        while perf_counter() < end:
            task(works[index], done[index] % UPDATES)
            done[index] += 1
        busy_seconds[index] = thread_time() - began

    threads = [Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    barrier.wait()
    start = perf_counter()
    for thread in threads:
        thread.join()
    size = sum(done) * DEFAULT_CHUNK_BYTES / 1e9
    return size / (perf_counter() - start), size / sum(busy_seconds)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", default="1,2,4")
    parser.add_argument("--out", type=Path, default=Path("results/bench_fold.md"))
    options = parser.parse_args()
    counts = [int(count) for count in options.threads.split(",")]
    works = [Work(seed) for seed in range(max(counts))]
    cases = [(task, count) for count in counts for task in (exact, naive)]
    cases += [(digest_alone, 1), (check_alone, 1)]
    speeds: dict[tuple[str, int], list[tuple[float, float]]] = {}
    for _ in range(options.repeats):
        for task, count in cases:
            speed = gigabytes(task, works[:count], options.seconds)
            speeds.setdefault((task.__name__, count), []).append(speed)
    page = report(
        "Taking in update chunks",
        f"Written by `python evaluations/bench_fold.py`, which says what is measured. {DEFAULT_CHUNK_BYTES // 1024} "
        f"KiB chunks of float32, median of {options.repeats} times {options.seconds} s. Aim: 0.5 GB/s on one core.",
        ["", "threads", "GB/s", "lowest", "highest", "GB per CPU second"],
        [row(name, count, found) for (name, count), found in speeds.items()],
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


def row(name: str, count: int, found: list[tuple[float, float]]) -> list[str]:
    clock, processor = zip(*found, strict=True)
    speeds = (statistics.median(clock), min(clock), max(clock), statistics.median(processor))
    return [name.replace("_", " "), str(count), *(f"{speed:.2f}" for speed in speeds)]


if __name__ == "__main__":
    main()
