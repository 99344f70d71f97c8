"""Turns between handles: quick where something comes, never so quick that looking takes the processor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.topics.turns import LONGEST_SECONDS, SHORTEST_SECONDS, TIMES_LOOKING, Turns

LOOKINGS = st.lists(st.floats(-1.0, 10.0), max_size=20)


def test_turns_double_while_nothing_comes_and_begin_anew_when_something_does() -> None:
    turns = Turns()
    seen = [turns.seconds]
    for _ in range(7):
        turns.extend(looking_seconds=0.0001)
        seen.append(turns.seconds)
    assert seen == [0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.2, 0.2]
    turns.restart()
    assert turns.seconds == SHORTEST_SECONDS


def test_who_is_slow_to_look_looks_more_seldom_also_where_something_comes() -> None:
    turns = Turns()
    turns.extend(looking_seconds=0.004)
    assert turns.seconds == pytest.approx(0.08)
    turns.restart()
    assert turns.seconds == pytest.approx(0.08)
    turns.extend(looking_seconds=0.0001)  # the processor is free again
    turns.restart()
    assert turns.seconds == SHORTEST_SECONDS


@given(LOOKINGS)
def test_looking_takes_its_share_at_most_within_bounds(lookings: list[float]) -> None:
    turns = Turns()
    for looking_seconds in lookings:
        turns.extend(looking_seconds)
        assert SHORTEST_SECONDS <= turns.seconds <= LONGEST_SECONDS
        assert turns.seconds >= min(TIMES_LOOKING * looking_seconds, LONGEST_SECONDS)
