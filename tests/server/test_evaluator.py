"""The evaluator runs beside the rounds: newest model first, one record each, and no failure of an app stops it.

The thread is real; tests wait for what it does by events and by `drain`, never by time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from threading import Event

import numpy as np
import pytest

from fdstream.app import App
from fdstream.codecs import WHOLE
from fdstream.dtypes import Array
from fdstream.log import Log, MemoryBroker, MemoryLog
from fdstream.messages import GlobalEvaluated, Message
from fdstream.serde.avro import decode, encode
from fdstream.server.evaluator import Evaluator, Job
from fdstream.topics import table
from tests.server.records import LAYOUT, MODEL, MODEL_ATTEMPT, NONCE, weights

SECONDS = 30.0  # at most, where the thread is to reach something

Evaluate = Callable[[dict[str, Array], dict[str, int]], dict[str, float]]


class Site:
    """A log that holds the first round's model, and an app with this `evaluate_global`."""

    def __init__(self, evaluate: Evaluate | None) -> None:
        self.broker = MemoryBroker({spec.name: spec.partitions for spec in table.topic_specs(2)}, lambda: 1.0)
        for shard in range(2):
            for _, chunk in weights(shard).records(shard, NONCE, MODEL_ATTEMPT, 1, state=False):
                self.broker.append(table.model(1), shard, encode(chunk), b"")
        app = App(weights={"w": np.zeros(12, np.float32)})
        if evaluate is not None:
            app.evaluate_global(evaluate)
        self.opened = 0
        self.closed: list[Log] = []
        self.evaluator = Evaluator(app, self._open)

    def _open(self) -> Log:
        self.opened += 1
        return _ClosedLog(self.broker, self.closed)

    def written(self) -> list[Message]:
        """The records in control."""
        records = self.broker.partitions[table.CONTROL, 0]
        messages = [decode(record.value) for record in records]
        assert all(isinstance(message, GlobalEvaluated) for message in messages)
        return [message for message in messages if isinstance(message, GlobalEvaluated)]


class _ClosedLog(MemoryLog):
    """A log that says when it was closed."""

    def __init__(self, broker: MemoryBroker, closed: list[Log]) -> None:
        super().__init__(broker)
        self._closed = closed

    def close(self) -> None:
        super().close()
        self._closed.append(self)


def job(number: int, topic: str = table.model(1)) -> Job:
    return Job(NONCE, 1, number, topic, MODEL, LAYOUT, WHOLE, {"round": number})


def mean(received: dict[str, Array], config: dict[str, int]) -> dict[str, float]:
    return {"mean": float(np.mean(received["w"])), "round": float(config["round"])}


def found(number: int) -> GlobalEvaluated:
    """What `mean` finds for the first round's model: the weights are 0 to 11."""
    return GlobalEvaluated(NONCE, number, {"mean": 5.5, "round": float(number)})


class Gate:
    """An `evaluate_global` that says when it began and waits to be let go on."""

    def __init__(self) -> None:
        self.started, self.go_on = Event(), Event()

    def evaluate(self, received: dict[str, Array], config: dict[str, int]) -> dict[str, float]:
        self.started.set()
        assert self.go_on.wait(SECONDS)
        return mean(received, config)


def no_number(received: dict[str, Array], config: dict[str, int]) -> dict[str, float]:
    return mean(received, config) | {"loss": float("nan")}


def test_what_the_app_finds_for_the_model_in_the_log_is_written_to_control() -> None:
    site = Site(mean)
    with site.evaluator as evaluator:
        evaluator.submit(job(1))
    assert site.written() == [found(1)]


def test_the_job_that_waits_is_finished_before_the_evaluator_stops() -> None:
    gate = Gate()
    site = Site(gate.evaluate)
    with site.evaluator as evaluator:
        evaluator.submit(job(1))
        assert gate.started.wait(SECONDS)
        evaluator.submit(job(2))
        gate.go_on.set()
    assert site.written() == [found(1), found(2)]


def test_a_job_that_is_overtaken_while_it_waits_is_dropped_and_submitting_waits_for_nothing() -> None:
    gate = Gate()
    site = Site(gate.evaluate)
    with site.evaluator as evaluator:
        evaluator.submit(job(1))
        assert gate.started.wait(SECONDS)
        for number in (2, 3, 4):
            evaluator.submit(job(number))
        assert site.written() == []
        gate.go_on.set()
    assert site.written() == [found(1), found(4)]


def test_an_evaluator_that_waits_for_a_model_stops_with_a_server_that_is_stopped() -> None:
    site = Site(mean)
    with suppress(KeyboardInterrupt), site.evaluator as evaluator:
        evaluator.submit(job(1, table.model(0)))  # where nothing is
        raise KeyboardInterrupt
    assert site.written() == []
    assert len(site.closed) == 1


def test_an_app_that_raises_is_told_of_and_the_next_model_is_evaluated(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun = Event()

    def evaluate(received: dict[str, Array], config: dict[str, int]) -> dict[str, float]:
        begun.set()
        if config["round"] == 1:
            raise RuntimeError("no data here")
        return mean(received, config)

    site = Site(evaluate)
    with site.evaluator as evaluator, caplog.at_level(logging.WARNING, "fdstream.evaluator"):
        evaluator.submit(job(1))
        assert begun.wait(SECONDS)
        evaluator.submit(job(2))
        evaluator.drain()
    (record,) = caplog.records
    assert vars(record)["round"] == 1
    assert "evaluate_global raised RuntimeError: no data here" in vars(record)["reason"]
    assert site.written() == [found(2)]


def test_metrics_that_no_record_takes_are_told_of_and_not_written(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(no_number)
    with site.evaluator as evaluator, caplog.at_level(logging.WARNING, "fdstream.evaluator"):
        evaluator.submit(job(1))
        evaluator.drain()
    assert "loss" in vars(caplog.records[0])["reason"]
    assert site.written() == []


def test_a_model_that_was_deleted_meanwhile_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    site = Site(mean)
    site.broker.starts[table.model(1), 0] = 2
    with site.evaluator as evaluator, caplog.at_level(logging.WARNING, "fdstream.evaluator"):
        evaluator.submit(job(1))
        evaluator.drain()
    assert "no longer in the log" in vars(caplog.records[0])["reason"]
    assert site.written() == []


def test_an_app_that_evaluates_nothing_writes_nothing() -> None:
    site = Site(None)
    with site.evaluator as evaluator:
        evaluator.submit(job(1))
    assert site.written() == []


def test_one_connection_serves_every_job_and_is_closed() -> None:
    site = Site(mean)
    with site.evaluator as evaluator:
        evaluator.submit(job(1))
    assert (site.opened, len(site.closed)) == (1, 1)


def test_without_a_job_the_evaluator_stops_at_once() -> None:
    site = Site(mean)
    with site.evaluator:
        pass
    assert site.written() == []
    assert len(site.closed) == 1
