"""Plays cases in labs and writes down what came of them: `python -m tests.faults --help`."""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatch
from pathlib import Path
from random import Random
from threading import Lock
from typing import Any

from tests.faults.case import Case, all_cases
from tests.faults.labs import LabProcess
from tests.faults.report import write_report

_TAKING = Lock()


def main() -> int:
    wanted = _arguments()
    cases = [case for case in all_cases().values() if _is_wanted(case, wanted)]
    seed = wanted.seed if wanted.seed is not None else secrets.randbelow(1_000_000)
    print(f"{len(cases)} cases, {wanted.times} times each, from seed {seed} on", file=sys.stderr)
    planned = [(case, seed + turn) for turn in range(wanted.times) for case in cases if _again(case, turn)]
    Random(seed).shuffle(planned)  # cases that wait beside cases that work
    runs = deque(planned)
    folder = Path(tempfile.mkdtemp(prefix="fdstream-faults-"))
    with ThreadPoolExecutor(wanted.labs) as pool:
        failed = sum(
            pool.map(lambda index: _work(runs, folder / str(index), wanted.record), range(wanted.labs))
        )
    if wanted.report is not None:
        write_report(wanted.report, wanted.record)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--times", type=int, default=1, help="runs of each case")
    parser.add_argument("--seed", type=int, help="of the first run; printed, and drawn where it is not given")
    parser.add_argument(
        "--only", nargs="+", default=["*"], help="cases whose name one of these patterns fits"
    )
    parser.add_argument("--short", action="store_true", help="the cases of the short form alone")
    parser.add_argument("--labs", type=int, default=1, help="how many to play at the same time")
    parser.add_argument("--record", type=Path, required=True, help="a file to which each run adds a line")
    parser.add_argument("--report", type=Path, help="the page to write of all lines in the record")
    return parser.parse_args()


def _is_wanted(case: Case, wanted: argparse.Namespace) -> bool:
    return any(fnmatch(case.name, each) for each in wanted.only) and (case.short or not wanted.short)


def _again(case: Case, turn: int) -> bool:
    return case.at_most is None or turn < case.at_most


def _work(runs: deque[tuple[Case, int]], folder: Path, record: Path) -> int:
    """One lab, until no run is left; how many failed."""
    failed = 0
    with LabProcess(folder) as lab:
        for case, seed in _drain(runs):
            found = lab.play(case, seed)
            failed += found["outcome"] == "failed"
            with record.open("a") as lines:
                lines.write(json.dumps(found) + "\n")
            _say(found)
    return failed


def _drain(runs: deque[tuple[Case, int]]) -> Iterator[tuple[Case, int]]:
    """Runs for one lab: as long as there are any, those that play on brokers that it has."""
    has: set[int] = set()
    while True:
        with _TAKING:
            if not runs:
                return
            liked = (run for run in runs if run[0].brokers in has)
            taken = next(liked, runs[0])
            runs.remove(taken)
        has.add(taken[0].brokers)
        yield taken


def _say(found: dict[str, Any]) -> None:
    line = f"{found['outcome']:7} {found['seconds']:6.1f} s  seed {found['seed']:<8} {found['case']}"
    print(line + (f"\n        {found['detail']}" if found["detail"] else ""), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
