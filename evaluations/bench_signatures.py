"""What signatures cost: making and checking one, beside what a report costs without them.

    python evaluations/bench_signatures.py --out results/bench_signatures.md

Processor time, best of several interleaved runs: what else the machine does shows less.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from machine import report as page_of

from fdstream.messages import Report
from fdstream.serde.avro import decode, encode
from fdstream.signatures import SigningKey, is_genuine

RUNS = 9
TIMES = 300
SHARDS = 4
KEY = SigningKey.of(bytes(range(32)))


def a_report() -> Report:
    digests = tuple(bytes([shard]) * 16 for shard in range(SHARDS))
    metrics = {"loss": 0.5, "accuracy": 0.75}
    return Report(b"n" * 16, "ward-7", b"a" * 16, 3, 17, 600, metrics, 100, metrics, digests)


def microseconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    for _ in range(TIMES):
        work()
    return (time.process_time() - began) / TIMES * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/bench_signatures.md"))
    options = parser.parse_args()
    made = a_report()
    unsigned = encode(made)
    signed = KEY.sign(unsigned)
    works: dict[str, Callable[[], object]] = {
        "encode a report": lambda: encode(made),
        "sign it": lambda: KEY.sign(unsigned),
        "decode it, unsigned": lambda: decode(unsigned),
        "decode it, signed": lambda: decode(signed),
        "check its signature": lambda: is_genuine(signed),
    }
    best = dict.fromkeys(works, float("inf"))
    for _ in range(RUNS):
        for name, work in works.items():
            best[name] = min(best[name], microseconds(work))
    page = page_of(
        "What signatures cost",
        f"Written by `python evaluations/bench_signatures.py`. A report with {SHARDS} digests: {len(unsigned)} "
        f"bytes, {len(signed)} with a signature. Processor time, best of {RUNS} interleaved runs.",
        ["", "microseconds"],
        [[name, f"{value:.0f}"] for name, value in best.items()],
    )
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
