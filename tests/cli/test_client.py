"""`fdstream client`: what it prints and logs, what its functions are given, what it refuses."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fdstream.messages import RoundClosed
from fdstream.topics import table
from tests.cli.finished import (
    APP,
    BAD_APPS,
    CLIENTS,
    ROUNDS,
    Finished,
    fdstream,
    finished_federation,
    place,
    refused,
)
from tests.cluster.processes import Federation
from tests.cluster.topics import Topics

RULES = ("--numrounds", "1", "--minclients", "1", "--seed", "7", "--set", "learning_rate=9")
ECHOING = """
import fdstream
app = fdstream.App(weights={})

@app.train
def train(weights, config):
    given = {name: float(config[name]) for name in ("data_index", "learning_rate", "seed")}
    return weights, 10, given | {"named_ada": float(config["client_id"] == "ada")}
"""


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


def test_json_counts_the_rounds_and_the_final_evaluation(finished: Finished) -> None:
    for name, process in zip(CLIENTS, finished.clients, strict=True):
        expected = {"client": name, "reported": ROUNDS + 1, "failed": 0}
        assert list(process.result().items()) == list(expected.items())


def test_the_log_tells_each_round(finished: Finished) -> None:
    for name, process in zip(CLIENTS, finished.clients, strict=True):
        places = [process.log.index(f"taking part client={name} federation={finished.federation.name}")]
        for number in range(1, ROUNDS + 2):
            training = json.dumps(number <= ROUNDS)
            places.append(process.log.index(f"reported round={number} training={training}"))
        places.append(process.log.index(f"the federation has finished reported={ROUNDS + 1} failed=0"))
        assert places == sorted(places)


def test_who_comes_when_it_is_over_is_told_and_leaves(finished: Finished) -> None:
    result = fdstream("client", *place(finished.federation), "--app", APP)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "the federation has finished reported=0 failed=0" in result.stderr


def test_a_client_without_a_name_gets_one_that_no_other_has(finished: Finished) -> None:
    options = (*place(finished.federation), "--app", APP, "--json", "--log-format", "json")
    results = [fdstream("client", *options) for _ in range(2)]
    names = [json.loads(result.stdout)["client"] for result in results]
    assert all(name.startswith(f"{socket.gethostname()}-") for name in names)
    assert len(set(names)) == len(names)
    for result, name in zip(results, names, strict=True):
        first, *_ = [json.loads(line) for line in result.stderr.splitlines()]
        assert (first["event"], first["client"]) == ("taking part", name)


def test_functions_are_given_the_options_over_what_the_server_set(kafka: str, folder: Path) -> None:
    (folder / "mine.py").write_text(ECHOING)
    with Federation(kafka, folder) as federation:
        server = federation.server(*RULES, app=APP)
        options = ("--client-id", "ada", "--data-index", "3", "--set", "learning_rate=0.5", "--json")
        with Topics(federation) as topics:
            result = fdstream("client", *place(federation), "--app", "mine:app", *options)
            closed = topics.wait(table.CONTROL, RoundClosed, lambda record: record.round == 1)[0]
        assert json.loads(result.stdout) == {"client": "ada", "reported": 2, "failed": 0}, result.stderr
        assert closed.train_metrics == {"data_index": 3, "learning_rate": 0.5, "seed": 7, "named_ada": 1}
        assert server.result()["clients"] == 1


@pytest.mark.parametrize("path", BAD_APPS)
def test_a_wrong_app_is_found_out_before_a_broker_is_asked(path: str, folder: Path) -> None:
    source, says = BAD_APPS[path]
    (folder / "mine.py").write_text(source)
    sentence = refused(2, "client", "--broker", "127.0.0.1:1", "--app", path)
    assert sentence.startswith(f"Error: app path '{path}'")
    assert says in sentence


@pytest.mark.parametrize("options", [("--client-id", ""), ("--data-index", "-1"), ("--set", "no-value")])
def test_wrong_values_are_refused(options: tuple[str, str]) -> None:
    result = fdstream("client", *options)
    assert result.exit_code == 2
    assert f"Invalid value for '{options[0]}'" in result.stderr
