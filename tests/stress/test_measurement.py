"""Observations into figures, against a federation so small that one can count it by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fdstream.stress import plots, report
from fdstream.stress.measurement import Measurement, Results, measure, percentile, records_of
from fdstream.stress.observation import BROKER, CLIENTS, SERVER, Cost, Observation
from fdstream.stress.plan import GRPC, KAFKA, Plan, Scenario
from fdstream.stress.wire import HEADER_BYTES, Count, Traffic

MODEL_BYTES = 1000
SCENARIO = Scenario(local=2, functions=0, rounds=2, model_bytes=MODEL_BYTES, workload="echo")
DIGITS = Scenario(local=2, functions=0, rounds=2, model_bytes=0, workload="digits")


def moment(name: str, seconds: float, **facts: Any) -> dict[str, Any]:
    return {"moment": name, "seconds": seconds, **facts}


def clients_moments() -> list[dict[str, Any]]:
    """Rounds 1 to 4 open at 10, 20, 30 and 40 s. Client a has its model after 1 s, b after 2; b trains longer."""
    told = []
    for number in (1, 2, 3, 4):
        opened = 10.0 * number
        for client, seconds in (("a", 1.0), ("b", 2.0)):
            facts = {
                "round": number,
                "opened_seconds": opened,
                "clients": [client],
                "model_bytes": MODEL_BYTES,
            }
            told.append(moment("model received", opened + seconds, **facts))
            if number < 4:
                lasted = {"lasted_seconds": 0.5 * seconds, "client": client, "round": number}
                told.append(moment("trained", opened + 1.5 * seconds, **lasted))
    for _ in range(2):
        counts = {"appended": {"round-0.updates": [3, 3150]}, "read": {"round-0.model": [4, 4200]}}
        told.append(moment("records", 50.0, **counts))
    return [*told, moment("requests", 50.0, sent=7, received=6)]


def server_moments() -> list[dict[str, Any]]:
    told = []
    for number in (1, 2, 3):
        told += [
            moment("report", 10.0 * number + 4, client=client, round=number, outcome="accepted")
            for client in "ab"
        ]
        told.append(moment("round closed", 10.0 * number + 5, round=number, clients=2))
    counts = {
        "appended": {"control": [5, 500], "round-0.model": [3, 3150]},
        "read": {"round-0.updates": [6, 6300]},
    }
    return [*told, moment("records", 50.0, **counts), moment("requests", 50.0, sent=9, received=9)]


def observation(channel: str, scenario: Scenario = SCENARIO) -> Observation:
    link = Traffic(up=Count(packets=20, bytes=6300 + 20 * HEADER_BYTES + 90), down=Count(10, 9000))
    return Observation(
        scenario=scenario,
        channel=channel,
        connections=2,
        moments={SERVER: tuple(server_moments()), CLIENTS: tuple(clients_moments())},
        traffic={SERVER: Traffic(Count(11, 4000), Count(22, 7000)), BROKER: Traffic(), CLIENTS: link},
        costs={SERVER: Cost(1.5, 2**20, 1), BROKER: Cost(2.0, 2**21, 3), CLIENTS: Cost(3.5, 2**22, 1)},
        summary={"metrics": {"global_accuracy": 0.9}},
    )


def test_times_leave_the_first_round_and_the_last_out() -> None:
    times = measure(observation(KAFKA)).times
    assert times.total == 35.0 - 20.0  # round 3 closed, round 2 opened
    assert times.rounds == [5.0, 5.0]
    assert times.everybody == [2.0, 2.0]
    assert sorted(times.model) == [1.0, 1.0, 2.0, 2.0]
    assert sorted(times.update) == [1.0, 1.0, 2.5, 2.5]  # reports at 4; trained at 3 and 1.5
    assert times.training == 1.0 + 1.0  # of b, twice
    assert times.training_share == pytest.approx(2 / 15)


def test_a_link_adds_up() -> None:
    _, link = measure(observation(KAFKA)).links
    assert (link.party, link.peer) == (CLIENTS, BROKER)
    assert (link.up.records, link.up.record_bytes) == (6, 6300)
    assert link.up.header_bytes == 20 * HEADER_BYTES
    assert link.up.protocol_bytes == 90
    assert link.up.wire
    assert link.up.record_bytes + link.up.header_bytes + link.up.protocol_bytes == link.up.wire.bytes
    assert (link.down.records, link.down.record_bytes) == (8, 8400)


def test_over_kafka_there_are_two_links_and_over_grpc_one() -> None:
    assert [(link.party, link.peer) for link in measure(observation(KAFKA)).links] == [
        (SERVER, BROKER),
        (CLIENTS, BROKER),
    ]
    assert [(link.party, link.peer) for link in measure(observation(GRPC)).links] == [(CLIENTS, SERVER)]


def test_what_else_is_counted() -> None:
    measured = measure(observation(KAFKA))
    assert (measured.egress_bytes, measured.ingress_bytes) == (4000, 7000)
    assert measured.requests == {SERVER: {"sent": 9, "received": 9}, CLIENTS: {"sent": 7, "received": 6}}
    assert measured.payload_bytes == {"updates": 6300, "model": 8400}
    assert (measured.model_bytes, measured.connections, measured.accuracy) == (MODEL_BYTES, 2, 0.9)
    assert records_of(clients_moments(), "read", ".updates") == (0, 0)


def test_percentiles_are_values_that_were_seen() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, percent) for percent in (50, 95, 100)] == [50.0, 95.0, 100.0]
    assert percentile([3.0], 50) == 3.0
    assert percentile([1.0, 2.0, 3.0], 95) == 3.0


def results() -> tuple[Plan, Results]:
    scenarios = SCENARIO, Scenario(4, 0, 2, MODEL_BYTES, "echo")
    plan = Plan(scenarios, DIGITS, (KAFKA, GRPC), repeat=2, out=Path("x"), processes=2, warm_up=DIGITS)
    made: dict[tuple[Scenario, str], list[Measurement]] = {}
    for scenario, channel in plan.trials():
        made.setdefault((scenario, channel), []).append(measure(observation(channel, scenario)))
    return plan, made


def test_the_page_has_all_five_parts_for_both_channels_and_shows_that_they_add_up(tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    plan, made = results()
    pictures = plots.draw(plan, made, tmp_path)
    page = report.page(plan, {"network": "namespaces"}, made, pictures)
    for number in range(1, 5):
        assert page.count(f"\n### {number}. ") == len(plan.scenarios)
    assert page.count("\n## 5. ") == 1
    assert "| Kafka | clients → broker | 6 | 1.050 | 0.006 | 0.001 | 0.000 | 0.008 | +22.4 % |" in page
    assert "| Kafka | clients → broker | 6 | 0.006 | 20 | 0.008 |" in page
    assert "| gRPC | clients → server | 6 | 0.006 | 20 | 0.008 |" in page
    assert "| Kafka | updates | 2 \u00d7 3 \u00d7 1,000 | 0.006 | 0.006 | +5.00% |" in page
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}.{kind}" for name in pictures for kind in ("png", "svg")
    }
    assert set(pictures) == {"messages", "time", "updates", "costs", "centre", "sweep"}


def test_the_raw_side_names_every_run() -> None:
    plan, made = results()
    raw = json.loads(report.raw(plan, {"date": "today"}, made))
    assert [len(each["runs"]) for each in raw["results"]] == [2, 2, 2, 2, 1, 1]
    (kafka, *_) = raw["results"]
    assert kafka["channel"] == KAFKA
    assert kafka["scenario"]["local"] == 2
    assert kafka["runs"][0]["times"]["model"] == {"p50": 1.0, "p95": 2.0, "max": 2.0}
    assert kafka["runs"][0]["links"][1]["up"]["wire"] == {"packets": 20, "bytes": 7710}


def test_without_counts_of_the_wire_the_page_says_so() -> None:
    pytest.importorskip("sklearn")
    plan, made = results()
    seen = [observation(channel, scenario) for scenario, channel in plan.trials()]
    for each in seen:
        made[each.scenario, each.channel] = []
    for each in seen:
        bare = Observation(each.scenario, each.channel, 2, each.moments, {}, each.costs, each.summary)
        made[each.scenario, each.channel].append(measure(bare))
    page = report.page(plan, {"network": "loopback: no tools"}, made, {})
    assert "not counted: all parties share this machine's loopback (loopback: no tools)" in page
    assert "| Kafka | clients → broker | 6 | 0.006 | not counted | not counted |" in page
