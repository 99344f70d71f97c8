"""The stress harness as a whole: real broker, real processes, both channels, local clients and functions."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from fdstream.stress.plan import GRPC, KAFKA, Plan, Scenario
from fdstream.stress.run import run

MIXED = Scenario(local=2, functions=1, rounds=2, model_bytes=10_000, workload="synthetic")


def test_one_command_fills_the_report_for_both_channels_and_leaves_nothing(tmp_path: Path) -> None:
    for library in ("sklearn", "functions_framework"):
        pytest.importorskip(library)
    plan = Plan((MIXED,), MIXED, (KAFKA, GRPC), repeat=1, out=tmp_path / "out", processes=2, warm_up=MIXED)
    before = children()
    run(plan, Console(quiet=True))

    assert children() <= before
    kinds = {path.suffix for path in plan.out.iterdir()}
    assert kinds == {".md", ".json", ".png", ".svg"}
    found = json.loads((plan.out / "report.json").read_text())
    by_channel = {each["channel"]: each["runs"][0] for each in found["results"]}
    assert set(by_channel) == {KAFKA, GRPC}
    training = MIXED.rounds + 1
    for measured in by_channel.values():
        updates = measured["payload_bytes"]["updates"]
        assert MIXED.clients * training * 10_000 < updates < 1.02 * MIXED.clients * training * 10_000
        assert 0 < measured["times"]["total"] < 60
        assert len(measured["times"]["rounds"]) == MIXED.rounds
        assert measured["costs"]["clients"]["cpu_seconds"] > 0
        assert all(measured["requests"]["clients"][way] > 0 for way in ("sent", "received"))
        for link in measured["links"]:
            for flow in (link["up"], link["down"]):
                if flow["wire"] is not None:
                    assert flow["wire"]["bytes"] > flow["record_bytes"] > 0


def children() -> set[psutil.Process]:
    """What this process has started that runs: the brokers of other tests may be among them."""
    return set(psutil.Process().children(recursive=True))
