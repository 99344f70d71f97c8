"""`fdstream status` against a real broker: beside the topics, while a federation runs and after its end."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import uuid
from collections.abc import Iterator

import pytest
from rich.console import Console

from fdstream.cli.status import MOST_NAMES, drawn
from fdstream.status import Status
from tests.cli.finished import (
    APP,
    CLIENTS,
    ROUNDS,
    Finished,
    fdstream,
    finished_federation,
    place,
    refused,
)
from tests.cluster.processes import Federation
from tests.cluster.starting import ROOT
from tests.cluster.topics import Topics

KEYS = [
    "federation",
    "phase",
    "round",
    "num_rounds",
    "min_clients",
    "reported",
    "failed",
    "refused",
    "members",
    "train_metrics",
    "evaluate_metrics",
    "global_metrics",
    "model_sha256",
    "finished",
]
WIDTH = 80


@pytest.fixture(scope="module")
def finished(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_federation(kafka, tmp_path_factory)


@pytest.fixture(scope="module")
def waiting(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation of one round that waits for its only client."""
    with Federation(kafka, tmp_path_factory.mktemp("waiting")) as federation:
        federation.server("--numrounds", "1", "--minclients", "1", app=APP)
        with Topics(federation) as topics:
            topics.wait_for_round(1)
        yield federation


def rows(shown: str) -> dict[str, str]:
    """The table's names and values; every line fits a terminal."""
    lines = [line.rstrip() for line in shown.splitlines()]
    assert max(map(len, lines)) <= WIDTH
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in lines)}


# After the end


def test_json_agrees_with_the_topics(finished: Finished) -> None:
    result = fdstream("status", *place(finished.federation), "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    status = json.loads(result.stdout)
    last = finished.closed[ROUNDS + 1]
    assert list(status) == KEYS
    assert (status["federation"], status["phase"]) == (finished.federation.name, "finished")
    assert (status["round"], status["num_rounds"], status["min_clients"]) == (ROUNDS + 1, ROUNDS, 2)
    assert (sorted(status["reported"]), status["failed"]) == (sorted(CLIENTS), {})
    assert status["evaluate_metrics"] == last.evaluate_metrics
    assert status["model_sha256"] == last.model_sha256.hex()
    assert status["finished"] == f"all {ROUNDS} rounds are done"
    assert not set(CLIENTS) & set(status["members"])


def test_json_agrees_with_what_the_server_said(finished: Finished) -> None:
    status = json.loads(fdstream("status", *place(finished.federation), "--json").stdout)
    said = finished.server.result()
    assert status["model_sha256"] == said["model_sha256"]
    metrics = {f"evaluate_{name}": value for name, value in status["evaluate_metrics"].items()}
    metrics |= {f"global_{name}": value for name, value in status["global_metrics"].items()}
    assert metrics == said["metrics"]


def test_people_read_the_same(finished: Finished) -> None:
    result = fdstream("status", *place(finished.federation))
    assert (result.exit_code, result.stderr) == (0, "")
    shown = rows(result.stdout)
    status = json.loads(fdstream("status", *place(finished.federation), "--json").stdout)
    assert shown["federation"] == finished.federation.name
    assert shown["phase"] == f"finished: all {ROUNDS} rounds are done"
    assert shown["evaluate"] == f"loss {status['evaluate_metrics']['loss']:.4f}"
    assert shown["global"] == f"loss {status['global_metrics']['loss']:.4f}"
    assert shown["model"] == status["model_sha256"]
    assert shown["reported"].startswith("2 ")
    assert all(name in shown["reported"] for name in CLIENTS)


def test_follow_ends_at_once_where_all_is_over(finished: Finished) -> None:
    once = fdstream("status", *place(finished.federation))
    followed = fdstream("status", *place(finished.federation), "--follow")
    assert (followed.exit_code, followed.stderr) == (0, "")
    assert rows(followed.stdout) == rows(once.stdout)


def test_follow_leaves_stdout_to_json(finished: Finished) -> None:
    followed = fdstream("status", *place(finished.federation), "--follow", "--json")
    assert followed.stdout.count("\n") == 1
    assert json.loads(followed.stdout)["phase"] == "finished"
    assert rows(followed.stderr)["federation"] == finished.federation.name


# While it runs; the last of these lets it end


def test_a_federation_that_waits(waiting: Federation) -> None:
    status = json.loads(fdstream("status", *place(waiting), "--json").stdout)
    assert (status["phase"], status["round"], status["num_rounds"]) == ("collecting", 1, 1)
    assert (status["reported"], status["evaluate_metrics"], status["finished"]) == ([], {}, "")
    assert status["members"][waiting.processes[0].member].startswith("server ")
    shown = rows(fdstream("status", *place(waiting)).stdout)
    assert (shown["phase"], shown["round"]) == ("collecting", "1 of 1")
    assert shown["reported"].startswith("0 (needs 1)")


def test_follow_shows_what_changes_and_ends_with_the_federation(waiting: Federation) -> None:
    """On a terminal, where the table is drawn again and again."""
    terminal, inner = pty.openpty()
    command = [sys.executable, "-m", "fdstream", "status", *place(waiting), "--follow"]
    follower = subprocess.Popen(command, cwd=ROOT, stdin=inner, stdout=inner, stderr=inner)
    os.close(inner)
    try:
        before = read_until(terminal, "collecting")
        assert "finished" not in before
        waiting.client("ada", app=APP)
        after = read_until(terminal, "all 1 rounds are done")
        assert "1 (needs 1): ada" in after
        assert follower.wait(timeout=60) == 0
    finally:
        follower.kill()
        follower.wait()
        os.close(terminal)
    assert waiting.processes[0].result()["rounds"] == 1


def read_until(terminal: int, text: str) -> str:
    seen = ""
    while text not in seen:
        seen += os.read(terminal, 65536).decode(errors="replace")
    return seen


# Where there is nothing to show


def test_an_unknown_federation_is_told_with_those_that_there_are(finished: Finished) -> None:
    where = ("--broker", finished.federation.bootstrap, "--federation", "absent")
    for options in ((), ("--json",), ("--follow",)):
        sentence = refused(2, "status", *where, *options)
        assert "there is no federation 'absent'" in sentence
        assert finished.federation.name in sentence


def test_topics_that_no_server_has_opened(kafka: str) -> None:
    where = ("--broker", kafka, "--federation", f"test-{uuid.uuid4().hex[:12]}")
    assert fdstream("topics", "create", *where).exit_code == 0
    status = json.loads(fdstream("status", *where, "--json").stdout)
    assert list(status) == KEYS
    assert (status["phase"], status["round"], status["members"]) == ("absent", 0, {})
    assert fdstream("status", *where).exit_code == 0


# The table


def status_of(**changes: object) -> Status:
    values = {
        "phase": "collecting",
        "round": 2,
        "num_rounds": 5,
        "min_clients": 3,
        "reported": (),
        "failed": {},
        "refused": {},
        "members": {},
        "train_metrics": {"loss": 0.25},
        "evaluate_metrics": {},
        "global_metrics": {},
        "model_sha256": "",
        "finished": "",
    }
    return Status(**(values | changes))  # type: ignore[arg-type]


def shown_as(status: Status) -> str:
    console = Console(width=WIDTH, color_system=None)
    with console.capture() as captured:
        console.print(drawn("mine", status))
    assert max(map(len, captured.get().splitlines())) <= WIDTH
    return " ".join(captured.get().split())


def test_of_many_names_some_are_shown_and_the_rest_counted() -> None:
    names = tuple(f"client-{index}" for index in range(MOST_NAMES + 12))
    shown = shown_as(status_of(reported=names, members=dict.fromkeys(names, "client waiting")))
    assert f"{len(names)} (needs 3): client-0, " in shown
    assert shown.count("and 12 more") == 2
    assert f"client-{MOST_NAMES}" not in shown


def test_a_failed_client_is_shown_with_its_reason() -> None:
    shown = shown_as(status_of(failed={"cyd": "train raised RuntimeError: the sensor is unplugged"}))
    assert "failed cyd: train raised RuntimeError: the sensor is unplugged" in shown


def test_metrics_that_are_not_there_have_no_row() -> None:
    shown = shown_as(status_of())
    assert "train loss 0.2500" in shown
    assert "evaluate" not in shown
    assert "global" not in shown


def test_text_of_clients_is_no_markup_and_cannot_move_the_cursor() -> None:
    shown = shown_as(status_of(reported=("[red]ada",), failed={"cyd": "boom [/b] \x1b[2J"}))
    assert "[red]ada" in shown
    assert r"boom [/b] \x1b[2J" in shown
