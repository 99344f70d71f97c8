"""`fdstream demo`: what it asks for, what it says at the end. The demo itself is in tests/demo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.console import Console

from fdstream.cli import main
from fdstream.demo import run as demo
from fdstream.demo.children import ChildFailedError
from fdstream.demo.run import Outcome, Plan

OUTCOME = Outcome(10, 9, 0.975, 0.9861, "ab" * 32, 31.4)


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Plan]:
    """What was to be run; nothing is."""
    asked: list[Plan] = []

    def run(plan: Plan, console: Console) -> Outcome:
        console.print("round 1")
        asked.append(plan)
        return OUTCOME

    monkeypatch.setattr(demo, "run", run)
    monkeypatch.chdir(tmp_path)
    return asked


def test_defaults(plans: list[Plan]) -> None:
    assert CliRunner().invoke(main, ["demo"]).exit_code == 0
    assert plans == [Plan(clients=10, rounds=10, seed=0, save_path=Path("fdstream-demo.npz"))]


def test_options(plans: list[Plan]) -> None:
    args = ["--clients", "3", "--rounds", "2", "--seed", "7", "--save", "m.npz"]
    assert CliRunner().invoke(main, ["demo", *args]).exit_code == 0
    assert plans == [Plan(clients=3, rounds=2, seed=7, save_path=Path("m.npz"))]


def test_a_page_is_opened_where_asked_for(plans: list[Plan]) -> None:
    assert CliRunner().invoke(main, ["demo", "--dashboard"]).exit_code == 0
    assert [plan.dashboard for plan in plans] == [True]


def test_the_end_sets_both_accuracies_side_by_side(plans: list[Plan], tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["demo"])
    assert result.stdout.splitlines() == [
        "round 1",
        "accuracy on held-out images:",
        "  10 rounds, 9 clients            97.5 %",
        "  in one place, 50 epochs         98.6 %",
        f"model saved in {tmp_path / 'fdstream-demo.npz'}",
        f"  sha256 {'ab' * 32}",
        "everything is shut down again, after 31 s",
    ]
    assert len(plans) == 1


@pytest.mark.usefixtures("plans")
def test_json_is_all_that_is_on_stdout() -> None:
    result = CliRunner().invoke(main, ["demo", "--json"])
    assert list(json.loads(result.stdout).items()) == [
        ("rounds", 10),
        ("clients", 9),
        ("accuracy", 0.975),
        ("centralised_accuracy", 0.9861),
        ("model_sha256", "ab" * 32),
        ("seconds", 31.4),
    ]
    assert "round 1" in result.stderr


def test_a_place_that_cannot_be_written_is_found_out_before_the_work(plans: list[Plan]) -> None:
    result = CliRunner().invoke(main, ["demo", "--save", "nowhere/model.npz"])
    assert result.exit_code == 2
    assert "'nowhere' is not a directory that can be written to" in result.stderr
    assert plans == []


def test_a_child_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    log = tmp_path / "client-3.log"
    log.write_text("one\n\ntwo\x1b[2J\n")

    def run(plan: Plan, console: Console) -> Outcome:
        del plan, console
        raise ChildFailedError("client-3", 70, log)

    monkeypatch.setattr(demo, "run", run)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 5
    assert result.stderr.splitlines() == [
        "  client-3 | one",
        "  client-3 | two\\x1b[2J",
        f"Error: client-3 ended with status 70; its log: {log}",
    ]
