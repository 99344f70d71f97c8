"""A watcher folds what anyone can read into what there is to see, and writes nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdstream.errors import RemoteError
from fdstream.events import Effects, Entry, Follow, Tick
from fdstream.log import Lost, Record
from fdstream.members import MEMBER_SECONDS
from fdstream.messages import (
    FederationFinished,
    GlobalEvaluated,
    Heartbeat,
    Message,
    Refusal,
    Report,
    RoundClosed,
    RoundOpened,
)
from fdstream.status import Watcher
from fdstream.topics import table
from tests import test_ledger as scripts
from tests.test_ledger import MODEL, NONCE, OPENED, closing

SHA256 = bytes(range(32))
REPORTS_START = 4


def round_opened(number: int) -> RoundOpened:
    return replace(scripts.round_opened(number), reports_start=REPORTS_START)


def closed(number: int) -> RoundClosed:
    return RoundClosed(NONCE, number, 1, 2, 20, {"loss": 0.5}, {"accuracy": 0.75}, MODEL, SHA256)


def report(client: str, *, failure: str | None = None, number: int = 1, attempt: str = "") -> Report:
    name = (attempt or client).encode().ljust(16)
    return Report(NONCE, client, name, number, 1, 10, {}, 0, {}, (b"d" * 16,) * 2, failure=failure)


class Watched:
    """A watcher and the offsets of what it reads."""

    def __init__(self) -> None:
        self.watcher = Watcher(members_start=3)
        self.now_seconds = 1000.0
        self.ends = {
            table.CONTROL: 0,
            table.MEMBERS: 3,
            table.reports(0): REPORTS_START,
            table.reports(1): REPORTS_START,
        }

    def see(self, *messages: Message, topic: str = table.CONTROL) -> Effects:
        return [effect for message in messages for effect in self._step(topic, message)]

    def _step(self, topic: str, message: Message | Refusal) -> Effects:
        record = Record(topic, 0, self.ends[topic], self.now_seconds, b"")
        self.ends[topic] += 1
        return self.watcher.step(Entry(record, message))

    def hear(self, *reports: Report, number: int = 1) -> None:
        assert self.see(*reports, topic=table.reports(number % 2)) == []

    def beat(self, name: str, state: str = "training", role: str = "client") -> None:
        assert self.see(Heartbeat(name, role, state, 1), topic=table.MEMBERS) == []


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_a_watcher_begins_with_the_history_and_the_members_there_are(watched: Watched) -> None:
    begin = [Follow(table.CONTROL, 0, 0), Follow(table.MEMBERS, 0, 3)]
    assert watched.watcher.begin() == begin


def test_before_a_federation_is_open_there_is_little_to_see(watched: Watched) -> None:
    status = watched.watcher.status()
    assert (status.phase, status.round, status.num_rounds, status.min_clients) == ("absent", 0, 0, 0)
    assert (status.reported, status.failed, status.members) == ((), {}, {})
    assert (status.train_metrics, status.evaluate_metrics, status.global_metrics) == ({}, {}, {})
    assert (status.model_sha256, status.finished) == ("", "")


def test_each_rounds_reports_are_read_from_where_the_round_starts(watched: Watched) -> None:
    assert watched.see(OPENED) == []
    assert watched.see(round_opened(1)) == [Follow(table.reports(1), 0, REPORTS_START)]
    assert watched.see(round_opened(1), closing(1), closed(1)) == []
    assert watched.see(round_opened(2)) == [Follow(table.reports(0), 0, REPORTS_START)]


def test_phase_and_round_are_those_of_the_history(watched: Watched) -> None:
    seen = []
    messages: list[Message] = [OPENED, round_opened(1), closing(1), closed(1), round_opened(2)]
    for message in messages:
        watched.see(message)
        status = watched.watcher.status()
        seen.append((status.phase, status.round))
    assert seen == [("ready", 0), ("collecting", 1), ("comparing", 1), ("ready", 1), ("collecting", 2)]
    status = watched.watcher.status()
    assert (status.num_rounds, status.min_clients) == (2, 2)


def test_who_reported_is_named_in_the_order_of_the_reports(watched: Watched) -> None:
    watched.see(OPENED, round_opened(1))
    watched.hear(report("b"), report("a"), report("c", failure="no disk"))
    status = watched.watcher.status()
    assert (status.reported, status.failed) == (("b", "a"), {"c": "no disk"})


def test_reports_that_do_not_fit_the_round_are_not_shown(watched: Watched) -> None:
    watched.see(OPENED, round_opened(1))
    watched.hear(report("of the other slot"), number=2)
    watched.hear(
        report("late", number=7),
        replace(report("stranger"), nonce=b"o" * 16),
        replace(report("short"), digests=()),
        replace(report("lazy"), num_examples=0),
    )
    assert watched.watcher.status().reported == ()


def test_a_new_round_starts_with_nobody_reported(watched: Watched) -> None:
    watched.see(OPENED, round_opened(1))
    watched.hear(report("a"), report("b", failure="no"))
    watched.see(closing(1), closed(1))
    assert watched.watcher.status().reported == ("a",)
    watched.see(round_opened(2))
    status = watched.watcher.status()
    assert (status.reported, status.failed) == ((), {})


def test_metrics_are_those_of_the_last_round_that_closed(watched: Watched) -> None:
    watched.see(OPENED, round_opened(1), GlobalEvaluated(NONCE, 1, {"accuracy": 0.1}), closing(1))
    status = watched.watcher.status()
    assert (status.train_metrics, status.global_metrics) == ({}, {"accuracy": 0.1})
    watched.see(closed(1), round_opened(2), GlobalEvaluated(NONCE, 2, {"accuracy": 0.2}))
    watched.see(replace(GlobalEvaluated(NONCE, 1, {}), metrics={"accuracy": 0.9}))  # another server's, late
    status = watched.watcher.status()
    assert (status.train_metrics, status.evaluate_metrics) == ({"loss": 0.5}, {"accuracy": 0.75})
    assert (status.global_metrics, status.model_sha256) == ({"accuracy": 0.2}, SHA256.hex())


@pytest.mark.parametrize("failed", [False, True])
def test_an_end_is_shown_with_its_reason(watched: Watched, failed: bool) -> None:
    watched.see(OPENED, FederationFinished(NONCE, 0, 0, failed, "nobody came"))
    status = watched.watcher.status()
    assert (status.phase, status.finished) == ("finished", "nobody came")


# Members


def test_members_are_shown_by_name_with_what_they_said_last(watched: Watched) -> None:
    watched.beat("b", "waiting")
    watched.beat("s", "serving", role="server")
    watched.beat("a")
    watched.beat("b", "uploading")
    members = watched.watcher.status().members
    assert list(members.items()) == [
        ("a", "client training"),
        ("b", "client uploading"),
        ("s", "server serving"),
    ]


def test_who_left_is_not_shown_until_it_comes_back(watched: Watched) -> None:
    watched.beat("a")
    watched.beat("a", "gone")
    assert watched.watcher.status().members == {}
    watched.beat("a", "waiting")
    assert watched.watcher.status().members == {"a": "client waiting"}


def test_who_says_nothing_for_long_counts_as_gone_by_the_brokers_time(watched: Watched) -> None:
    watched.beat("a")
    watched.now_seconds += MEMBER_SECONDS
    watched.beat("b")
    assert list(watched.watcher.status().members) == ["a", "b"]
    watched.now_seconds += 0.001
    watched.see(OPENED)  # any record tells the time
    assert list(watched.watcher.status().members) == ["b"]


# What must not disturb


def test_what_cannot_be_read_and_what_does_not_belong_moves_nothing(watched: Watched) -> None:
    watched.see(OPENED, round_opened(1))
    before = watched.watcher.status()
    for topic in (table.CONTROL, table.MEMBERS, table.reports(1)):
        assert watched._step(topic, Refusal("not a record", "")) == []
    assert watched.see(replace(round_opened(2), nonce=b"o" * 16)) == []
    assert watched.watcher.step(Tick(1e9)) == []
    assert watched.watcher.status() == before


def test_positions_say_what_to_read_next(watched: Watched) -> None:
    watched.see(OPENED, round_opened(1))
    watched.beat("a")
    watched.hear(report("a"), report("b"))
    assert watched.watcher.positions == {
        table.CONTROL: 2,
        table.MEMBERS: 4,
        table.reports(1): REPORTS_START + 2,
    }


def test_a_lost_history_is_an_error(watched: Watched) -> None:
    with pytest.raises(RemoteError, match="control no longer holds offset 0"):
        watched.watcher.step(Lost(table.CONTROL, 0, 0))


def test_lost_reports_of_an_earlier_round_of_the_slot_are_not_missed(watched: Watched) -> None:
    watched.see(OPENED, round_opened(1))
    lost = Lost(table.reports(1), 0, REPORTS_START - 1)
    assert watched.watcher.step(lost) == [Follow(table.reports(1), 0, REPORTS_START)]


def test_what_cannot_be_read_among_the_reports_hides_none_after_it(watched: Watched) -> None:
    watched.see(OPENED, round_opened(1))
    assert watched._step(table.reports(1), Refusal("not a record", "")) == []
    watched.hear(report("a"))
    assert watched.watcher.status().reported == ("a",)
