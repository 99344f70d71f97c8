"""What a federation's logs and clients write down about themselves, against a case counted by hand."""

from __future__ import annotations

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fdstream import moments
from fdstream.client.swarm import Swarm, Work, run_swarm
from fdstream.examples import synthetic
from fdstream.grpc.local import LocalLog
from fdstream.grpc.store import Store
from fdstream.messages import Settings
from fdstream.server.run import Connections, Plan, ServerRun
from fdstream.stress.measurement import records_of
from fdstream.topics import table

CLIENTS, ROUNDS, CHUNKS, CHUNK_BYTES = 3, 2, 2, 4000
SETTINGS = Settings(
    num_rounds=ROUNDS,
    min_clients=CLIENTS,
    max_clients=CLIENTS,
    deadline_seconds=600.0,
    max_extensions=0,
    fraction=1.0,
    strategy="fedavg",
    keep_rounds=0,
    seed=0,
    final_evaluation=True,
)
UPDATE_HEAD_BYTES = 10 + 16 + 16 + 1 + 1 + 1 + 2
"""Avro's fingerprint, nonce, attempt, round, index, number of examples, and the length of the data."""


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Where a party's moments go."""
    monkeypatch.setattr(moments, "LINGER_SECONDS", 0.0)
    return {role: tmp_path / f"{role}.jsonl" for role in ("server", "clients")}


def federate(files: dict[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """A whole federation on one log in memory; the moments of its parties."""
    store = Store({spec.name: spec.partitions for spec in table.topic_specs(1)}, time.time)
    shards = iter([frozenset({0})])
    app, plan = synthetic.app(CHUNKS * CHUNK_BYTES, 0), Plan(SETTINGS, CHUNK_BYTES, 1, {}, {})
    swarm = Swarm(clients=CLIENTS, seed=0, work=Work(), heartbeat_period_seconds=1000.0)
    quiet: dict[str, Any] = {"heartbeat_period_seconds": 1000.0, "observe": lambda _: None}

    def serve() -> None:
        with moments.writing(files["server"]) as recorder:
            open_log = lambda _: recorder.log(LocalLog(store))  # noqa: E731
            connections = Connections("tally", open_log, lambda: next(shards, None), 1)
            with ServerRun(connections, app, plan, instruments=recorder, **quiet) as run:
                run.run()

    with ThreadPoolExecutor(1) as pool, moments.writing(files["clients"]) as recorder:
        server = pool.submit(serve)
        run_swarm(swarm, lambda _: LocalLog(store), recorder)
        server.result()
    return {
        party: [json.loads(line) for line in file.read_text().splitlines()] for party, file in files.items()
    }


def test_records_are_those_that_one_counts_by_hand(files: dict[str, Path]) -> None:
    seen = federate(files)
    clients, server = seen["clients"], seen["server"]
    logs = [sum(line["moment"] == "records" for line in lines) for lines in (clients, server)]
    assert logs == [CLIENTS, 2]  # the server has one for its evaluations, too

    updates = CLIENTS * ROUNDS * CHUNKS
    assert records_of(clients, "appended", ".updates") == (
        updates,
        updates * (CHUNK_BYTES + UPDATE_HEAD_BYTES),
    )
    assert records_of(server, "read", ".updates") == records_of(clients, "appended", ".updates")
    reports = CLIENTS * (ROUNDS + 1)  # the last evaluates
    assert records_of(clients, "appended", ".reports")[0] == reports
    assert records_of(server, "read", ".reports") == records_of(clients, "appended", ".reports")
    assert records_of(clients, "appended", "members")[0] == CLIENTS * len(("joined", "gone"))

    control = 1 + 3 * (ROUNDS + 1) + 1  # opened; each round opened, closing, closed; finished
    assert records_of(server, "appended", "control")[0] == control
    assert records_of(clients, "read", "control")[0] == CLIENTS * control
    models = CHUNKS * (ROUNDS + 1)  # the initial one, and one of each round
    assert records_of(server, "appended", ".model")[0] == models
    read = records_of(clients, "read", ".model")[0]  # what came before it was named may be read again
    assert CLIENTS * models <= read < 2 * CLIENTS * models
    assert records_of(server, "appended", "shards")[0] == ROUNDS * len(("verdict", "result"))


def test_moments_are_told_once_for_each_client_and_round(files: dict[str, Path]) -> None:
    began = time.time()
    seen = federate(files)
    lines = seen["clients"] + seen["server"]
    counts = Counter(line["moment"] for line in lines)
    assert counts["model received"] == CLIENTS * (ROUNDS + 1)
    assert counts["trained"] == CLIENTS * ROUNDS
    assert counts["reported"] == counts["report"] == CLIENTS * (ROUNDS + 1)
    assert counts["round closed"] == ROUNDS + 1
    assert all(began <= line["seconds"] <= time.time() for line in lines)
    received = [line for line in lines if line["moment"] == "model received"]
    assert all(began <= line["opened_seconds"] <= line["seconds"] for line in received)
    assert {(line["round"], *line["clients"]) for line in received} == {
        (number, f"swarm-0-{client:05}") for number in range(1, ROUNDS + 2) for client in range(CLIENTS)
    }
