"""What tests of the commands look at: one small federation, run to its end by real processes once a test process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fdstream.cli import main
from fdstream.dtypes import Array
from fdstream.examples import linear
from fdstream.layout import Layout
from fdstream.messages import RoundClosed
from fdstream.topics import table
from tests.cluster.processes import Federation, Process
from tests.cluster.topics import Topics
from tests.simulation.oracle import fedavg, model_hash

APP = "fdstream.examples.linear:app"
CLIENTS = ("ada", "bob")
ROUNDS = 4
KEPT = (3, 4)  # the models that --keep-rounds 2 leaves
CHUNK_BYTES = 8  # the model's 20 bytes lie in three shards
OPTIONS = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)), "--chunk-bytes", str(CHUNK_BYTES))

BAD_APPS = {
    "absent:app": ("", "no module 'absent'"),
    "mine:missing": (
        "import fdstream\napp = fdstream.App(weights={})",
        "mine has no 'missing'; did you mean app?",
    ),
    "mine:app": ("app = 3", "is int: it must be an fdstream.App"),
    "mine:raising": (
        "raise RuntimeError('the sensor is unplugged')",
        "RuntimeError: the sensor is unplugged (at ",
    ),
}
"""Path -> what stands in mine.py, and what is said about it."""


@dataclass(frozen=True)
class Finished:
    """How it ended: the processes, and what stands in the topics."""

    federation: Federation
    server: Process
    clients: tuple[Process, ...]
    saved: Path
    closed: Mapping[int, RoundClosed]  # by round; the last one evaluated the final model


_made: dict[str, Finished] = {}


def finished_federation(kafka: str, folders: pytest.TempPathFactory) -> Finished:
    """The federation on that broker; the first call runs it."""
    if kafka not in _made:
        _made[kafka] = _run(kafka, folders)
    return _made[kafka]


def _run(kafka: str, folders: pytest.TempPathFactory) -> Finished:
    with Federation(kafka, folders.mktemp("finished")) as made:
        saved = made.folder / "saved.npz"
        server = made.server(*OPTIONS, "--save", str(saved), app=APP)
        clients = tuple(
            made.client(name, "--data-index", str(index), app=APP) for index, name in enumerate(CLIENTS)
        )
        for process in (server, *clients):
            process.result()
        with Topics(made) as topics:
            topics.all_entries(table.CONTROL)
            closed = {record.round: record for record in topics.messages(table.CONTROL, RoundClosed)}
    return Finished(made, server, clients, saved, closed)


def place(federation: Federation) -> tuple[str, ...]:
    """The options that name a federation."""
    return ("--broker", federation.bootstrap, "--federation", federation.name)


def fdstream(*arguments: str, typed: str | None = None) -> Result:
    """Run a command in this process; `typed` is what stands on its stdin."""
    return CliRunner().invoke(main, list(arguments), input=typed)


def refused(code: int, *arguments: str) -> str:
    """Run a command that must fail so, with nothing on stdout and one sentence at the end of stderr; that one."""
    result = fdstream(*arguments)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    *log, sentence = result.stderr.splitlines()
    assert sentence.startswith("Error: ")
    assert all(" info " in line or " warning " in line for line in log), result.stderr
    return sentence


def model_after(rounds: int) -> dict[str, Array]:
    """What the oracle makes of the clients' training."""
    weights = linear.app.initial_weights()
    for number in range(1, rounds + 1):
        trained = [
            linear.app.run_train(weights, {"data_index": index, "round": number})
            for index in range(len(CLIENTS))
        ]
        weights = fedavg(weights, [(result.weights, result.num_examples) for result in trained])
    return weights


def hash_of(weights: Mapping[str, Array]) -> str:
    """The hash that the log must name for a model of this federation."""
    shards = table.DEFAULT_SHARDS
    return model_hash(Layout.of(dict(weights), chunk_bytes=CHUNK_BYTES, shards=shards), weights)
