"""Turns between handles: short where looking costs nothing, never so short that looking takes the processor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.topics.turns import LONGEST_SECONDS, SHORTEST_SECONDS, TIMES_LOOKING, Turns

ENOUGH = 60  # looks until the mean has forgotten what was before


def after(turns: Turns, looking_seconds: float, looks: int = ENOUGH) -> float:
    for _ in range(looks):
        turns.note(looking_seconds)
    return turns.seconds


@given(st.floats(0.0, 10.0))
def test_a_turn_lasts_so_many_times_as_long_as_looking_within_bounds(looking_seconds: float) -> None:
    expected = min(max(TIMES_LOOKING * looking_seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
    assert after(Turns(), looking_seconds) == pytest.approx(expected, rel=0.01)


def test_one_look_that_was_slow_by_chance_changes_little() -> None:
    turns = Turns()
    assert after(turns, 0.0001) == SHORTEST_SECONDS
    assert after(turns, 0.002, looks=1) < 2 * SHORTEST_SECONDS


def test_turns_are_short_again_when_the_processor_is_free_again() -> None:
    turns = Turns()
    assert after(turns, 1.0) == pytest.approx(LONGEST_SECONDS, rel=0.01)
    assert after(turns, 0.0001) == SHORTEST_SECONDS


def test_a_turn_that_was_cut_short_says_nothing_about_looking() -> None:
    turns = Turns()
    assert after(turns, 0.005) == pytest.approx(0.1, rel=0.01)
    assert after(turns, -0.05) == pytest.approx(0.1, rel=0.01)
