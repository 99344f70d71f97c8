"""`fdstream export` against a real broker: what is in the file, and what is said where there can be none."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import numpy as np
import pytest

from fdstream.examples import linear
from tests.cli.finished import (
    APP,
    KEPT,
    ROUNDS,
    Finished,
    fdstream,
    finished_federation,
    hash_of,
    model_after,
    place,
    refused,
)
from tests.cluster.processes import Federation
from tests.cluster.topics import Topics


@pytest.fixture(scope="module")
def finished(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_federation(kafka, tmp_path_factory)


def read(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def assert_same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("number", KEPT)
def test_a_kept_round_is_the_oracles_model_and_has_the_hash_in_the_log(
    number: int, finished: Finished, tmp_path: Path
) -> None:
    path = tmp_path / "model.npz"
    result = fdstream("export", *place(finished.federation), "--round", str(number), "--output", str(path))
    assert (result.exit_code, result.stderr) == (0, "")
    assert f"after round {number} is in {path}" in result.stdout
    assert_same(read(path), model_after(number))
    assert hash_of(read(path)) == finished.closed[number].model_sha256.hex()


def test_without_a_round_it_is_the_newest_and_an_older_file_is_replaced(
    finished: Finished, tmp_path: Path
) -> None:
    path = tmp_path / "model.npz"
    path.write_text("an older file")
    result = fdstream("export", *place(finished.federation), "--output", str(path), "--json")
    facts = {"federation": finished.federation.name, "round": ROUNDS, "tensors": 2, "path": str(path)}
    assert result.exit_code == 0
    assert list(json.loads(result.stdout).items()) == list(facts.items())
    assert_same(read(path), read(finished.saved))
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]


def test_before_the_first_round_has_closed_it_is_the_initial_model(kafka: str, tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    with Federation(kafka, tmp_path) as federation:
        federation.server(app=APP)
        with Topics(federation) as topics:
            topics.wait_for_round(1)
        for asked in ((), ("--round", "0")):
            result = fdstream("export", *place(federation), *asked, "--output", str(path), "--json")
            assert json.loads(result.stdout)["round"] == 0
            assert_same(read(path), linear.app.initial_weights())
            path.unlink()


@pytest.mark.parametrize("number", range(KEPT[0]))
def test_a_round_no_longer_kept(number: int, finished: Finished, tmp_path: Path) -> None:
    asked = ("--round", str(number), "--output", str(tmp_path / "model.npz"))
    assert "--keep-rounds" in refused(3, "export", *place(finished.federation), *asked)
    assert list(tmp_path.iterdir()) == []


def test_a_round_that_was_never_reached(finished: Finished, tmp_path: Path) -> None:
    asked = ("--round", str(ROUNDS + 1), "--output", str(tmp_path / "model.npz"))
    sentence = refused(3, "export", *place(finished.federation), *asked)
    assert "no model after" in sentence
    assert {str(ROUNDS), str(ROUNDS + 1)} <= set(re.findall(r"\d+", sentence))
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_federation_is_told_with_those_that_there_are(finished: Finished, tmp_path: Path) -> None:
    broker, output = finished.federation.bootstrap, str(tmp_path / "model.npz")
    sentence = refused(2, "export", "--broker", broker, "--federation", "absent", "--output", output)
    assert "there is no federation 'absent'" in sentence
    assert finished.federation.name in sentence
    assert list(tmp_path.iterdir()) == []


def test_a_federation_that_no_server_has_opened_has_no_model(kafka: str, tmp_path: Path) -> None:
    where = ("--broker", kafka, "--federation", f"test-{uuid.uuid4().hex[:12]}")
    assert fdstream("topics", "create", *where).exit_code == 0
    sentence = refused(3, "export", *where, "--output", str(tmp_path / "model.npz"))
    assert "has no model yet: no server has opened it" in sentence


@pytest.mark.parametrize(
    ("output", "says"),
    [
        ("absent/model.npz", "is not a directory that can be written to"),
        ("model.txt", "does not end in .npz"),
        ("folder.npz", "is a directory"),
    ],
)
def test_a_path_that_cannot_be_written_is_found_out_before_a_broker_is_asked(
    output: str, says: str, tmp_path: Path
) -> None:
    (tmp_path / "folder.npz").mkdir()
    result = fdstream("export", "--broker", "127.0.0.1:1", "--output", str(tmp_path / output))
    assert result.exit_code == 2
    *_, sentence = result.stderr.splitlines()
    assert sentence.startswith("Error: Invalid value for '--output': ")
    assert says in sentence


def test_the_output_has_to_be_named() -> None:
    result = fdstream("export")
    assert result.exit_code == 2
    assert "Missing option '--output'" in result.stderr
