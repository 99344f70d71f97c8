"""What a server's instruments make of a round on a stage, as a scrape shows it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest

from fdstream.events import Effects, Event, Tell
from fdstream.messages import GlobalEvaluated, Message, Refusal
from fdstream.metrics import definitions as d
from fdstream.metrics.meters import Meters
from fdstream.metrics.server import ServerInstruments
from fdstream.topics import table
from tests.metrics.scrapes import Scrape
from tests.server.records import (
    NONCE,
    SECONDS,
    all_of,
    closed,
    closing,
    extended,
    federation,
    report,
    result,
    round_opened,
    update,
    verdict,
)
from tests.server.serving import Serving

ADA, BOB, CYD = update("ada"), update("bob"), update("cyd")


class Measured(Serving):
    """A server with instruments, which hear what it tells."""

    def __init__(self, *history: Message | Refusal, shards: Iterable[int] = (0, 1)) -> None:
        super().__init__(control_end=len(history))
        self.registry = CollectorRegistry()
        self.instruments = ServerInstruments(Meters(self.registry, "alpha", "server"))
        self.core = self.instruments.core(self.server)
        self.assign(*shards)
        self.control(*history)

    def step(self, event: Event) -> Effects:
        effects = self.core.step(event)
        for tell in all_of(Tell, effects):
            self.instruments.hear(tell)
        return effects

    def at(self, seconds: float, *messages: Message) -> None:
        """The server reads these in control, stamped so."""
        for message in messages:
            self.step(self.tape.entry(table.CONTROL, message, seconds=seconds))

    def scraped(self) -> Scrape:
        found = Scrape(generate_latest(self.registry).decode())
        found.check("alpha", "server")
        return found


def rounds(found: Scrape) -> tuple[float, float]:
    """How many durations were observed, and their sum in seconds."""
    name = d.ROUND_DURATION.name
    (count,) = [sample.value for sample in found.samples if sample.name == f"{name}_count"]
    (total,) = [sample.value for sample in found.samples if sample.name == f"{name}_sum"]
    return count, total


def test_before_a_federation_is_opened_there_is_a_phase_and_no_more() -> None:
    found = Measured().scraped()
    assert found.value(d.PHASE, phase="absent") == 1
    assert found.value(d.ROUND) == 0
    assert not found.has(d.MIN_CLIENTS)
    assert not found.has(d.COHORT_CLIENTS)


def test_a_round_from_its_opening_to_its_closing() -> None:
    scene = Measured()
    scene.at(SECONDS, federation(), round_opened())
    found = scene.scraped()
    assert [found.value(each) for each in (d.MIN_CLIENTS, d.MAX_CLIENTS, d.PLANNED_ROUNDS)] == [2, 3, 2]
    assert found.value(d.ROUND_DEADLINE) == 60
    assert found.value(d.ROUND_WAITING_SINCE) == SECONDS
    assert found.value(d.SHARDS_ASSIGNED) == 2
    assert found.value(d.PHASE, phase="collecting") == 1
    scene.at(SECONDS + 7, extended(1))
    found = scene.scraped()
    assert (found.value(d.ROUND_WAITING_SINCE), found.value(d.ROUND_EXTENSIONS)) == (SECONDS + 7, 1)
    metrics: dict[str, Any] = {"train_metrics": {"loss": 0.5}, "evaluate_metrics": {"accuracy": 0.9}}
    scene.at(SECONDS + 12.5, replace(closed(), **metrics), GlobalEvaluated(NONCE, 2, {"accuracy": 0.8}))
    found = scene.scraped()
    assert rounds(found) == (1, 12.5)
    assert found.value(d.ROUNDS_CLOSED) == 1
    assert (found.value(d.COHORT_CLIENTS), found.value(d.COHORT_EXAMPLES)) == (3, 30)
    assert found.value(d.MODEL_METRIC, source="train", metric="loss") == 0.5
    assert found.value(d.MODEL_METRIC, source="evaluate", metric="accuracy") == 0.9
    assert found.value(d.MODEL_METRIC, source="global", metric="accuracy") == 0.8


def test_history_is_no_time_that_passed_here() -> None:
    scene = Measured(federation(), round_opened(), closed(), round_opened(2))
    found = scene.scraped()
    assert rounds(found) == (0, 0)
    assert found.value(d.ROUNDS_CLOSED) == 0
    assert found.value(d.ROUND) == 2
    assert found.value(d.PHASE, phase="collecting") == 1
    assert found.value(d.PHASE_SECONDS, phase="collecting") > 0
    assert found.value(d.PHASE_SECONDS, phase="ready") == 0
    scene.at(SECONDS + 3, closed(2))
    assert rounds(scene.scraped()) == (1, 3)


def test_reports_are_counted_by_what_became_of_them() -> None:
    scene = Measured(federation(), round_opened())
    scene.reports(ADA, BOB)
    scene.report(report("ada", attempt=b"2" * 16))
    scene.report(report("dan", failure="no data"))
    scene.report(replace(CYD.report, num_examples=0, attempt=b"3" * 16))
    found = scene.scraped()
    counts = {labels["outcome"]: found.value(d.REPORTS, **labels) for labels in found.of(d.REPORTS.name)}
    assert counts == {"accepted": 2, "duplicate": 1, "failed": 1, "refused": 1, "late": 0, "excluded": 0}
    assert found.value(d.REJECTED, reason="num_examples below 1") == 1
    assert found.value(d.REJECTED, reason="duplicate") == 1


def test_reports_that_a_shard_leaves_out_are_counted_once() -> None:
    scene = Measured(federation(), round_opened())
    scene.reports(ADA, BOB, CYD)
    scene.control(closing(0, 1, 2))
    scene.shards(verdict(0, 1), verdict(1, 1))
    scene.shards(result(0), result(1))
    assert scene.scraped().value(d.REPORTS, outcome="excluded") == 1
    scene.control(closed())
    assert scene.scraped().value(d.REPORTS, outcome="excluded") == 1


def test_what_is_folded_is_counted_and_timed() -> None:
    scene = Measured(federation(), round_opened())
    scene.updates(0, ADA, BOB)
    found = scene.scraped()
    assert found.value(d.FOLD_BYTES) == 2 * sum(len(chunk.data) for chunk in ADA.of(0))
    assert found.value(d.FOLD_SECONDS) > 0


def test_names_of_metrics_have_a_bound() -> None:
    scene = Measured(federation(), round_opened())
    scene.at(SECONDS, replace(closed(), train_metrics={f"m{n}": 1.0 for n in range(64)}), round_opened(2))
    assert len(scene.scraped().of(d.MODEL_METRIC.name)) == 64
    scene.at(SECONDS, replace(closed(2), train_metrics={f"n{n}": 1.0 for n in range(63)} | {"m1": 2.0}))
    assert [labels["metric"] for labels in scene.scraped().of(d.MODEL_METRIC.name)] == ["m1"]


def test_unreadable_records_are_counted() -> None:
    scene = Measured(federation(), round_opened())
    scene.unreadable(table.updates(1))
    scene.unreadable(table.reports(1))
    assert scene.scraped().value(d.REJECTED, reason="truncated") == 2
