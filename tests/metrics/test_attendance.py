"""Members are counted from heartbeats, by what they do, until they leave or fall silent."""

from __future__ import annotations

import time

from fdstream.driver import Driver
from fdstream.log import MemoryBroker, MemoryLog
from fdstream.members import MEMBER_SECONDS
from fdstream.messages import Heartbeat
from fdstream.metrics.attendance import Attendance
from fdstream.metrics.definitions import OTHER
from fdstream.serde.avro import encode
from fdstream.topics import table
from tests.cluster.processes import wait_until

Counts = dict[tuple[str, ...], float]


class Hall:
    """A broker with the `members` topic, and its clock."""

    def __init__(self) -> None:
        self.now_seconds = 1000.0
        self.broker = MemoryBroker({table.MEMBERS: 1}, lambda: self.now_seconds)
        self.attendance = Attendance()
        self.log = MemoryLog(self.broker)
        self.driver = Driver(
            self.attendance, self.log, tell=lambda _: None, monotonic=lambda: self.now_seconds
        )

    def beat(self, member: str, state: str, role: str = "client") -> None:
        self.log.append(table.MEMBERS, 0, encode(Heartbeat(member, role, state, 1)))

    def counts(self) -> Counts:
        """Those that are not 0."""
        self.driver.turn(0)
        return {labels: value for _, labels, value in self.attendance.samples() if value}


def test_those_are_counted_who_speak_from_now_on() -> None:
    hall = Hall()
    hall.beat("old", "training")
    hall.driver.begin()
    assert hall.counts() == {}
    hall.beat("ada", "training")
    hall.beat("bob", "training")
    hall.beat("s", "collecting", "server")
    assert hall.counts() == {("client", "training"): 2, ("server", "collecting"): 1}
    hall.beat("bob", "waiting")
    assert hall.counts() == {
        ("client", "training"): 1,
        ("client", "waiting"): 1,
        ("server", "collecting"): 1,
    }


def test_who_leaves_or_falls_silent_is_not_counted() -> None:
    hall = Hall()
    hall.driver.begin()
    hall.beat("ada", "waiting")
    hall.beat("bob", "waiting")
    hall.beat("ada", "gone")
    assert hall.counts() == {("client", "waiting"): 1}
    hall.now_seconds += MEMBER_SECONDS + 1
    assert hall.counts() == {}, "though nobody has said anything since"
    hall.beat("bob", "waiting")
    assert hall.counts() == {("client", "waiting"): 1}


def test_states_that_members_make_up_count_as_other() -> None:
    hall = Hall()
    hall.driver.begin()
    for number in range(100):
        hall.beat(f"c{number}", f"state {number}")
    assert hall.counts() == {("client", OTHER): 100}


def test_deleted_heartbeats_are_not_missed() -> None:
    hall = Hall()
    hall.driver.begin()
    for _ in range(5):
        hall.beat("old", "waiting")
    hall.broker.starts[table.MEMBERS, 0] = 5
    hall.counts()
    hall.beat("ada", "waiting")
    assert hall.counts() == {("client", "waiting"): 1}


def test_a_thread_of_its_own_follows_inside_the_block() -> None:
    hall = Hall()
    closed = []

    class Log(MemoryLog):
        def poll(self, timeout_seconds: float):  # type: ignore[no-untyped-def]
            time.sleep(0.01)
            return super().poll(timeout_seconds)

        def close(self) -> None:
            closed.append(True)

    with hall.attendance.attending(lambda: Log(hall.broker)):

        def heard() -> bool:
            hall.beat("ada", "training")
            return any(value for _, _, value in hall.attendance.samples())

        wait_until("a heartbeat", heard)
    assert closed == [True]
