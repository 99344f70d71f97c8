"""What the instruments of clients make of what connections tell."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from fdstream.client.session import Session
from fdstream.events import Tell
from fdstream.instruments import UNMEASURED
from fdstream.metrics import definitions as d
from fdstream.metrics.client import ClientInstruments
from fdstream.metrics.meters import Meters
from tests.metrics.scrapes import Scrape
from tests.metrics.test_statistics import document
from tests.server.records import Tape, federation, round_opened


class Scene:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.instruments = ClientInstruments(Meters(self.registry, "alpha", "swarm"))

    def say(self, client: str, state: str) -> None:
        self.instruments.hear(Tell("client state", {"client": client, "state": state}))

    def answer(self, failure: str | None, seconds: float) -> None:
        facts = {"client": "ada", "round": 1, "failure": failure, "seconds": seconds}
        self.instruments.hear(Tell("task answered", facts))

    def scraped(self) -> Scrape:
        found = Scrape(generate_latest(self.registry).decode())
        found.check("alpha", "swarm")
        return found


def test_clients_are_counted_by_state_and_never_named() -> None:
    scene = Scene()
    for number in range(1000):
        scene.say(f"c{number}", "waiting")
    scene.say("c0", "training")
    found = scene.scraped()
    assert found.value(d.CLIENT_STATE, state="waiting") == 999
    assert found.value(d.CLIENT_STATE, state="training") == 1
    assert found.value(d.CLIENT_STATE_SECONDS, state="waiting") > 0
    assert len(found.of(d.CLIENT_STATE.name)) == 6
    assert "c0" not in {value for sample in found.samples for value in sample.labels.values()}


def test_answers_are_counted_and_timed() -> None:
    scene = Scene()
    scene.answer(None, 0.25)
    scene.answer("no data", 4000.0)
    found = scene.scraped()
    assert found.value(d.TASKS, outcome="reported") == 1
    assert found.value(d.TASKS, outcome="failed") == 1
    buckets = {s.labels["le"]: s.value for s in found.samples if s.name == f"{d.TASK_DURATION.name}_bucket"}
    assert (buckets["0.1"], buckets["0.25"], buckets["3600.0"], buckets["+Inf"]) == (0, 1, 1, 2)


def test_the_round_is_the_newest_that_any_connection_has_heard_of() -> None:
    scene = Scene()
    sessions = [Session((name,), lambda: b"i" * 16) for name in ("ada", "bob")]
    for session in sessions:
        assert scene.instruments.core(session) is session
    assert scene.scraped().value(d.ROUND) == 0
    tape = Tape()
    for message in (federation(), round_opened()):
        sessions[1].step(tape.entry("control", message))
    assert scene.scraped().value(d.ROUND) == 1


def test_the_librdkafka_of_every_log_is_listened_to() -> None:
    scene = Scene()
    for number in range(300):
        hear = scene.instruments.statistics()
        assert hear is not None
        hear(document(f"swarm-0-{number:05}#producer-{number}", "producer", tx=2))
    assert scene.scraped().value(d.RDKAFKA_REQUESTS, handle="producer") == 600


def test_without_instruments_nothing_is_in_between() -> None:
    session = Session(("ada",), lambda: b"i" * 16)
    assert UNMEASURED.core(session) is session
    assert UNMEASURED.statistics() is None
    UNMEASURED.hear(Tell("anything"))
