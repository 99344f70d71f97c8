"""The receiver follows what it lacks, keeps what comes early up to a bound, and reads the rest again."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

from fdstream.client.receiver import EARLY_BYTES, Receiver
from fdstream.errors import RemoteError
from fdstream.events import Effects, Entry, Follow, Unfollow
from fdstream.ledger import Ledger
from fdstream.log import Lost, Record
from fdstream.messages import ModelChunk, Refusal
from fdstream.topics import table
from tests.client.scene import NONCE, SETTINGS, History, closing, weights_of

TOPICS = [table.model(0), table.model(1)]  # round r is in TOPICS[r % 2]


class Reader:
    """A receiver whose ledger reads control up to a round."""

    def __init__(self, *, fraction: float = 1.0, slots: int = 2) -> None:
        self.history = History(replace(SETTINGS, fraction=fraction), slots)
        self.ledger = Ledger()
        self.receiver = Receiver(self.ledger)
        self.ledger.fold(self.history.pages.control(self.history.opened))

    def open(self, number: int) -> None:
        """Control says that the round is open, and before that how the one before it closed."""
        if number > 1:
            for message in (closing(number - 1), self.history.closed(number - 1)):
                self.ledger.fold(self.history.pages.control(message))
        assert self.ledger.fold(self.history.pages.control(self.history.round_opened(number)))

    def begin(self, number: int) -> Effects:
        self.open(number)
        return self.receiver.begin()

    def read(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.receiver.on_chunk(entry)

    def assert_has(self, version: int) -> None:
        assert self.receiver.complete
        assert self.receiver.assembly is not None
        for name, array in self.receiver.assembly.model.tensors().items():
            np.testing.assert_array_equal(array, weights_of(version)[name], strict=True)


def sized(entry: Entry, size: int) -> Entry:
    """The entry as if its record had so many bytes."""
    return replace(entry, record=replace(entry.record, value=bytes(size)))


def of_shard(entries: Iterable[Entry], shard: int) -> list[Entry]:
    return [entry for entry in entries if entry.record.partition == shard]


def test_a_round_is_followed_from_the_offsets_that_control_names() -> None:
    reader = Reader()
    reader.history.publish(3)
    assert not reader.receiver.receiving
    assert reader.begin(1) == [Follow(TOPICS[1], 0, 0), Follow(TOPICS[1], 1, 0)]
    reader.open(2)
    assert reader.begin(3) == [Follow(TOPICS[1], 0, 3), Follow(TOPICS[1], 1, 2)]


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
    reader.receiver.begin()
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


# What comes before its RoundOpened


def test_a_model_that_came_early_is_not_fetched_again() -> None:
    reader = Reader()
    reader.begin(1)
    reader.history.publish(2)
    reader.read([*reader.history.chunks[1], *reader.history.chunks[2]])
    reader.assert_has(1)
    assert reader.begin(2) == []
    reader.assert_has(2)


@pytest.mark.parametrize("count", range(1, 5))
def test_what_came_early_is_taken_and_the_rest_followed(count: int) -> None:
    reader = Reader()
    reader.begin(1)
    reader.history.publish(2)
    early, rest = reader.history.chunks[2][:count], reader.history.chunks[2][count:]
    reader.read(early)
    effects = reader.begin(2)
    expected = [
        Follow(TOPICS[0], shard, len(of_shard(early, shard))) for shard in (0, 1) if of_shard(rest, shard)
    ]
    assert effects == expected
    reader.read(rest)
    reader.assert_has(2)


def test_noise_between_early_chunks_is_kept_with_them() -> None:
    reader = Reader()
    reader.begin(1)
    pages = reader.history.pages
    other = ModelChunk(NONCE, b"z" * 16, 2, 0, 0, bytes(16))
    noise = pages.entry(TOPICS[0], 0, other)
    reader.history.publish(2)
    reader.read([noise, *reader.history.chunks[2]])
    assert reader.begin(2) == []
    reader.assert_has(2)


def test_what_is_delivered_twice_is_kept_once() -> None:
    reader = Reader()
    reader.begin(1)
    reader.history.publish(2)
    reader.read(reader.history.chunks[2][:2] * 2)
    assert reader.begin(2) == [Follow(TOPICS[0], 0, 1), Follow(TOPICS[0], 1, 1)]
    reader.read(reader.history.chunks[2][2:])
    reader.assert_has(2)


def test_a_gap_before_the_early_chunks_is_read_from_the_start() -> None:
    reader = Reader()
    reader.begin(1)
    reader.history.publish(2)
    first = reader.history.chunks[2][0]
    reader.read(entry for entry in reader.history.chunks[2] if entry is not first)
    assert reader.begin(2) == [Follow(TOPICS[0], 0, 0)]
    reader.read(of_shard(reader.history.chunks[2], 0))
    reader.assert_has(2)


def test_a_gap_among_the_early_chunks_is_read_from_its_start() -> None:
    reader = Reader()
    reader.begin(1)
    reader.history.publish(2)
    first, _, last = of_shard(reader.history.chunks[2], 0)
    reader.read([first, last])
    assert Follow(TOPICS[0], 0, 1) in reader.begin(2)
    reader.read(reader.history.chunks[2])
    reader.assert_has(2)


def test_early_chunks_of_a_round_sat_out_do_not_pass_for_another_rounds() -> None:
    reader = Reader(slots=1)
    reader.begin(1)
    reader.history.publish(2)
    reader.history.publish(3)
    reader.read(reader.history.chunks[2])
    reader.open(2)
    assert reader.begin(3) == [Follow(table.model(0), 0, 6), Follow(table.model(0), 1, 4)]
    reader.read(reader.history.chunks[3])
    reader.assert_has(3)


def test_what_comes_two_rounds_early_is_not_kept() -> None:
    reader = Reader()
    reader.begin(1)
    reader.history.publish(2)
    reader.history.publish(3)
    reader.read(sized(entry, EARLY_BYTES) for entry in reader.history.chunks[3])
    reader.read(reader.history.chunks[2])
    assert reader.begin(2) == []


def test_early_chunks_are_kept_up_to_the_bound() -> None:
    reader = Reader()
    reader.begin(1)
    reader.history.publish(2)
    chunks = reader.history.chunks[2]
    reader.read(sized(entry, EARLY_BYTES // len(chunks)) for entry in chunks)
    assert reader.begin(2) == []
    reader.assert_has(2)


def test_beyond_the_bound_a_partition_is_dropped_and_read_again_from_its_start() -> None:
    reader = Reader()
    reader.begin(1)
    reader.history.publish(2)
    chunks = reader.history.chunks[2]
    *most, last = chunks  # the last one lies in shard 0
    reader.read([*most, sized(last, EARLY_BYTES + 1)])
    assert reader.begin(2) == [Follow(TOPICS[0], 0, 0)]
    reader.read(of_shard(chunks, 0))
    reader.assert_has(2)


def test_once_beyond_the_bound_nothing_more_is_kept_until_the_next_round() -> None:
    reader = Reader()
    reader.begin(1)
    reader.history.publish(2)
    first, *others = reader.history.chunks[2]
    reader.read([sized(first, EARLY_BYTES + 1), *others])
    assert reader.begin(2) == [Follow(TOPICS[0], 0, 0), Follow(TOPICS[0], 1, 0)]
    reader.history.publish(3)
    reader.read(reader.history.chunks[3])
    assert reader.begin(3) == []


# Leaving


def test_where_everybody_is_asked_the_next_model_is_waited_for() -> None:
    reader = Reader()
    reader.begin(1)
    reader.read(reader.history.chunks[1])
    assert reader.receiver.release() == []
    assert (reader.receiver.receiving, reader.receiver.complete) == (False, False)


def test_where_few_are_asked_nobody_reads_on() -> None:
    reader = Reader(fraction=0.5)
    reader.begin(1)
    reader.begin(2)
    everywhere = [Unfollow(topic, shard) for topic in TOPICS for shard in (0, 1)]
    assert reader.receiver.release() == everywhere
    assert reader.receiver.release() == []


def test_a_released_model_can_be_had_again_in_its_round() -> None:
    reader = Reader()
    reader.begin(1)
    reader.read(reader.history.chunks[1])
    reader.receiver.release()
    assert reader.receiver.begin() == [Follow(TOPICS[1], 0, 0), Follow(TOPICS[1], 1, 0)]
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


def test_lost_records_of_this_round_mean_that_it_is_over() -> None:
    reader = Reader()
    reader.begin(1)
    assert reader.receiver.on_lost(Lost(TOPICS[1], 0, 0)) == []
    assert reader.receiver.on_lost(Lost(TOPICS[1], 0, 1)) == []


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
