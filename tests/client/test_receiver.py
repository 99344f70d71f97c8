"""The receiver follows what it lacks of a round's model, and leaves what is used, stale or gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdstream.client import receiver
from fdstream.errors import RemoteError
from fdstream.events import Effects, Entry, Follow, Tell, Unfollow
from fdstream.log import Lost, Record
from fdstream.messages import ModelChunk, Refusal
from fdstream.topics import table
from tests.client.receiving import TOPICS, Reader
from tests.client.scene import SETTINGS


def follows(effects: Effects) -> list[Follow]:
    return [effect for effect in effects if isinstance(effect, Follow)]


def test_a_round_is_followed_from_the_offsets_that_control_names() -> None:
    reader = Reader()
    reader.history.publish(3)
    assert not reader.receiver.receiving
    assert reader.begin(1) == [Follow(TOPICS[1], 0, 0), Follow(TOPICS[1], 1, 0)]
    reader.open(2)
    assert reader.begin(3) == [Follow(TOPICS[1], 0, 3), Follow(TOPICS[1], 1, 2)]


def test_ahead_the_slot_that_no_round_has_used_is_followed_from_its_start_once() -> None:
    reader = Reader()
    reader.history.publish(2)
    ahead = [Follow(TOPICS[0], 0, 0), Follow(TOPICS[0], 1, 0)]
    assert reader.begin(1, ahead=True) == [Follow(TOPICS[1], 0, 0), Follow(TOPICS[1], 1, 0), *ahead]
    assert reader.receiver.begin(ahead=True) == [Follow(TOPICS[1], 0, 0), Follow(TOPICS[1], 1, 0)]
    reader.read(reader.history.chunks[2])
    assert reader.begin(2, ahead=True) == []
    reader.assert_has(2)
    assert reader.receiver.release(stop=True) == [
        Unfollow(topic, shard) for topic in TOPICS for shard in (0, 1)
    ]


def test_a_slot_that_a_round_has_used_is_not_read_from_its_start() -> None:
    """There the model of an earlier round lies."""
    reader = Reader()
    reader.open(1)
    assert {effect.topic for effect in reader.begin(2, ahead=True) if isinstance(effect, Follow)} == {
        TOPICS[0]
    }


def test_of_three_slots_each_is_followed_before_its_first_round() -> None:
    reader = Reader(slots=3)
    reader.history.publish(2)
    slots = [table.model(slot) for slot in (1, 2, 0)]
    assert [follow.topic for follow in follows(reader.begin(1, ahead=True))] == [slots[0]] * 2 + [
        slots[1]
    ] * 2
    assert {follow.topic for follow in follows(reader.begin(2, ahead=True))} == {slots[1], slots[2]}


def test_nothing_is_followed_ahead_of_the_last_round() -> None:
    for final_evaluation, topics in ((True, set(TOPICS)), (False, {TOPICS[1]})):
        reader = Reader(settings=replace(SETTINGS, num_rounds=1, final_evaluation=final_evaluation))
        assert {follow.topic for follow in follows(reader.begin(1, ahead=True))} == topics


def test_a_model_that_cannot_be_kept_early_is_not_fetched_early(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    monkeypatch.setattr(receiver, "EARLY_BYTES", reader.ledger.layout.model_bytes - 1)
    assert {follow.topic for follow in follows(reader.begin(1, ahead=True))} == {TOPICS[1]}


def test_what_was_lost_ahead_is_followed_anew_with_its_round() -> None:
    reader = Reader()
    reader.history.publish(2)
    reader.begin(1, ahead=True)
    assert reader.receiver.on_lost(Lost(TOPICS[0], 0, 0)) == []
    assert Follow(TOPICS[0], 0, 0) in reader.begin(2)
    reader.read(reader.history.chunks[2])
    reader.assert_has(2)


def test_a_ring_of_one_slot_has_nothing_ahead() -> None:
    reader = Reader(slots=1)
    assert reader.begin(1, ahead=True) == [Follow(TOPICS[0], 0, 0), Follow(TOPICS[0], 1, 0)]


def test_the_model_is_complete_with_its_last_chunk() -> None:
    reader = Reader()
    reader.begin(1)
    *most, last = reader.history.chunks[1]
    reader.read(most)
    assert (reader.receiver.receiving, reader.receiver.complete) == (True, False)
    reader.read([last])
    reader.assert_has(1)


def test_a_newer_round_makes_the_model_stale() -> None:
    reader = Reader()
    reader.begin(1)
    reader.read(reader.history.chunks[1])
    reader.open(2)
    assert (reader.receiver.receiving, reader.receiver.complete) == (False, False)
    reader.receiver.begin(ahead=False)
    reader.read(reader.history.chunks[1])
    assert not reader.receiver.complete
    reader.read(reader.history.chunks[2])
    reader.assert_has(2)


def test_a_round_may_be_left_with_its_model_half_here() -> None:
    reader = Reader()
    reader.begin(1)
    reader.read(reader.history.chunks[1][:3])
    reader.begin(2)
    reader.read(reader.history.chunks[1][3:])
    reader.read(reader.history.chunks[2])
    reader.assert_has(2)


@pytest.mark.parametrize(
    "change",
    [{"nonce": b"o" * 16}, {"part": 1}, {"attempt": b"z" * 16}, {"round": 7}, {"index": 77}],
    ids=lambda change: next(iter(change)),
)
def test_strangers_among_the_chunks_are_noise(change: dict[str, object]) -> None:
    reader = Reader()
    reader.begin(1)
    for entry in reader.history.chunks[1]:
        assert isinstance(entry.message, ModelChunk)
        stranger = replace(entry.message, data=b"", **change)  # type: ignore[arg-type]
        reader.receiver.on_chunk(replace(entry, message=stranger))
        reader.receiver.on_chunk(replace(entry, message=Refusal("truncated", "")))
        reader.receiver.on_chunk(entry)
    reader.assert_has(1)


def test_damage_is_an_error_that_names_the_shard() -> None:
    reader = Reader()
    reader.begin(1)
    first = reader.history.chunks[1][1]
    assert isinstance(first.message, ModelChunk)
    with pytest.raises(RemoteError, match="shard 1 of the global model is damaged"):
        reader.receiver.on_chunk(replace(first, message=replace(first.message, data=b"")))


# Leaving


def test_where_everybody_is_asked_the_next_model_is_waited_for() -> None:
    reader = Reader()
    reader.begin(1)
    reader.read(reader.history.chunks[1])
    assert reader.receiver.release(stop=False) == []
    assert (reader.receiver.receiving, reader.receiver.complete) == (False, False)


def test_who_stops_reads_no_model_on() -> None:
    reader = Reader()
    reader.begin(1)
    reader.begin(2)
    everywhere = [Unfollow(topic, shard) for topic in TOPICS for shard in (0, 1)]
    assert reader.receiver.release(stop=True) == everywhere
    assert reader.receiver.release(stop=True) == []


def test_a_released_model_can_be_had_again_in_its_round() -> None:
    reader = Reader()
    reader.begin(1)
    reader.read(reader.history.chunks[1])
    reader.receiver.release(stop=False)
    assert reader.receiver.begin(ahead=False) == [Follow(TOPICS[1], 0, 0), Follow(TOPICS[1], 1, 0)]
    reader.read(reader.history.chunks[1])
    reader.assert_has(1)


# Deleted records


def test_lost_records_of_earlier_rounds_are_not_missed() -> None:
    reader = Reader()
    reader.history.publish(3)
    reader.begin(1)
    reader.begin(2)
    reader.begin(3)
    assert reader.receiver.on_lost(Lost(TOPICS[1], 1, 0)) == [Follow(TOPICS[1], 1, 2)]
    assert reader.receiver.on_lost(Lost(TOPICS[1], 0, 2)) == [Follow(TOPICS[1], 0, 3)]
    reader.read(reader.history.chunks[3])
    reader.assert_has(3)


def test_lost_records_of_this_round_are_told_of() -> None:
    """Either it is over, or nobody can have its model any more: a client that waited in silence would not say."""
    reader = Reader()
    reader.begin(1)
    for offset in (0, 1):
        facts = {"topic": TOPICS[1], "partition": 0, "offset": offset, "round": 1}
        assert reader.receiver.on_lost(Lost(TOPICS[1], 0, offset)) == [Tell("model lost", facts)]


def test_lost_records_of_another_slot_and_of_a_round_not_asked_for_are_nobodys() -> None:
    reader = Reader()
    for number in (1, 2, 3, 4):
        reader.begin(number)
    assert reader.history.models[4][0].start > 0
    assert reader.receiver.on_lost(Lost(TOPICS[1], 0, 0)) == []
    reader.open(5)
    assert reader.receiver.on_lost(Lost(TOPICS[1], 0, 0)) == []


def test_records_without_a_place_in_the_model_topics_are_ignored_before_the_first_round() -> None:
    reader = Reader()
    stray = Entry(Record(TOPICS[0], 0, 0, 1.0, b"x"), Refusal("not a record", ""))
    reader.receiver.on_chunk(stray)
    assert not reader.receiver.receiving
