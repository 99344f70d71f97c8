"""Answers of a client's loop: mistakes leave the task open, failures cost the round and no more."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest

from fdstream.app import App
from fdstream.client.connection import work
from fdstream.errors import FederationFailedError, UsageError
from fdstream.topics import table
from tests.client.hosted import Host, answer, first_task, step
from tests.client.scene import weights_of

# Mistakes


def test_a_task_left_unanswered_is_a_mistake_that_names_its_round() -> None:
    host = Host()
    with host.connect("a") as connection:
        tasks = iter(connection)
        next(tasks)
        with pytest.raises(UsageError, match="round 1 was not answered"):
            next(tasks)


def test_a_task_is_answered_once() -> None:
    host = Host()
    with host.connect("a") as connection:
        with pytest.raises(UsageError, match="there is no task to answer"):
            connection.report(None, 0)
        with pytest.raises(UsageError, match="there is no task to answer"):
            connection.fail("no")
        answer(connection, first_task(connection))
        with pytest.raises(UsageError, match="there is no task to answer"):
            connection.report({}, 1)
    assert len(host.messages(table.updates(1))) == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"weights": {"w": np.zeros((2, 5), np.float32)}}, "without 'steps'"),
        ({"weights": None}, "weights are a dict or a list"),
        ({"weights": {**weights_of(1), "w": np.full((2, 5), np.nan, np.float32)}}, "NaN or infinity in 'w'"),
        ({"num_examples": 0}, "num_examples 0"),
        ({"num_examples": 2.5}, "num_examples 2.5"),
        ({"metrics": {"loss": float("nan")}}, "metric 'loss' = nan"),
        ({"evaluate_metrics": {"accuracy": 1.0}}, "num_examples 0"),
        ({"metrics": {"loss": 1e200}}, r"metric 'loss' = 1e\+200"),
        ({"evaluated_examples": -1}, "num_examples -1"),
        ({"evaluated_examples": 3, "evaluate_metrics": {"accuracy": float("inf")}}, "'accuracy' = inf"),
    ],
)
def test_a_report_that_cannot_be_used_is_refused_and_the_task_stays_open(
    change: dict[str, Any], says: str
) -> None:
    host = Host(num_rounds=1)
    with host.connect("a") as connection:
        tasks = iter(connection)
        next(tasks)
        good: dict[str, Any] = {"weights": weights_of(1), "num_examples": 5}
        with pytest.raises(UsageError, match=says):
            connection.report(**(good | change))
        assert host.reports(1) == host.messages(table.updates(1)) == []
        connection.report(**good)
        assert next(tasks).round == 2
    assert [report.failure for report in host.reports(1)] == [None]


# Failing


def test_a_client_that_fails_says_why_and_is_asked_again() -> None:
    host = Host(num_rounds=1, deadline_seconds=0.5)
    rounds = []
    with host.connect("a") as connection:
        for task in connection:
            rounds.append(task.round)
            if len(rounds) == 1:
                connection.fail("no data " + "x" * 5000)
            else:
                answer(connection, task)
    assert rounds == [1, 1, 2]
    failure, success = host.reports(1)
    assert failure.failure is not None
    assert (failure.failure[:10], len(failure.failure)) == ("no data xx", 1000)
    assert success.failure is None


def test_an_update_that_overflows_is_reported_as_a_failure() -> None:
    host = Host(num_rounds=1, deadline_seconds=0.5)
    with host.connect("a") as connection:
        tasks = iter(connection)
        next(tasks)
        huge = weights_of(1) | {"w": np.full((2, 5), 3e38, np.float32)}
        connection.report(huge, 5)
        assert next(tasks).round == 1
    assert [report.failure is not None for report in host.reports(1)] == [True]


# An app's functions


def app_of(*, fails_in: int = 0, evaluates: bool = True, trained: list[int] | None = None) -> App:
    """Trains by adding one; the rounds it was called in go to `trained`."""
    app = App(weights=weights_of(1))

    @app.train
    def train(weights: Any, config: Any) -> Any:
        if trained is not None:
            trained.append(config["round"])
        if config["round"] == fails_in:
            raise RuntimeError("no data today")
        return step(weights, 1), 5, {"loss": 0.5}

    if evaluates:

        @app.evaluate
        def evaluate(weights: Any, config: Any) -> Any:
            return 9, {"first": float(weights["w"][0, 0]), "round": config["round"]}

    return app


def test_an_app_evaluates_what_it_received_and_trains_unless_the_model_is_final() -> None:
    host = Host()
    trained: list[int] = []
    with host.connect("a") as connection:
        errors = [(task.round, error) for task, error in work(app_of(trained=trained), connection)]
    assert errors == [(1, None), (2, None), (3, None)]
    assert trained == [1, 2]
    reports = [host.reports(number)[0] for number in (1, 2, 3)]
    assert [report.evaluate_metrics for report in reports] == [
        {"first": 99.0 + number, "round": number} for number in (1, 2, 3)
    ]
    assert [(report.num_examples, report.metrics) for report in reports] == [
        *[(5, {"loss": 0.5})] * 2,
        (0, {}),
    ]


def test_an_app_without_evaluation_still_reports_in_the_last_round() -> None:
    host = Host(num_rounds=1)
    with host.connect("a") as connection:
        assert len(list(work(app_of(evaluates=False), connection))) == 2
    assert [(r.evaluated_examples, r.evaluate_metrics) for r in host.reports(2)] == [(0, {})]


def test_where_one_client_of_a_connection_fails_the_others_go_on() -> None:
    host = Host(num_rounds=2, min_clients=1, max_clients=2, deadline_seconds=0.5)
    with host.connect("a", "b") as connection:
        answered = []
        for task in connection:
            if task.client == "a":
                answer(connection, task)
            else:
                connection.fail("no data today")
            answered.append((task.round, task.client))
    assert answered == [(number, name) for number in (1, 2, 3) for name in ("a", "b")]


def test_what_an_app_raised_is_reported_and_told() -> None:
    host = Host(num_rounds=2, deadline_seconds=0.5, max_extensions=0)
    with host.connect("a") as connection:
        answered = work(app_of(fails_in=2), connection)
        failed_in = [task.round for task, error in islice(answered, 2) if error is not None]
        with pytest.raises(FederationFailedError):
            next(answered)
    assert failed_in == [2]
    assert host.reports(1)[0].failure is None
    (failed,) = host.reports(2)
    assert failed.failure is not None
    assert failed.failure.startswith("train raised RuntimeError: no data today")


def test_a_reason_of_any_characters_can_be_given() -> None:
    host = Host()
    with host.connect("a") as connection:
        first_task(connection)
        connection.fail("no file data-\udcff.csv")
    assert [report.failure for report in host.reports(1)] == ["no file data-?.csv"]


def test_an_update_that_cannot_be_summed_is_a_failure_for_the_client_too() -> None:
    """As many bytes as any, but beyond the limit: who wrote it hears of it, not the server alone."""
    host = Host(num_rounds=1, deadline_seconds=0.5, max_extensions=0)
    with host.connect("a") as connection:
        task = first_task(connection)
        refusal = connection.report({**task.named, "w": task.named["w"] + np.float32(1e30)}, 7)
    assert refusal is not None
    assert "infinite or beyond" in refusal
    assert [report.failure for report in host.reports(1)] == [refusal]


def test_an_update_that_was_sent_is_no_failure() -> None:
    host = Host()
    with host.connect("a") as connection:
        task = first_task(connection)
        assert connection.report(task.weights, 7) is None
