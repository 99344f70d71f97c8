"""Chunks before their RoundOpened are kept up to a bound; the rest is read again."""

from __future__ import annotations

import pytest

from fdstream.client.receiver import EARLY_BYTES
from fdstream.events import Follow
from fdstream.messages import ModelChunk
from fdstream.topics import table
from tests.client.receiving import TOPICS, Reader, of_shard, sized
from tests.client.scene import NONCE


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
