"""`fdstream status --follow` where nobody can draw over: a line for whatever has changed, the table at the end."""

from __future__ import annotations

from dataclasses import replace
from io import StringIO

from rich.console import Console

from fdstream.cli.status import in_short, plain_lines
from fdstream.status import Status

STATUS = Status(
    phase="collecting",
    round=2,
    num_rounds=5,
    min_clients=2,
    reported=("ada",),
    failed={},
    refused={},
    members={"ada": "client waiting", "s": "server collecting"},
    train_metrics={},
    evaluate_metrics={"loss": 0.25, "accuracy": 0.9},
    global_metrics={},
    model_sha256="",
    finished="",
)


def test_a_line_says_what_matters_most() -> None:
    assert in_short(STATUS) == "round 2 of 5, collecting: 1 reported, 2 members, evaluate accuracy 0.9000"
    absent = replace(STATUS, phase="absent", round=0)
    assert in_short(absent) == "absent: 2 members"
    failed = replace(STATUS, failed={"bob": "no data"}, evaluate_metrics={"loss\n": 2.0})
    assert (
        in_short(failed)
        == "round 2 of 5, collecting: 1 reported, 1 failed, 2 members, evaluate loss\\n 2.0000"
    )


def test_what_has_not_changed_is_not_said_again_and_the_end_is_a_table() -> None:
    stream = StringIO()
    with plain_lines(Console(file=stream, width=60), "alpha") as update:
        for status in (STATUS, STATUS, replace(STATUS, reported=("ada", "bob")), STATUS):
            update(status)
        update(replace(STATUS, phase="finished", finished="all 5 rounds are done"))
    lines = stream.getvalue().splitlines()
    assert [line.split(": ")[1].split(",")[0] for line in lines[:3]] == [
        "1 reported",
        "2 reported",
        "1 reported",
    ]
    assert lines[3].split() == ["federation", "alpha"]
    assert lines[4].split() == ["phase", "finished:", "all", "5", "rounds", "are", "done"]
    assert "\x1b" not in stream.getvalue()
