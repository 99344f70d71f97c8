"""Records that a client cannot read: counted by reason, said, and nothing comes of them."""

from __future__ import annotations

from fdstream.client.session import Session
from fdstream.events import Effects, Entry, Tell
from fdstream.log import Record
from fdstream.messages import Refusal
from fdstream.topics import table


def refused(session: Session, offset: int, reason: str, topic: str = table.CONTROL) -> Effects:
    return session.step(Entry(Record(topic, 0, offset, 1.0, b"?"), Refusal(reason, "a detail")))


def test_an_unreadable_record_is_told_with_its_place_and_how_many_there_were() -> None:
    session = Session(["a"], new_id=lambda: bytes(16))
    session.begin()
    told = [
        *refused(session, 0, "truncated"),
        *refused(session, 1, "malformed"),
        *refused(session, 7, "truncated", table.model(1)),
    ]
    places = [(table.CONTROL, 0), (table.CONTROL, 1), (table.model(1), 7)]
    counts = [("truncated", 1), ("malformed", 1), ("truncated", 2)]
    assert told == [
        Tell("rejected", {"topic": topic, "partition": 0, "offset": offset, "reason": reason, "count": count})
        for (topic, offset), (reason, count) in zip(places, counts, strict=True)
    ]
    assert session.due() == []
