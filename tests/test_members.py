"""The fold of heartbeats knows who is here from heartbeats and the broker's time, whatever a profile claims."""

from __future__ import annotations

import pytest

from fdstream import members
from fdstream.members import MEMBER_SECONDS, MISSED_PERIODS, PERIOD, SHORTEST_SILENCE_SECONDS, Members
from fdstream.messages import Heartbeat


def beat(name: str, state: str = "waiting", period: str | None = None) -> Heartbeat:
    return Heartbeat(name, "client", state, 0, {} if period is None else {PERIOD: period})


@pytest.mark.parametrize(
    ("period", "patience"),
    [
        (None, MEMBER_SECONDS),
        ("5", MISSED_PERIODS * 5),
        ("0.1", SHORTEST_SILENCE_SECONDS),
        *((wrong, MEMBER_SECONDS) for wrong in ("nan", "inf", "-inf", "0", "-3", "soon", "")),
    ],
)
def test_a_member_is_here_until_it_has_missed_several_beats(period: str | None, patience: float) -> None:
    found = Members()
    found.hear(beat("a", period=period), 1000.0)
    assert [beat.member for beat in found.alive(1000.0 + patience)] == ["a"]
    assert found.alive(1000.001 + patience) == []


def test_who_says_goodbye_is_gone_at_once_and_may_come_back() -> None:
    found = Members()
    for state, here in (("waiting", True), ("gone", False), ("training", True)):
        found.hear(beat("a", state), 1000.0)
        assert bool(found.alive(1000.0)) is here
        assert found.heard["a"].left is not here


def test_those_here_are_named_in_order_with_their_last_word() -> None:
    found = Members()
    for name, state in (("b", "waiting"), ("a", "training"), ("b", "uploading")):
        found.hear(beat(name, state), 1000.0)
    assert [(each.member, each.state) for each in found.alive(1001.0)] == [
        ("a", "training"),
        ("b", "uploading"),
    ]


def test_ever_new_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(members, "MAX_MEMBERS", 3)
    found = Members()
    for name in ("a", "b", "c", "a", "d"):
        found.hear(beat(name), 1000.0)
    assert list(found.heard) == ["c", "a", "d"]
