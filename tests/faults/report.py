"""The page about the matrix, from the record of all runs."""

from __future__ import annotations

import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.cluster.starting import ROOT
from tests.faults.case import Case, all_cases

TEXT = """Every fault of the matrix (`tests/faults/`), how often it was played, and how it ended. Each run has a seed.

A run passes when the SHA-256 of the model is that of the single-process oracle and every report in the topics is in
a cohort, excluded by a verdict, a duplicate, late, failed or refused; or, where the log itself is damaged, when
everybody says so in a sentence and every model that was closed is the oracle's. `make faults` writes this page;
`python -m tests.faults --only CASE --seed SEED --record FILE` plays a run again."""

FOUND = """## What it has found

| case, seed | what happened | mended, and held by |
|---|---|---|
| retention eats the model of a round in progress, 30 | a client waited for a model that is gone, without a word | \
it says so: `tests/client/test_receiver.py` |
| a partition between two of three brokers, 50 | a server asked a leader that had been voted out, heard that the \
partition ends before what it had read, and ended as if records were lost | it asks again for a minute: \
`tests/topics/test_kafka_log.py` |
| the leader of shards killed, and a disk lost, 61 | a broker that had not heard of a new topic yet was believed \
when it said that there is none | for a minute it is hearsay: `tests/topics/test_questions.py` |
| the topic model deleted, 41 | a server whose request was on its way ended with librdkafka's words for that, not \
with the question whether the federation was deleted | it appends again and hears that there is no topic: \
`tests/topics/test_writer.py` |
| the topic model deleted, 93932 | servers that had published and read their model needed the topic for nothing \
more, and waited for reports of clients that had ended | whoever takes part asks now and then whether all topics \
are there: `tests/topics/test_presence.py` |
| 200 clients that connect at the same moment, 8181 | a federation stood still for ten minutes after a storm of \
connections. Not seen again; what it led to: a reader that had lost its brokers was not replaced where another was \
waited on | the silence counts for both: `tests/topics/test_follower.py` |"""


def write_report(path: Path, record: Path) -> None:
    """Write the page of every line in the record."""
    runs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in record.read_text().splitlines():
        found = json.loads(line)
        runs[found["case"]].append(found)
    facts = "\n".join(f"- {name}: {value}" for name, value in _about().items())
    rows = [_row(case, runs[name]) for name, case in all_cases().items()]
    total = Counter(run["outcome"] for played in runs.values() for run in played)
    summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(total.items()))
    head = "| case | must end with | runs | outcome | median | reports | seeds |\n|---|---|---:|---|---:|---|---|"
    path.write_text(
        f"# The fault matrix\n\n{TEXT}\n\n{facts}\n- runs: {summary}\n\n{head}\n"
        + "\n".join(rows)
        + f"\n\n{FOUND}\n"
    )


def _row(case: Case, played: list[dict[str, Any]]) -> str:
    if not played:
        return f"| {case.name} | {case.ends} | 0 | **not played** | | | |"
    outcomes = Counter(run["outcome"] for run in played)
    fates: Counter[str] = Counter()
    for run in played:
        fates.update(run["reports"])
    outcome = ", ".join(f"{count} {name}" for name, count in sorted(outcomes.items()))
    bad = [run for run in played if run["outcome"] != "passed"]
    if bad:
        first = bad[0]["detail"].partition(" (see ")[0].splitlines()[0][:200].replace("|", "/")
        outcome += f" (seed {bad[0]['seed']}: {first})"
    reports = ", ".join(f"{count} {fate}" for fate, count in fates.most_common())
    seconds = f"{median(run['seconds'] for run in played):.0f} s"
    cells = [case.name, case.ends, str(len(played)), outcome, seconds, reports, _seeds(played)]
    return f"| {' | '.join(cells)} |"


def _seeds(played: list[dict[str, Any]]) -> str:
    """Seeds, neighbours as a range."""
    ranges: list[list[int]] = []
    for seed in sorted({run["seed"] for run in played}):
        if ranges and seed == ranges[-1][1] + 1:
            ranges[-1][1] = seed
        else:
            ranges.append([seed, seed])
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in ranges)


def _about() -> dict[str, str]:
    """The machine, as the evaluations have it; they are scripts and no package."""
    sys.path.append(str(ROOT / "evaluations"))
    from machine import about

    return about()
