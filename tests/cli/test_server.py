"""`fdstream server`: what it asks of a federation, what it prints and logs, what it refuses."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import click
import numpy as np
import pytest

from fdstream.cli import main
from fdstream.cli.server import choose_app, command, log_progress, make_plan
from fdstream.cli.watching import is_watched
from fdstream.events import Tell
from fdstream.messages import Report, RoundClosed
from fdstream.server.run import Plan
from tests.cli.finished import (
    APP,
    BAD_APPS,
    CLIENTS,
    OPTIONS,
    ROUNDS,
    Finished,
    fdstream,
    finished_federation,
    hash_of,
    model_after,
    place,
    refused,
)


@pytest.fixture(scope="module")
def finished(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_federation(kafka, tmp_path_factory)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, where `mine.py` is looked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("mine", None)


# A run


def test_json_is_all_that_is_on_stdout_and_agrees_with_the_topics(finished: Finished) -> None:
    result = finished.server.result()
    last = finished.closed[ROUNDS + 1]
    assert list(result) == ["rounds", "clients", "metrics", "model_sha256"]
    assert (result["rounds"], result["clients"]) == (ROUNDS, len(CLIENTS))
    assert result["metrics"]["evaluate_loss"] == last.evaluate_metrics["loss"]
    assert 0 < result["metrics"]["global_loss"] < 1
    assert result["model_sha256"] == last.model_sha256.hex()


def test_the_saved_model_is_the_oracles(finished: Finished) -> None:
    expected = model_after(ROUNDS)
    with np.load(finished.saved, allow_pickle=False) as saved:
        assert {name: saved[name].tobytes() for name in saved} == {
            name: array.tobytes() for name, array in expected.items()
        }
    assert hash_of(expected) == finished.server.result()["model_sha256"]


def test_the_log_tells_each_round_as_it_stands_in_the_topics(finished: Finished) -> None:
    for number, closed in finished.closed.items():
        facts = f"round={number} clients={len(CLIENTS)}"
        trained = f"round closed {facts} examples={closed.num_examples}"
        final = f"the clients have evaluated the final model {facts}"
        assert (trained if number <= ROUNDS else final) in finished.server.log
        assert f"evaluate_loss={closed.evaluate_metrics['loss']:.4f}".rstrip("0") in finished.server.log
    assert sorted(finished.closed) == list(range(1, ROUNDS + 2))


def test_a_finished_federation_says_so_and_keeps_stdout_empty(finished: Finished) -> None:
    result = fdstream("server", *place(finished.federation), "--app", APP, "--log-format", "json")
    assert (result.exit_code, result.stdout) == (0, "")
    *_, last = [json.loads(line) for line in result.stderr.splitlines()]
    assert last["event"] == "the federation has finished: all its rounds are done"
    assert (last["rounds"], last["clients"]) == (ROUNDS, len(CLIENTS))
    assert last["model_sha256"] == finished.server.result()["model_sha256"]


def test_a_setting_of_the_environment_that_contradicts_is_refused_too(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDSTREAM_DEADLINE", "5")
    sentence = refused(2, "server", *place(finished.federation), "--app", APP, *OPTIONS)
    assert "600.0, not 5.0" in sentence
    assert "leave the option out, or choose another --federation" in sentence


# What is asked for


def planned(*arguments: str) -> Plan:
    context = command.make_context(
        "server", list(arguments), parent=click.Context(main, info_name="fdstream")
    )
    return make_plan(context, {name: context.params[name] for name in context.params if name != "as_json"})


def test_nothing_said_is_nothing_insisted_on() -> None:
    plan = planned()
    assert plan.chosen == {}
    assert (plan.settings.num_rounds, plan.settings.min_clients, plan.settings.max_clients) == (3, 2, 2)
    assert (plan.settings.strategy, plan.settings.keep_rounds) == ("fedavg:lr=1.0", 2)
    assert (plan.chunk_bytes, plan.shards, plan.config) == (None, 4, {"seed": 0})
    assert plan.settings.final_evaluation


def test_what_flag_environment_and_file_say_is_insisted_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fdstream.toml"
    file.write_text("[server]\nshards = 7\n")
    monkeypatch.setenv("FDSTREAM_KEEP_ROUNDS", "all")
    plan = planned("--config", str(file), "--numrounds", "3")
    assert {"shards", "keep_rounds", "num_rounds"} <= plan.chosen.keys()
    assert not {"min_clients", "deadline_seconds", "strategy", "chunk_bytes"} & plan.chosen.keys()
    assert (plan.shards, plan.settings.keep_rounds, plan.settings.num_rounds) == (7, 0, 3)


def test_a_round_closes_at_its_minimum_unless_a_maximum_is_given() -> None:
    assert planned("--minclients", "5").settings.max_clients == 5
    assert planned("--minclients", "5", "--maxclients", "9").settings.max_clients == 9


def test_the_seed_is_in_the_config_and_may_be_set_apart() -> None:
    assert planned("--seed", "7").config == {"seed": 7}
    apart = planned("--seed", "7", "--set", "seed=8", "--set", "rate=0.5")
    assert (apart.settings.seed, apart.config) == (7, {"seed": 8, "rate": 0.5})


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--minclients", "5", "--maxclients", "4"), "--maxclients 4 is below --minclients 5"),
        (("--maxclients", "1"), "--maxclients 1 is below --minclients 2"),
        (("--strategy", "fedavx"), "there is no strategy 'fedavx'"),
        (("--strategy", "fedadam:rate=1"), "rate"),
        (("--strategy", "krum:2", "--minclients", "6"), "it needs 2f + 3 = 7 clients"),
        (("--strategy", "median", "--minclients", "3", "--clip", "1"), "median needs no clipping"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_a_broker_is_asked(
    options: tuple[str, ...], says: str
) -> None:
    assert says in refused(2, "server", "--broker", "127.0.0.1:1", "--app", APP, *options)


@pytest.mark.parametrize("path", BAD_APPS)
def test_a_wrong_app_is_found_out_before_a_broker_is_asked(path: str, folder: Path) -> None:
    source, says = BAD_APPS[path]
    (folder / "mine.py").write_text(source)
    sentence = refused(2, "server", "--broker", "127.0.0.1:1", "--app", path)
    assert sentence.startswith(f"Error: app path '{path}'")
    assert says in sentence


def test_a_size_stands_instead_of_an_app() -> None:
    context = command.make_context("server", ["--model-size", "40KB"])
    weights = choose_app(context, context.params).initial_weights()
    assert sum(array.nbytes for array in weights.values()) == 40_000


# What is told


def logged(
    caplog: pytest.LogCaptureFixture, name: str, **facts: object
) -> list[tuple[str, dict[str, object]]]:
    """Level and fields of what a tell is logged as."""
    caplog.clear()
    with caplog.at_level(logging.DEBUG, "fdstream.server"):
        log_progress(Tell(name, facts))
    return [(record.levelname, vars(record)) for record in caplog.records]


def report(failure: str | None = None) -> Report:
    return Report(
        nonce=bytes(16),
        client="ada",
        attempt=bytes(16),
        round=2,
        round_offset=1,
        num_examples=10,
        metrics={},
        evaluated_examples=0,
        evaluate_metrics={},
        digests=(),
        failure=failure,
    )


def test_a_failed_client_is_a_warning_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    [(level, fields)] = logged(caplog, "report", outcome="failed", report=report("the sensor is unplugged"))
    assert level == "WARNING"
    assert (fields["client"], fields["round"], fields["reason"]) == ("ada", 2, "the sensor is unplugged")
    [(level, fields)] = logged(caplog, "report", outcome="accepted", report=report())
    assert (level, fields["outcome"], "reason" in fields) == ("DEBUG", "accepted", False)


def test_a_closed_round_is_told_with_metrics_of_both_kinds(caplog: pytest.LogCaptureFixture) -> None:
    closed = RoundClosed(
        nonce=bytes(16),
        round=2,
        ordinal=1,
        num_clients=3,
        num_examples=30,
        train_metrics={"loss": 0.123456},
        evaluate_metrics={"loss": 2.0},
        model=(),
        model_sha256=bytes(32),
    )
    [(level, fields)] = logged(caplog, "round closed", record=closed)
    assert (level, fields["round"], fields["clients"], fields["examples"]) == ("INFO", 2, 3, 30)
    assert (fields["train_loss"], fields["evaluate_loss"]) == (0.1235, 2.0)


def test_a_flood_of_bad_records_is_not_a_flood_of_lines(caplog: pytest.LogCaptureFixture) -> None:
    told = [count for count in range(1, 3001) if logged(caplog, "rejected", count=count, reason="schema")]
    assert told == [1, 10, 100, 1000, 2000, 3000]


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "options", "watched"),
    [
        (Terminal(), (), True),
        (StringIO(), (), False),
        (Terminal(), ("--log-format", "json"), False),
        (Terminal(), ("--log-level", "warning"), False),
    ],
)
def test_rounds_are_drawn_for_whoever_sits_before_a_terminal(
    stream: StringIO, options: tuple[str, ...], watched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[bool] = []
    monkeypatch.setattr(
        command, "callback", lambda **_: answers.append(is_watched(click.get_current_context()))
    )
    context = command.make_context("server", list(options))
    monkeypatch.setattr(sys, "stderr", stream)
    command.invoke(context)
    assert answers == [watched]
