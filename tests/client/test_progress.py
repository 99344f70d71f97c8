"""What is said of a client while it takes part, from its joining to the end; and what its instruments hear."""

from __future__ import annotations

from fdstream.client.connection import Connection
from fdstream.client.progress import doing
from fdstream.events import Tell
from fdstream.heartbeats import Heartbeats
from fdstream.instruments import Instruments
from tests.client.hosted import A_LONG_TIME, Host, HostedLog, answer


def test_each_step_of_a_client_is_said() -> None:
    host = Host(num_rounds=2)
    with host.connect("ada") as connection:
        assert doing(connection) == "waiting for a server to open the federation"
        said = []
        for task in connection:
            said.append(doing(connection))
            answer(connection, task)
            said.append(doing(connection))
        assert said == [
            "round 1 of 2: training",
            "round 1 of 2: reported, waiting for the others",
            "round 2 of 2: training",
            "round 2 of 2: reported, waiting for the others",
            "the final model: evaluating",
            "the final model: reported, waiting for the others",
        ]
        assert doing(connection) == "the federation has finished"


def test_a_client_that_failed_waits_like_the_others() -> None:
    host = Host(min_clients=2, max_clients=2)
    with host.connect("ada") as connection:
        next(iter(connection))
        connection.fail("no data")
        assert doing(connection) == "round 1 of 2: failed, waiting for the others"


class Ear(Instruments):
    def __init__(self) -> None:
        self.heard: list[Tell] = []

    def hear(self, tell: Tell) -> None:
        self.heard.append(tell)


def test_instruments_hear_states_and_answers() -> None:
    host, ear = Host(num_rounds=1), Ear()
    beats = Heartbeats(A_LONG_TIME)
    with Connection(HostedLog(host), ("ada",), beats, instruments=ear) as connection:
        for task in connection:
            answer(connection, task)
    states = [tell.facts["state"] for tell in ear.heard if tell.name == "client state"]
    assert states == [
        "waiting",
        "training",
        "uploading",
        "waiting",
        "evaluating",
        "uploading",
        "waiting",
        "gone",
    ]
    answers = [tell.facts for tell in ear.heard if tell.name == "task answered"]
    assert [(facts["client"], facts["round"], facts["failure"]) for facts in answers] == [
        ("ada", 1, None),
        ("ada", 2, None),
    ]
    assert all(facts["seconds"] > 0 for facts in answers)
