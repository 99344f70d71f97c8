"""Members are heard when they come, every period, and when they go; one that cannot write silences nobody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import count

import pytest

from fdstream.errors import TransportError
from fdstream.heartbeats import SETTLING_SECONDS, Heartbeats, Member
from fdstream.log import Log, MemoryBroker, MemoryLog, OnAck
from fdstream.messages import Heartbeat
from fdstream.serde.avro import decode
from fdstream.topics import table

A_MOMENT = 0.005
A_LONG_TIME = 3600.0
PATIENCE = 30.0  # seconds until a test gives up


class Bell:
    """A broker that lets a test wait until so many records were written."""

    def __init__(self) -> None:
        self.broker = MemoryBroker({table.MEMBERS: 1}, lambda: 1.0)
        self.changed = threading.Condition()

    def log(self) -> BellLog:
        return BellLog(self)

    def beats(self) -> list[Heartbeat]:
        found = [decode(record.value) for record in self.broker.partitions[table.MEMBERS, 0]]
        return [message for message in found if isinstance(message, Heartbeat)]

    def wait_for(self, happened: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(happened, PATIENCE)


class BellLog(MemoryLog):
    """Rings at every record; refuses them while told so."""

    def __init__(self, bell: Bell) -> None:
        super().__init__(bell.broker)
        self.bell = bell
        self.refuses = False
        self.refused = 0

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes,
        *,
        key: bytes = b"",
        on_ack: OnAck | None = None,
        droppable: bool = False,
    ) -> bool:
        assert droppable, "a heartbeat waits for nothing"
        with self.bell.changed:
            self.bell.changed.notify_all()
            if self.refuses:
                self.refused += 1
                raise TransportError("the broker is full")
            return super().append(topic, partition, value, key=key, on_ack=on_ack)


def member(name: str, log: Log, rounds: Iterator[int] | None = None) -> Member:
    """Each heartbeat comes from the next round, so that they can be told apart."""
    numbers = rounds or count()
    return Member(log, lambda: Heartbeat(name, "client", "training", next(numbers)))


@pytest.fixture
def bell() -> Bell:
    return Bell()


def test_a_member_is_heard_at_once_and_when_it_leaves(bell: Bell) -> None:
    with Heartbeats(A_LONG_TIME) as heartbeats:
        one = member("a", bell.log())
        heartbeats.join(one)
        assert bell.beats() == [Heartbeat("a", "client", "training", 0)]
        heartbeats.leave(one)
    assert bell.beats()[1:] == [Heartbeat("a", "client", "training", 1)]


def test_members_are_heard_every_period_with_their_last_word(bell: Bell) -> None:
    with Heartbeats(A_MOMENT) as heartbeats:
        for name in ("a", "b"):
            heartbeats.join(member(name, bell.log()))
        for name in ("a", "b"):
            bell.wait_for(lambda name=name: [b.member for b in bell.beats()].count(name) >= 4)  # type: ignore[misc]
    for name in ("a", "b"):
        rounds = [beat.round for beat in bell.beats() if beat.member == name]
        assert rounds == list(range(len(rounds)))


def test_who_left_is_not_heard_again(bell: Bell) -> None:
    with Heartbeats(A_MOMENT) as heartbeats:
        gone, here = member("gone", bell.log()), member("here", bell.log())
        heartbeats.join(gone)
        heartbeats.join(here)
        heartbeats.leave(gone)
        before = len(bell.beats())
        bell.wait_for(lambda: len(bell.beats()) >= before + 5)
    assert {beat.member for beat in bell.beats()[before:]} == {"here"}


def test_members_that_look_alike_are_not_taken_for_each_other(bell: Bell) -> None:
    log, numbers = bell.log(), iter(range(1000))

    def now() -> Heartbeat:
        return Heartbeat("twin", "client", "training", next(numbers))

    with Heartbeats(A_MOMENT) as heartbeats:
        one, other = Member(log, now), Member(log, now)
        heartbeats.join(one)
        heartbeats.join(other)
        heartbeats.forget(other)
        with pytest.raises(KeyError):
            heartbeats.forget(other)
        before = len(bell.beats())
        bell.wait_for(lambda: len(bell.beats()) >= before + 2)
        heartbeats.forget(one)


def test_leaving_takes_no_look_at_who_stays() -> None:
    """With ten thousand members behind a connection, a look at each of them made leaving take minutes."""
    compared = 0

    class Heart(MemoryLog):
        def __eq__(self, other: object) -> bool:
            nonlocal compared
            compared += 1
            return self is other

        __hash__ = MemoryLog.__hash__

    heartbeats = Heartbeats(A_LONG_TIME)
    broker = MemoryBroker({table.MEMBERS: 1}, lambda: 1.0)
    members = [member(f"m{index}", Heart(broker)) for index in range(50)]
    for one in members:
        heartbeats.join(one)
    for one in reversed(members):
        heartbeats.leave(one)
    assert compared == 0


def test_a_member_may_join_before_the_beating_begins(bell: Bell) -> None:
    heartbeats = Heartbeats(A_MOMENT)
    heartbeats.join(member("a", bell.log()))
    with heartbeats:
        bell.wait_for(lambda: len(bell.beats()) >= 2)


def test_nobody_is_heard_after_the_end_and_no_thread_is_left(bell: Bell) -> None:
    with Heartbeats(A_MOMENT) as heartbeats:
        heartbeats.join(member("a", bell.log()))
        bell.wait_for(lambda: len(bell.beats()) >= 2)
    assert not [t for t in threading.enumerate() if t.name == "fdstream-heartbeats"]


def test_an_end_does_not_wait_for_the_period(bell: Bell) -> None:
    heartbeats = Heartbeats(A_LONG_TIME)
    heartbeats.__enter__()
    heartbeats.join(member("a", bell.log()))
    ending = threading.Thread(target=heartbeats.__exit__, args=(None, None, None))
    ending.start()
    ending.join(PATIENCE)
    assert not ending.is_alive()


def test_a_refusal_is_logged_and_the_others_hearts_go_on(
    bell: Bell, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="fdstream.heartbeats")
    refusing = bell.log()
    with Heartbeats(A_MOMENT) as heartbeats:
        heartbeats.join(member("a", refusing))
        heartbeats.join(member("b", bell.log()))
        refusing.refuses = True
        bell.wait_for(lambda: refusing.refused >= 2)
        before = len(bell.beats())
        bell.wait_for(lambda: len(bell.beats()) >= before + 2)
        refusing.refuses = False
        bell.wait_for(lambda: "a" in {beat.member for beat in bell.beats()[before:]})
    assert {beat.member for beat in bell.beats()[before : before + 2]} == {"b"}
    assert "a heartbeat was not sent" in caplog.messages
    assert {record.__dict__["reason"] for record in caplog.records} == {"the broker is full"}


def test_who_joins_hears_of_a_refusal_itself(bell: Bell) -> None:
    log = bell.log()
    log.refuses = True
    with Heartbeats(A_LONG_TIME) as heartbeats, pytest.raises(TransportError, match="the broker is full"):
        heartbeats.join(member("a", log))


class Moody:
    """A member whose state a test sets."""

    def __init__(self, name: str, bell: Bell) -> None:
        self.state = "waiting"
        self.round = 0
        self.member = Member(bell.log(), lambda: Heartbeat(name, "client", self.state, self.round))


def test_a_change_of_state_is_said_soon(bell: Bell) -> None:
    with Heartbeats(A_LONG_TIME) as heartbeats:
        a, b = Moody("a", bell), Moody("b", bell)
        for one in (a, b):
            heartbeats.join(one.member)
        a.state = "training"
        heartbeats.hurry(a.member)
        bell.wait_for(lambda: len(bell.beats()) >= 3)
    assert [beat.state for beat in bell.beats()] == ["waiting", "waiting", "training"]


def test_what_has_changed_back_by_then_is_not_said(bell: Bell) -> None:
    with Heartbeats(A_LONG_TIME) as heartbeats:
        quick, slow = Moody("quick", bell), Moody("slow", bell)
        for one in (quick, slow):
            heartbeats.join(one.member)
        for state in ("training", "uploading", "waiting"):
            quick.state = state
            quick.round += 1
            heartbeats.hurry(quick.member)
        slow.state = "training"
        heartbeats.hurry(slow.member)  # heard in the same breath, or after it
        bell.wait_for(lambda: len(bell.beats()) >= 3)
    assert [beat.member for beat in bell.beats()] == ["quick", "slow", "slow"]


def test_news_do_not_delay_the_beat(bell: Bell) -> None:
    """A member that changes all the time is heard every period all the same, and no oftener than news settle."""
    with Heartbeats(SETTLING_SECONDS / 50) as heartbeats:
        one = Moody("a", bell)
        heartbeats.join(one.member)
        bell.wait_for(lambda: heartbeats.hurry(one.member) or len(bell.beats()) >= 5)  # type: ignore[func-returns-value]
