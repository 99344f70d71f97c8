"""Visits on a connection: one round at a time, for one client or for several, from one place or from two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fdstream import interrupts
from fdstream.app import App, UserFunctionError
from fdstream.client.connection import WITHOUT_MEMORY
from fdstream.client.visitor import (
    ALREADY_REPORTED,
    FINISHED,
    NO_ROUND_OPEN,
    REFUSED,
    REPORTED,
    Visit,
    Visitor,
    Watch,
)
from fdstream.errors import UsageError
from fdstream.heartbeats import Heartbeats
from tests.client.hosted import A_LONG_TIME, Host, HostedLog, step
from tests.client.scene import weights_of

app = App(weights=lambda: weights_of(1))


@app.train
def train(weights: Any, config: Any) -> Any:
    if config.get("fault") == "raises":
        raise RuntimeError("password=hunter2")
    if config.get("fault") == "infinite":
        return step(weights, 1) | {"w": np.full((2, 5), 1e30, np.float32)}, 5, {}
    return step(weights, 1), 5, {"loss": 0.5}


@app.evaluate
def evaluate(_weights: Any, _config: Any) -> Any:
    return 9, {"accuracy": 0.75}


class Functions:
    """Instances of a function for a host's federation."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.heartbeats = Heartbeats(A_LONG_TIME)

    def instance(self, **config: Any) -> Visitor:
        return Visitor(HostedLog(self.host), self.heartbeats, config, {"runs": "as a function"})

    def visit(self, visitor: Visitor, client: str = "ada") -> Visit:
        return visitor.visit(client, app, Watch())

    def until(self, visitor: Visitor, outcome: str, client: str = "ada") -> Visit:
        """Visits, each a moment later, until one ends so."""
        for _ in range(200):
            visit = self.visit(visitor, client)
            if visit.outcome == outcome:
                return visit
            assert visit.outcome == NO_ROUND_OPEN
            self.host.turn()
        raise AssertionError(f"never {outcome}")


def test_one_instance_takes_part_in_every_round() -> None:
    functions = Functions(Host())
    visitor = functions.instance()
    assert functions.visit(visitor).reason == "no server has opened this federation"
    made = [functions.until(visitor, REPORTED) for _ in range(3)]
    assert [(visit.round, visit.num_examples, visit.evaluated_examples) for visit in made] == [
        (1, 5, 9),
        (2, 5, 9),
        (3, 0, 9),
    ]
    assert made[0].metrics == {"loss": 0.5}
    assert made[0].evaluate_metrics == {"accuracy": 0.75}
    assert made[0].sent_bytes > 0
    assert made[0].received_bytes > 0
    end = functions.until(visitor, FINISHED)
    assert (end.reason, end.failed) == ("all 2 rounds are done", False)


def test_twice_in_a_round_is_harmless_whichever_instance_serves() -> None:
    functions = Functions(Host(min_clients=2, max_clients=2))
    one, other = functions.instance(), functions.instance()
    assert functions.until(one, REPORTED).round == 1
    for visitor in (one, other, functions.instance()):
        again = functions.visit(visitor)
        assert (again.outcome, again.round, again.num_examples) == (ALREADY_REPORTED, 1, 0)
    assert [report.client for report in functions.host.reports(1)] == ["ada"]
    assert functions.until(other, REPORTED, "bob").round == 1
    assert functions.until(other, REPORTED).round == 2
    assert functions.until(one, ALREADY_REPORTED).round == 2


def test_one_instance_serves_many_clients() -> None:
    functions = Functions(Host(min_clients=3, max_clients=3, num_rounds=1))
    visitor = functions.instance()
    assert [functions.until(visitor, REPORTED, client).round for client in ("ada", "bob", "cyd")] == [1] * 3
    assert [report.client for report in functions.host.reports(1)] == ["ada", "bob", "cyd"]


def test_a_function_that_raises_reports_that_it_failed_and_is_not_asked_again() -> None:
    functions = Functions(Host(min_clients=1, max_clients=2))
    visit = functions.until(functions.instance(fault="raises"), REPORTED)
    assert isinstance(visit.failure, UserFunctionError)
    again = functions.visit(functions.instance())
    assert (again.outcome, again.round) == (REFUSED, 1)
    assert "has reported that it failed" in again.reason


def test_an_update_that_cannot_be_summed_is_refused_with_the_reason() -> None:
    functions = Functions(Host())
    visit = functions.until(functions.instance(fault="infinite"), REFUSED)
    assert "infinite or beyond" in visit.reason
    assert visit.failure is None


def test_a_codec_with_memory_warns_an_instance_that_has_none() -> None:
    functions = Functions(Host(codec="topk:0.5", num_rounds=3))
    one = functions.instance()
    assert functions.until(one, REPORTED).warnings == []  # nothing can be owed before the first round
    assert functions.until(one, REPORTED).warnings == []
    assert functions.until(functions.instance(), REPORTED).warnings == [WITHOUT_MEMORY]


def test_members_come_and_go_with_every_visit() -> None:
    functions = Functions(Host())
    functions.until(functions.instance(), REPORTED)
    assert functions.host.states("ada")[-2:] == ["waiting", "gone"]


def test_a_client_needs_a_name() -> None:
    functions = Functions(Host())
    with pytest.raises(UsageError, match="is no client id"):
        functions.visit(functions.instance(), "")


def test_time_is_told_by_phase() -> None:
    functions, watch = Functions(Host()), Watch()
    visitor = functions.instance()
    functions.until(visitor, REPORTED)
    functions.until(visitor, REPORTED)
    while visitor.visit("bob", app, watch).outcome == NO_ROUND_OPEN:
        functions.host.turn()
    times = watch.milliseconds
    assert list(times) == ["import", "receive", "evaluate", "total"]
    assert times["total"] == pytest.approx(sum(times.values()) - times["total"], abs=1.0)


def test_nothing_is_reported_by_who_was_told_to_stop_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    functions = Functions(Host())
    visitor = functions.instance()
    while functions.host.server.ledger.round == 0:
        functions.host.turn()

    def stop() -> None:
        raise interrupts.Stopped

    slow = App(weights=lambda: weights_of(1))

    @slow.train
    def train(weights: Any, _config: Any) -> Any:
        monkeypatch.setattr(interrupts, "check", stop)
        return step(weights, 1), 5, {}

    with pytest.raises(interrupts.Stopped):
        visitor.visit("ada", slow, Watch())
    visitor.close()
    assert functions.host.reports(1) == []
