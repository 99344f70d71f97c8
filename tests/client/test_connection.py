"""The loop of a client: tasks come out and answers go in, from joining to leaving."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest

from fdstream.client.connection import Connection
from fdstream.errors import FederationFailedError, UsageError
from fdstream.heartbeats import Heartbeats, Member
from fdstream.messages import UpdateChunk
from fdstream.topics import table
from tests.client.hosted import A_LONG_TIME, Host, HostedLog, answer, answer_all, first_task
from tests.client.scene import weights_of

# A whole federation


def test_a_loop_trains_in_every_round_and_evaluates_in_the_last() -> None:
    host = Host()
    seen = []
    with host.connect("ward-7") as connection:
        for task in connection:
            assert isinstance(task.weights, dict)
            seen.append((task.client, task.round, task.training, task.weights["w"][0, 0]))
            answer(connection, task, by=10)
    assert seen == [("ward-7", 1, True, 100.0), ("ward-7", 2, True, 110.0), ("ward-7", 3, False, 120.0)]
    assert connection.finished is not None
    assert not connection.finished.failed


def test_what_is_reported_stands_in_the_log() -> None:
    host = Host(num_rounds=1)
    with host.connect("a") as connection:
        answer_all(connection)
    (training,) = host.reports(1)
    assert (training.client, training.num_examples, training.metrics) == ("a", 5, {"loss": 0.5})
    assert (training.evaluated_examples, training.evaluate_metrics) == (0, {})
    chunks = [c for p in (0, 1) for c in host.messages(table.updates(1), p) if isinstance(c, UpdateChunk)]
    assert {chunk.attempt for chunk in chunks} == {training.attempt}
    assert sorted(chunk.index for chunk in chunks) == [0, 1, 2, 3, 4]
    (evaluation,) = host.reports(2)
    assert (evaluation.evaluated_examples, evaluation.evaluate_metrics) == (9, {"accuracy": 0.75})
    assert evaluation.digests == ()


def test_several_clients_on_one_connection_each_get_every_task() -> None:
    host = Host(min_clients=3, max_clients=3)
    names = ["a", "b", "c"]
    tasks = []
    with host.connect(*names) as connection:
        for task in connection:
            tasks.append((task.round, task.client))
            answer(connection, task, by=names.index(task.client))
    assert tasks == [(number, name) for number in (1, 2, 3) for name in names]
    for number in (1, 2, 3):
        assert [report.client for report in host.reports(number)] == names
    closed = host.server.ledger.closed_record
    assert closed is not None
    assert closed.num_clients == 3


def test_who_has_trained_need_not_wait_until_the_next_on_its_connection_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunks that are acknowledged are followed by their report, though others here still train."""
    monkeypatch.setattr("fdstream.client.connection.BETWEEN_SECONDS", 0.0)
    host = Host(min_clients=2, max_clients=2, num_rounds=1)
    with host.connect("a", "b") as connection:
        tasks = iter(connection)
        answer(connection, next(tasks), by=1)
        assert next(tasks).client == "b"
        assert [report.client for report in host.reports(1)] == ["a"]
        connection.fail("tired")


def test_a_round_that_goes_on_without_them_is_not_handed_to_the_rest_of_a_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fdstream.client.connection.BETWEEN_SECONDS", 0.0)
    host = Host(min_clients=1, max_clients=1)
    names = [f"client-{number:02}" for number in range(40)]
    handed: list[int] = []
    with host.connect(*names) as connection:
        for task in connection:
            handed.append(task.round)
            answer(connection, task, by=1)
    assert handed == sorted(handed)
    assert all(0 < handed.count(number) < len(names) for number in (1, 2, 3))
    assert connection.finished is not None


def test_who_joins_late_trains_on_the_model_that_others_made() -> None:
    host = Host()
    with host.connect("early") as connection:
        tasks = iter(connection)
        answer(connection, next(tasks), by=50)
        assert next(tasks).round == 2
    with host.connect("late") as connection:
        task = first_task(connection)
        assert isinstance(task.weights, dict)
        assert (task.round, task.weights["w"][0, 0]) == (2, 150.0)


def test_who_comes_after_the_end_has_nothing_to_do() -> None:
    host = Host()
    with host.connect("a") as connection:
        answer_all(connection)
    with host.connect("b") as connection:
        assert list(connection) == []
    assert host.reports(3)[-1].client == "a"


def test_a_federation_that_gave_up_is_an_error_with_its_reason() -> None:
    host = Host(min_clients=2, max_clients=2, deadline_seconds=0.5, max_extensions=1)
    with (
        host.connect("a") as connection,
        pytest.raises(FederationFailedError, match=r"ended early: .*1 of 2"),
    ):
        answer_all(connection)
    assert connection.finished is not None
    assert connection.finished.failed


def test_where_not_all_are_asked_models_are_left_once_they_are_used() -> None:
    host = Host(fraction=0.999)
    log = HostedLog(host)
    with Connection(log, ["a"], Heartbeats(A_LONG_TIME)) as connection:
        answer_all(connection)
        assert {topic for topic, _ in log.positions} == {table.CONTROL}


# Tasks


def test_config_is_the_federations_then_the_clients_then_the_tasks() -> None:
    host = Host(num_rounds=1, config={"rate": 0.5, "epochs": 3, "client_id": "x", "round": 99})
    seen = []
    with host.connect("a", config={"epochs": 7, "data_index": 2}) as connection:
        for task in connection:
            seen.append(dict(task.config))
            answer(connection, task)
    own = {"rate": 0.5, "epochs": 7, "data_index": 2, "client_id": "a", "num_rounds": 1}
    assert seen == [own | {"round": 1}, own | {"round": 2}]


def test_weights_are_those_of_the_federation_and_read_only() -> None:
    host = Host()
    with host.connect("a") as connection:
        task = first_task(connection)
        assert isinstance(task.weights, dict)
        for name, array in weights_of(1).items():
            np.testing.assert_array_equal(task.weights[name], array, strict=True)
            with pytest.raises(ValueError, match="read-only"):
                task.weights[name][0] = 0
        answer(connection, task)


def test_weights_given_as_a_list_come_as_a_list() -> None:
    host = Host(weights={"[0]": np.zeros(3, np.float32), "[1]": np.ones((), np.float64)})
    with host.connect("a") as connection:
        for task in connection:
            assert isinstance(task.weights, list)
            assert [array.shape for array in task.weights] == [(3,), ()]
            answer(connection, task)
    assert host.reports(2)[0].failure is None


# Coming and going


def test_members_say_when_they_come_and_go() -> None:
    host = Host(num_rounds=1)
    with host.connect("a", "b", profile={"host": "edge"}) as connection:
        assert (host.states("a"), host.states("b")) == (["waiting"], ["waiting"])
        answer_all(connection)
    assert (host.states("a"), host.states("b")) == (["waiting", "gone"], ["waiting", "gone"])


class Acquainted(Heartbeats):
    """Remembers who joined, to beat for them at the moment a test wants."""

    def __init__(self) -> None:
        super().__init__(A_LONG_TIME)
        self.joined: list[Member] = []

    def join(self, member: Member) -> None:
        self.joined.append(member)
        super().join(member)


def test_a_heartbeat_says_what_a_member_is_doing() -> None:
    host = Host(num_rounds=1)
    heartbeats = Acquainted()
    states = []

    def beat() -> None:
        heartbeats.beat(heartbeats.joined[0])
        states.append(host.states("a")[-1])

    with host.connect("a", heartbeats=heartbeats) as connection:
        for task in connection:
            beat()
            connection.fail("no data") if len(states) == 1 else answer(connection, task)
            beat()
    assert states[:2] == ["training", "failed"]
    assert states[-4:] == ["training", "uploading", "evaluating", "uploading"]


def test_who_has_handed_in_waits_once_that_is_acknowledged() -> None:
    host, heartbeats = Host(), Acquainted()
    with host.connect("a", heartbeats=heartbeats) as connection:
        tasks = iter(connection)
        answer(connection, next(tasks))
        assert connection.session.is_uploading("a")
        next(tasks)  # the next round's: the report of the first is acknowledged
        assert not connection.session.is_uploading("a")


def test_leaving_closes_the_log_and_says_goodbye_also_after_an_error() -> None:
    host = Host()
    log = HostedLog(host)
    with suppress(KeyError), Connection(log, ["a"], Heartbeats(A_LONG_TIME)) as connection:
        first_task(connection)
        raise KeyError("a mistake in the script")
    assert log.closed
    assert host.states("a") == ["waiting", "gone"]


def test_who_leaves_after_its_report_has_reported() -> None:
    host = Host()
    with host.connect("a") as connection:
        answer(connection, first_task(connection))
    assert [report.failure for report in host.reports(1)] == [None]


@pytest.mark.parametrize("clients", [[""], ["x" * 257], ["a\nb"], ["a", "a"]])
def test_names_that_cannot_be_used_are_a_mistake(clients: list[str]) -> None:
    with pytest.raises(UsageError, match="id"):
        Host().connect(*clients)


# A codec's memory


@pytest.mark.parametrize(("codec", "warnings"), [("int8", 1), ("topk:0.5", 1), ("bfloat16", 0)])
def test_a_client_that_is_started_anew_says_once_what_is_lost(
    caplog: pytest.LogCaptureFixture, codec: str, warnings: int
) -> None:
    host = Host(num_rounds=4, codec=codec)
    with host.connect("a") as connection:
        for task in connection:
            answer(connection, task)
            if task.round == 2:
                break
    assert "no memory" not in caplog.text
    with host.connect("a") as connection:
        answer_all(connection)
    said = [record for record in caplog.records if "no memory of earlier rounds" in record.message]
    assert [record.__dict__["client"] for record in said] == ["a"] * warnings
