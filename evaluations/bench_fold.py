"""How fast does a server take in update chunks: verify, decode and fold into exact sums?

    python evaluations/bench_fold.py [--seconds 0.5] [--repeats 9] [--threads 1,2,4]

Every thread has its own chunks and its own sums, larger together than the caches, as a server's shards are. What
is compared runs interleaved, so that a busy machine disturbs all of it alike. Printed are medians in GB of update
payload: a second by the clock, and a second of processor time, which other programs disturb less. `naive` is what
one would write without exactness: no digest, no check, float64 += value * weight.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier, Thread
from time import perf_counter, thread_time

import numpy as np
import numpy.typing as npt

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


def hardware() -> str:
    """One line about the machine, the interpreter and how busy the machine is."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    lock = "with" if getattr(sys, "_is_gil_enabled", lambda: True)() else "without"
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model or platform.machine()}, {os.cpu_count()} cores{load}; {platform.system()}, "
        f"Python {platform.python_version()} {lock} GIL, numpy {np.__version__}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.5, help="of one measurement")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", default="1,2,4")
    options = parser.parse_args()
    counts = [int(count) for count in options.threads.split(",")]
    works = [Work(seed) for seed in range(max(counts))]
    cases = [(task, count) for count in counts for task in (exact, naive)]
    cases += [(digest_alone, 1), (check_alone, 1)]
    speeds: dict[tuple[str, int], list[tuple[float, float]]] = {}
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC; {hardware()}")
    print(f"{DEFAULT_CHUNK_BYTES // 1024} KiB float32 chunks, {options.repeats} x {options.seconds} s each")
    for _ in range(options.repeats):
        for task, count in cases:
            speed = gigabytes(task, works[:count], options.seconds)
            speeds.setdefault((task.__name__, count), []).append(speed)
    print(f"{'':>14} {'threads':>8} {'GB/s':>8} {'lowest':>8} {'highest':>8} {'GB/CPU s':>9}")
    for (name, count), found in speeds.items():
        clock, processor = zip(*found, strict=True)
        print(
            f"{name:>14} {count:>8} {statistics.median(clock):>8.2f} {min(clock):>8.2f} {max(clock):>8.2f} "
            f"{statistics.median(processor):>9.2f}"
        )


if __name__ == "__main__":
    main()
