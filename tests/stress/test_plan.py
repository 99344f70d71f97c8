"""What is asked for becomes federations and processes: none forgotten, none twice, channels in turns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fdstream.stress.plan import GRPC, KAFKA, Plan, Scenario, Stragglers, size_text, sweep

HUNDRED = Scenario(local=100, functions=0, rounds=5, model_bytes=10**6, workload="echo")
DIGITS = Scenario(10, 0, 10, 0, "digits")


@pytest.mark.parametrize("clients", [1, 7, 100, 999, 10_000])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_every_client_is_in_one_group(clients: int, share: float) -> None:
    scenario = replace(HUNDRED, local=clients, train_seconds=0.5, stragglers=Stragglers(share, 5.0))
    groups = scenario.groups(processes=3)
    numbers = [number for group in groups for number in range(group.first, group.first + group.count)]
    assert sorted(numbers) == list(range(clients))
    slow = sum(group.count for group in groups if group.seconds == 5.5)
    assert slow == -(-clients * share // 1)
    assert sum(-(-group.count // group.multiplex) for group in groups) <= 200 + len(groups)
    alone = clients <= 200
    assert {group.multiplex for group in groups} == ({1} if alone else {group.count for group in groups})


def test_channels_alternate_and_take_turns_in_going_first() -> None:
    plan = Plan((HUNDRED,), DIGITS, (KAFKA, GRPC), repeat=3, out=Path("x"), processes=2, warm_up=DIGITS)
    order = [channel for scenario, channel in plan.trials() if scenario == HUNDRED]
    assert order == [KAFKA, GRPC, GRPC, KAFKA, KAFKA, GRPC]
    assert plan.count == 8
    assert replace(plan, scenarios=(DIGITS,)).count == 6


def test_sweeps() -> None:
    mixed = replace(HUNDRED, local=50, functions=50)
    assert [(each.local, each.functions) for each in sweep(mixed, "clients", [10, 1000])] == [
        (5, 5),
        (500, 500),
    ]
    assert [each.model_bytes for each in sweep(HUNDRED, "model-size", [40_000, 1_000_000])] == [
        40_000,
        1_000_000,
    ]


def test_measured_rounds_follow_the_one_in_which_everybody_connects() -> None:
    assert list(HUNDRED.measured) == [2, 3, 4, 5, 6]
    assert HUNDRED.training_rounds == 6


def test_titles() -> None:
    assert HUNDRED.title == "100 clients, 1MB, echo"
    assert replace(HUNDRED, local=50, functions=50).title == "50 local clients and 50 functions, 1MB, echo"
    slower = replace(HUNDRED, train_seconds=0.5, stragglers=Stragglers(0.1, 5))
    assert slower.title == "100 clients, 1MB, echo, 0.5 s of training, 10% of the local clients 5 s later"
    rare = replace(HUNDRED, stragglers=Stragglers(0.004, 5))
    assert rare.title == "100 clients, 1MB, echo, 0.4% of the local clients 5 s later"
    assert replace(HUNDRED, stragglers=Stragglers(0.1, 0)).title == HUNDRED.title
    assert [size_text(size) for size in (40_000, 1_500_000, 10**9, 12)] == ["40KB", "1.5MB", "1GB", "12B"]
