"""One state a client, from what it says, what it reported and what was refused."""

from __future__ import annotations

import pytest

from fdstream.dashboard import parties
from fdstream.dashboard.parties import Events, Parties, state_of
from fdstream.dashboard.rounds import REFUSED, REPORTED, Row
from fdstream.members import Heard
from fdstream.messages import Heartbeat

OPENED = 1000.0


def heard(state: str, seconds: float = OPENED) -> Heard:
    return Heard(Heartbeat("a", "client", state, 1), seconds)


def row(outcome: str, seconds: float = 5.0) -> Row:
    return Row("a", "", 0, seconds, 1, {}, {}, outcome)


@pytest.mark.parametrize(
    ("known", "part", "here", "state"),
    [
        (heard("waiting"), None, True, "waiting"),
        (heard("training"), None, True, "training"),
        (heard("evaluating"), None, True, "training"),
        (heard("uploading"), None, True, "uploading"),
        (heard("never seen"), None, True, "waiting"),
        (heard("training"), None, False, "gone"),
        (heard("training"), row(REPORTED), True, "reported"),
        (heard("uploading"), row(REFUSED), True, "refused"),
        (heard("training", OPENED + 6), row(REFUSED), True, "training"),  # asked once more
        (heard("waiting", OPENED + 6), row(REFUSED), True, "refused"),
        (heard("training"), row(REPORTED), False, "gone"),  # killed after its report
        (heard("gone"), row(REPORTED), False, "reported"),  # left after its report
        (heard("gone"), None, False, "gone"),
        (None, row(REPORTED), False, "reported"),  # one that never beats
        (None, None, False, "gone"),
    ],
)
def test_states(known: Heard | None, part: Row | None, here: bool, state: str) -> None:
    assert state_of(known, part, OPENED, here=here) == state
    assert state in parties.STATES


def test_many_alike_are_one_event_that_counts_them() -> None:
    events = Events()
    for index in range(1000):
        events.add("joined", "client", f"c{index}", OPENED + index / 1000)
    events.add("joined", "server", "s", OPENED + 1)
    events.add("joined", "client", "late", OPENED + 60)
    found = [(event.number, event.count, event.names) for event in events.recent]
    assert found == [(1, 1000, ["c0", "c1", "c2"]), (2, 1, ["s"]), (3, 1, ["late"])]


def test_ever_new_names_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parties, "MAX_PARTIES", 3)
    found = Parties()
    for name in "abcd":
        found.known(name, "client", OPENED).here = name == "a"
    assert set(found.by_name) == {"a", "c", "d"}
