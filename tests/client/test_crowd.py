"""What is said of a swarm: the round, its clients by what they do, and the bytes that have passed."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from fdstream.client.connection import Connection
from fdstream.client.crowd import Crowd
from fdstream.counted import CountedLog
from fdstream.events import Tell
from fdstream.heartbeats import Heartbeats
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.progress import size
from tests.client.hosted import A_LONG_TIME, Host, HostedLog, answer

NAMES = ("ada", "bob", "cyd")


class Ear(Instruments):
    def __init__(self) -> None:
        self.heard: list[Tell] = []

    def hear(self, tell: Tell) -> None:
        self.heard.append(tell)


def without_bytes(doing: tuple[str, str]) -> str:
    what, more = doing
    return f"{what}{more.rpartition(';')[0]}"


def test_each_step_of_a_crowd_is_said() -> None:
    host, ear = Host(num_rounds=1, min_clients=3, max_clients=3), Ear()
    crowd = Crowd(4, ear)  # the fourth has not come yet
    assert crowd.doing() == ("waiting for a server to open the federation", "")
    passed = {"in": 0, "out": 0}

    def count(topic: str, direction: Any, records: int, size_bytes: int) -> None:
        del topic, records
        passed[direction] += size_bytes

    said = []
    log = CountedLog(HostedLog(host), count)
    with Connection(log, NAMES, Heartbeats(A_LONG_TIME), instruments=crowd) as connection:
        for task in connection:
            said.append(without_bytes(crowd.doing()))
            if (task.client, task.round) == ("bob", 1):
                connection.fail("no data")
                host.turn()
                said.append(without_bytes(crowd.doing()))
                break
            answer(connection, task)
        assert crowd.doing()[1].endswith(f"; {size(passed['in'])} received, {size(passed['out'])} sent")
    assert said == [
        "round 1 of 1; 1 training, 3 waiting",
        "round 1 of 1; 1 training, 1 uploading, 2 waiting",
        "round 1 of 1; 1 uploading, 1 failed, 2 waiting",
    ]
    assert "client state" in {tell.name for tell in ear.heard}


def test_each_round_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(num_rounds=2, min_clients=3, max_clients=3)
    crowd = Crowd(3, UNMEASURED)
    with (
        caplog.at_level(logging.INFO, "fdstream.swarm"),
        Connection(HostedLog(host), NAMES, Heartbeats(A_LONG_TIME), instruments=crowd) as connection,
    ):
        for task in connection:
            answer(connection, task)
        crowd.end()
    rounds = [vars(record) for record in caplog.records if record.message == "took part"]
    assert [(each["round"], each["reported"], "failed" in each) for each in rounds] == [
        (1, 3, False),
        (2, 3, False),
        (3, 3, False),
    ]
    assert all(each["received"].endswith("B") and each["sent"].endswith("B") for each in rounds)


def test_a_new_round_finds_everybody_waiting_and_late_words_of_the_old_one_change_nothing() -> None:
    crowd = Crowd(2, UNMEASURED)

    def answered(client: str, number: int, failure: str | None = None) -> None:
        crowd.hear(Tell("client state", {"client": client, "state": "uploading"}))
        crowd.hear(Tell("client state", {"client": client, "state": "failed" if failure else "waiting"}))
        crowd.hear(Tell("task answered", {"client": client, "round": number, "failure": failure}))

    answered("ada", 1, "no data")
    answered("bob", 1)
    assert crowd._told_states(1) == "1 uploading, 1 failed"
    answered("ada", 2)
    crowd.hear(Tell("reported", {"client": "bob", "round": 1}))
    crowd.hear(Tell("reported", {"client": "ada", "round": 2}))
    assert crowd._told_states(2) == "1 reported, 1 waiting"
    assert crowd._told_states(3) == "2 waiting"
    crowd.hear(Tell("client state", {"client": "ada", "state": "gone"}))
    assert crowd._told_states(3) == "2 waiting"
