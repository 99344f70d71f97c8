"""What a server refuses is counted, written down once, and skipped; what it needs and is lost stops it aloud."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdstream.errors import RemoteError
from fdstream.events import Append, Effects, Ends, Follow, ReadEnds, Tell
from fdstream.ledger import Phase
from fdstream.log import Lost
from fdstream.messages import Message, Refusal, Rejected
from fdstream.server.refusals import MAX_REJECTED_PER_REASON
from fdstream.topics import table
from tests.server.records import (
    STRANGE,
    all_of,
    an_id,
    closed,
    closing,
    federation,
    report,
    round_opened,
    update,
    verdict,
)
from tests.server.serving import Serving, follows, joined, serving, written

ADA = update("ada")


def open_round(*shards: int) -> Serving:
    """Round 1 collects, and the server has these shards."""
    return joined(federation(), round_opened(), shards=shards)


def counts(effects: Effects) -> list[tuple[str, int]]:
    """What is told of refusals: reason and count."""
    return [(t.facts["reason"], t.facts["count"]) for t in all_of(Tell, effects) if t.name == "rejected"]


def rejected(effects: Effects) -> list[Rejected]:
    return written(effects, Rejected)


# What is written down


def test_a_refused_report_is_counted_and_written_down_with_its_place_sender_and_reason() -> None:
    scene = open_round(0)
    effects = scene.report(report("ada", num_examples=0))
    assert counts(effects) == [("num_examples below 1", 1)]
    expected = Rejected(table.reports(1), 0, 0, "ada", "num_examples below 1", "")
    assert Append(table.REJECTED, 0, expected) in effects


def test_a_refused_chunk_is_written_down_under_its_attempt() -> None:
    scene = open_round(1)
    chunk = replace(ADA.of(1)[0], data=b"")
    (found,) = rejected(scene.read(table.updates(1), [chunk], 1))
    assert found == Rejected(table.updates(1), 1, 0, chunk.attempt.hex(), "wrong size", "")


def test_a_duplicate_is_written_down_and_a_failure_is_not() -> None:
    scene = open_round(0)
    scene.report(report("ada"))
    assert [r.reason for r in rejected(scene.report(report("ada", an_id(2))))] == ["duplicate"]
    assert rejected(scene.report(report("bob", failure="no disk"))) == []


def test_what_cannot_be_read_of_a_shards_model_is_written_down_by_who_reads_it() -> None:
    (found,) = rejected(open_round(1).unreadable(table.model(1), 1))
    assert (found.topic, found.partition) == (table.model(1), 1)


@pytest.mark.parametrize("topic", [table.CONTROL, table.reports(1), table.updates(1), table.model(1)])
def test_a_record_that_cannot_be_read_is_written_down_with_the_decoders_reason(topic: str) -> None:
    scene = open_round(0)
    offset = scene.tape.ends[topic, 0]
    (found,) = rejected(scene.unreadable(topic))
    assert found == Rejected(topic, 0, offset, "", "truncated", "truncated: after 3 bytes")


def test_a_record_in_control_of_another_federation_is_written_down_and_changes_nothing() -> None:
    scene = open_round(0)
    effects = scene.control(replace(closed(), nonce=STRANGE))
    assert [r.reason for r in rejected(effects)] == ["of another federation"]
    assert scene.server.ledger.phase is Phase.COLLECTING


def test_a_verdict_of_another_federation_is_written_down_by_the_shards_owner() -> None:
    stranger = replace(verdict(1), nonce=STRANGE)
    assert [r.reason for r in rejected(open_round(1).shards(stranger))] == ["of another federation"]
    assert rejected(open_round(0).shards(stranger)) == []


def test_copies_in_control_are_noise_and_not_worth_a_record() -> None:
    scene = open_round(0)
    effects = scene.control(federation(), round_opened(), closed(7))
    assert rejected(effects) == []
    assert counts(effects) == []


# By whom, and how often


def test_only_the_owner_of_a_shard_writes_down_what_it_refuses() -> None:
    chunk = replace(ADA.of(0)[0], data=b"")
    found = [rejected(open_round(n).read(table.updates(1), [chunk], 0)) for n in (0, 1)]
    assert [len(records) for records in found] == [1, 0]


def test_every_server_reads_the_reports_and_the_coordinator_alone_writes_down_what_is_refused() -> None:
    bad = report("ada", num_examples=0)
    effects = [open_round(shard).report(bad) for shard in (0, 1)]
    assert [len(rejected(each)) for each in effects] == [1, 0]
    assert counts(effects[1]) == [("num_examples below 1", 1)]


def test_of_each_reason_only_the_first_hundred_are_written_down_and_all_are_counted() -> None:
    assert MAX_REJECTED_PER_REASON == 100
    scene = open_round(0)
    effects = scene.read(table.updates(1), [replace(ADA.of(0)[0], data=b"")] * 130)
    effects += scene.read(table.updates(1), [replace(ADA.of(0)[0], nonce=STRANGE)])
    assert [r.reason for r in rejected(effects)] == ["wrong size"] * 100 + ["of another federation"]
    assert counts(effects)[129:] == [("wrong size", 130), ("of another federation", 1)]


def test_the_next_round_counts_anew() -> None:
    scene = open_round(0)
    bad = replace(ADA.of(0)[0], data=b"")
    scene.read(table.updates(1), [bad] * 130)
    scene.control(closed(), round_opened(2, start=1))
    effects = scene.read(table.updates(0), [replace(bad, round=2)] * 2)
    assert counts(effects) == [("wrong size", 1)]
    assert len(rejected(effects)) == 1


@pytest.mark.parametrize("topic", [table.updates(1), table.reports(1), table.model(1)])
def test_a_record_that_cannot_be_read_counts_once_however_often_it_is_read(topic: str) -> None:
    scene = open_round(0)
    bad = [scene.tape.entry(topic, Refusal("truncated", "")) for _ in range(3)]
    effects = scene.server.step(*bad[:2], *bad[:2], *bad)
    assert counts(effects) == [("truncated", 1), ("truncated", 2), ("truncated", 3)]
    assert [r.offset for r in rejected(effects)] == [0, 1, 2]


def test_a_record_that_comes_before_its_round_counts_in_it_once() -> None:
    scene = open_round(0)
    scene.unreadable(table.updates(0))  # of the slot's last use
    bad = scene.tape.entry(table.updates(0), Refusal("truncated", ""))
    assert counts(scene.server.step(bad)) == []
    effects = scene.control(closed(), replace(round_opened(2), updates_start=(1, 0)))
    assert [r.offset for r in rejected(effects)] == [1]
    assert counts(effects + scene.server.step(bad)) == [("truncated", 1)]


def test_a_long_detail_is_cut() -> None:
    scene = open_round(0)
    (found,) = rejected(scene.read(table.reports(1), [Refusal("malformed", "x" * 9999)]))
    assert len(found.detail) == 500


# What is skipped still takes its place


def test_a_record_that_cannot_be_read_does_not_stop_those_behind_it() -> None:
    scene = open_round(0)
    scene.unreadable(table.reports(1))
    scene.reports(ADA)
    scene.unreadable(table.updates(1))
    assert scene.updates(0, ADA) == []
    assert scene.server.book is not None
    assert scene.server.book.reports.keys() == {1}
    assert scene.server.owners[0].next_offset == 3
    scene.unreadable(table.CONTROL)
    scene.control(closed())
    assert scene.server.ledger.phase is Phase.READY


@pytest.mark.parametrize(
    ("topic", "partition"),
    [(table.reports(0), 0), (table.updates(0), 0), (table.updates(1), 1), (table.model(0), 0), ("odd", 3)],
)
def test_records_that_nobody_asked_for_are_passed_over(topic: str, partition: int) -> None:
    scene = open_round(0)
    messages: list[Message] = [ADA.report, ADA.of(0)[0]]
    assert scene.read(topic, messages, partition) == []
    assert scene.server.book is not None
    assert scene.server.book.reports == {}


# What is lost


def lost(scene: Serving, topic: str, partition: int, offset: int, *, control_end: int) -> Effects:
    """The server hears that this was deleted, and then where control ends."""
    asked = all_of(ReadEnds, scene.step(Lost(topic, partition, offset)))
    (ask,) = [ends for ends in asked if ends.tag[0] == "lost"]
    assert ask.topics == (table.CONTROL,)
    return scene.step(Ends(ask.tag, {table.CONTROL: (control_end,)}))


def test_a_history_that_was_cut_stops_a_server_aloud() -> None:
    with pytest.raises(RemoteError, match="the federation's history is gone"):
        serving(0).step(Lost(table.CONTROL, 0, 0))


@pytest.mark.parametrize(
    "place",
    [(table.updates(1), 0), (table.reports(1), 0), (table.model(1), 0), (table.SHARDS, 0)],
    ids=lambda place: place[0],
)
def test_what_the_round_in_hand_needs_and_is_gone_stops_a_server_aloud(place: tuple[str, int]) -> None:
    scene = open_round(0)
    with pytest.raises(RemoteError, match=r"no longer holds offset 0, which round 1 needs"):
        lost(scene, *place, 0, control_end=2)


def test_what_was_read_already_may_go() -> None:
    scene = open_round(0)
    scene.updates(0, ADA)
    scene.reports(ADA)
    scene.model(0)
    assert follows(lost(scene, table.updates(1), 0, 1, control_end=2)) == [(table.updates(1), 0, 2)]
    assert follows(lost(scene, table.reports(1), 0, 0, control_end=2)) == [(table.reports(1), 0, 1)]
    assert follows(lost(scene, table.model(1), 0, 0, control_end=2)) == []


def test_an_update_that_is_gone_before_it_was_taken_out_again_stops_a_server_aloud() -> None:
    scene = open_round(1)
    clients = [update(name) for name in ("ada", "bob", "cyd")]
    scene.model(1)
    scene.updates(1, *clients)
    scene.reports(*clients)
    scene.control(closing(0, 1, 2, ends=(6, 3)))
    assert follows(scene.shards(verdict(0, 0), verdict(1))) == [(table.updates(1), 1, 0)]
    with pytest.raises(RemoteError, match=r"no longer holds offset 0, which round 1 needs"):
        lost(scene, table.updates(1), 1, 0, control_end=3)


def test_a_server_that_slept_judges_what_is_lost_by_what_control_says_now() -> None:
    """Round 1 was closed and deleted while it slept; only then round 3 began in the same slot."""
    scene = open_round(0)
    assert lost(scene, table.updates(1), 0, 0, control_end=6) == []
    scene.control(closed(), round_opened(2), closed(2))
    effects = scene.control(round_opened(3, start=40))
    assert Follow(table.updates(1), 0, 40) in effects
    assert scene.server.caught_up


def test_while_it_hears_what_it_slept_through_a_server_judges_nothing() -> None:
    scene = joined(federation(slots=1), round_opened(), shards={0})
    lost(scene, table.updates(0), 0, 0, control_end=4)
    for client in ("ada", "bob", "cyd"):
        assert all_of(ReadEnds, scene.report(report(client))) == []


def test_partitions_of_others_may_go() -> None:
    scene = open_round(0)
    assert lost(scene, table.updates(1), 1, 0, control_end=2) == []
