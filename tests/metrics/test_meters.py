"""Counters, sources and bounds, scraped as text; and time in states."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from fdstream.metrics import definitions as d
from fdstream.metrics.clocks import StateClock
from fdstream.metrics.meters import Bounded, Meters
from tests.metrics.scrapes import Scrape


class Hand:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def scraped(registry: CollectorRegistry) -> Scrape:
    return Scrape(generate_latest(registry).decode())


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def meters(registry: CollectorRegistry) -> Meters:
    return Meters(registry, "alpha", "server")


def test_what_is_counted_carries_federation_and_role(registry: CollectorRegistry, meters: Meters) -> None:
    meters.counters(d.REPORTS).of("late").inc(3)
    found = scraped(registry)
    found.check("alpha", "server")
    assert found.value(d.REPORTS, outcome="late") == 3


def test_a_source_is_asked_at_each_scrape(registry: CollectorRegistry, meters: Meters) -> None:
    values = iter([1.0, 2.0])
    meters.computed(lambda: [(d.ROUND, (), next(values)), (d.PHASE, ("ready",), 1.0)])
    assert scraped(registry).value(d.ROUND) == 1.0
    found = scraped(registry)
    found.check("alpha", "server")
    assert found.value(d.ROUND) == 2.0


def test_values_without_bound_end_in_one_series(registry: CollectorRegistry, meters: Meters) -> None:
    """A million made-up reasons make as many series as there is room for, and one more."""
    rejected = meters.counters(d.REJECTED)
    for number in range(1000):
        rejected.of(f"reason {number}").inc()
    found = scraped(registry)
    assert len(found.of(d.REJECTED.name)) == d.BOUNDED["reason"] + 1
    assert found.value(d.REJECTED, reason=d.OTHER) == 1000 - d.BOUNDED["reason"]
    assert found.value(d.REJECTED, reason="reason 0") == 1


def test_what_came_first_stays() -> None:
    bounded = Bounded(2)
    assert [bounded(value) for value in "abacb"] == ["a", "b", "a", d.OTHER, "b"]


def test_text_that_would_break_the_format_does_not(registry: CollectorRegistry, meters: Meters) -> None:
    meters.counters(d.REJECTED).of('a"b\\c\nd').inc()
    assert scraped(registry).value(d.REJECTED, reason='a"b\\c\nd') == 1


# Time in states


def test_time_goes_on_in_the_state_that_lasts() -> None:
    hand = Hand()
    clock = StateClock(("waiting", "training"), hand)
    assert clock.seconds() == {"waiting": 0.0, "training": 0.0}
    clock.enter("waiting")
    hand.seconds += 2
    clock.enter("training")
    hand.seconds += 3
    assert clock.seconds() == {"waiting": 2.0, "training": 3.0}
    clock.enter("training")
    hand.seconds += 1
    assert clock.seconds() == {"waiting": 2.0, "training": 4.0}


def test_several_things_add_up() -> None:
    hand = Hand()
    clock = StateClock(("waiting", "training"), hand)
    for thing in ("ada", "bob", "cyd"):
        clock.enter("waiting", thing)
    hand.seconds += 1
    clock.enter("training", "bob")
    hand.seconds += 1
    assert clock.seconds() == {"waiting": 5.0, "training": 1.0}
    assert clock.counts() == {"waiting": 2, "training": 1}


def test_a_state_that_nobody_announced_is_counted_too() -> None:
    clock = StateClock((), Hand())
    clock.enter("dreaming")
    assert clock.counts() == {"dreaming": 1}
    assert clock.seconds() == {"dreaming": 0.0}
