"""An undisturbed federation: one server, three clients, and whoever comes when it is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fdstream.topics import table
from tests.cluster.expected import expected_hash, expected_weights
from tests.cluster.processes import Federation, hash_of
from tests.cluster.starting import start_python
from tests.cluster.topics import Topics

CLIENTS = ("ada", "bob", "cyd")
ROUNDS = 4
OPTIONS = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)))


@pytest.fixture(scope="module")
def finished(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """A federation that has reached its last round; its first process is the server that led it there."""
    with Federation(kafka, tmp_path_factory.mktemp("finished"), start_python) as made:
        server = made.server(*OPTIONS, "--save", str(made.folder / "model.npz"))
        clients = made.clients(*CLIENTS)
        for process in (server, *clients):
            process.result()
        yield made


def test_the_result_is_the_oracles(finished: Federation) -> None:
    result = finished.processes[0].result()
    assert result["model_sha256"] == expected_hash([CLIENTS] * ROUNDS)
    assert (result["rounds"], result["clients"]) == (ROUNDS, len(CLIENTS))
    final = expected_weights([CLIENTS] * ROUNDS)
    widest = max(float(np.abs(value).max()) for value in final.values())
    assert result["metrics"]["evaluate_spread"] == widest
    assert result["metrics"]["global_spread"] == widest


def test_the_saved_model_is_the_oracles(finished: Federation) -> None:
    expected = expected_weights([CLIENTS] * ROUNDS)
    with np.load(finished.folder / "model.npz") as saved:
        assert list(saved) == list(expected)
        for name, array in expected.items():
            assert saved[name].dtype == array.dtype
            assert saved[name].tobytes() == array.tobytes()


def test_clients_report_every_round_and_the_final_evaluation(finished: Federation) -> None:
    results = [process.result() for process in finished.processes[1 : 1 + len(CLIENTS)]]
    assert results == [{"client": name, "reported": ROUNDS + 1, "failed": 0} for name in CLIENTS]


def test_nothing_was_refused(finished: Federation) -> None:
    with Topics(finished) as topics:
        assert topics.all_entries(table.REJECTED) == []


def test_a_second_start_says_that_it_is_done(finished: Federation) -> None:
    again = finished.server(*OPTIONS, "--save", str(finished.folder / "again.npz"))
    assert again.result() == finished.processes[0].result()
    assert "the federation has finished: all its rounds are done" in again.log
    first, second = (finished.folder / name for name in ("model.npz", "again.npz"))
    with np.load(first) as one, np.load(second) as other:
        assert all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_a_second_start_needs_no_settings(finished: Federation) -> None:
    again = finished.server()
    assert hash_of(again) == hash_of(finished.processes[0])


def test_a_client_that_comes_when_it_is_over_leaves(finished: Federation) -> None:
    late = finished.client("late")
    assert late.result() == {"client": "late", "reported": 0, "failed": 0}


def test_settings_that_contradict_the_federation_are_refused(finished: Federation) -> None:
    wrong = [
        ("--numrounds", "9"),
        ("--minclients", "1"),
        ("--strategy", "fedadam"),
        ("--shards", "3"),
        ("--chunk-bytes", "900KiB"),
        ("--set", "unheard=of"),
    ]
    refused = {options: finished.server(*options) for options in wrong}
    for options, process in refused.items():
        code, sentence = process.refusal()
        assert code == 2, process.log
        named = "--set unheard = nothing, not of" if options[0] == "--set" else f"{options[0]} = "
        assert f"open with {named}" in sentence


def test_export_writes_what_save_wrote(finished: Federation, tmp_path: Path) -> None:
    exported = finished.run("export", "export", "--output", str(tmp_path / "exported.npz"))
    assert exported.exit_code() == 0, exported.log
    with np.load(finished.folder / "model.npz") as saved, np.load(tmp_path / "exported.npz") as file:
        assert all(saved[name].tobytes() == file[name].tobytes() for name in saved)


def test_status_shows_how_it_ended(finished: Federation) -> None:
    status = finished.run("status", "status", "--json").result()
    assert status["phase"] == "finished"
    assert status["model_sha256"] == finished.processes[0].result()["model_sha256"]


def test_an_app_whose_model_is_another_is_refused(finished: Federation) -> None:
    code, sentence = finished.server(app="tests.cluster.apps:wider").refusal()
    assert code == 2
    assert (
        "of the one asked for here, tensor 'kernel' is float32[24, 11], expected float32[24, 10]" in sentence
    )
