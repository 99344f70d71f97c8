"""A shard's chunks: out as records and in again bit by bit, and nothing else passes for them."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest

from fdstream.aggregation.strategies import strategy
from fdstream.codecs import WHOLE
from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import dtype_of
from fdstream.layout import Layout, TensorSpec
from fdstream.messages import ModelChunk, ShardModel
from fdstream.server.broadcast import Broadcast
from fdstream.server.parts import PartsReader, ShardParts
from tests.server.records import (
    LAYOUT,
    MODEL_ATTEMPT,
    NO_CHUNKS,
    NONCE,
    an_id,
    shard_model,
    weights,
    with_state,
)

ADAM = with_state(0, "fedadam")


def broadcast(name: str) -> Broadcast:
    return Broadcast(strategy(name), WHOLE, 0)


ADAM_PARTS = broadcast("fedadam").state_parts


def records(parts: ShardParts, *, state: bool = False) -> list[ModelChunk]:
    drawn = list(parts.records(0, NONCE, MODEL_ATTEMPT, 1, state=state))
    assert {shard for shard, _ in drawn} <= {0}
    return [chunk for _, chunk in drawn]


def all_records(parts: ShardParts) -> list[ModelChunk]:
    return records(parts) + records(parts, state=True)


def reader(parts: ShardParts, name: str = "fedavg") -> PartsReader:
    return PartsReader(LAYOUT, 0, broadcast(name), shard_model(parts))


def assert_equal(found: ShardParts | None, expected: ShardParts) -> None:
    assert found is not None
    assert found.chunks.keys() == expected.chunks.keys()
    for place, values in expected.chunks.items():
        np.testing.assert_array_equal(found.chunks[place], values, strict=True)
    assert (found.digest, found.state_digest) == (expected.digest, expected.state_digest)


# Out


def test_weights_are_written_by_index_under_the_attempt_and_the_round() -> None:
    chunks = list(weights(0).records(0, NONCE, an_id(7), 3, state=False))
    data = {index: np.arange(4 * index, 4 * index + 4, dtype="<f4").tobytes() for index in (0, 2)}
    assert chunks == [(0, ModelChunk(NONCE, an_id(7), 3, 0, index, data[index])) for index in (0, 2)]


def test_state_is_written_apart_by_part_then_index() -> None:
    assert [(chunk.part, chunk.index) for chunk in records(ADAM)] == [(0, 0), (0, 2)]
    state = [(chunk.part, chunk.index) for chunk in records(ADAM, state=True)]
    assert state == [(1, 0), (1, 2), (2, 0), (2, 2)]


def test_digests_stand_over_the_chunks_in_the_order_in_which_they_are_written() -> None:
    weights_digest = shard_digest(chunk_digest(chunk.data) for chunk in records(ADAM))
    state_digest = shard_digest(chunk_digest(chunk.data) for chunk in records(ADAM, state=True))
    assert (ADAM.digest, ADAM.state_digest) == (weights_digest, state_digest)
    assert weights(0).state_digest == NO_CHUNKS


def test_the_order_in_which_chunks_came_does_not_show_in_the_digest() -> None:
    backwards = ShardParts.of({place: ADAM.chunks[place] for place in reversed(list(ADAM.chunks))})
    assert (backwards.digest, backwards.state_digest) == (ADAM.digest, ADAM.state_digest)


def test_a_chunks_parts_are_in_order() -> None:
    parts = ADAM.of_chunk(2, ADAM_PARTS)
    assert [id(part) for part in parts] == [id(ADAM.chunks[part, 2]) for part in range(3)]
    assert len(weights(0).of_chunk(2, 0)) == 1


# In


@pytest.mark.parametrize("seed", range(5))
def test_what_is_written_is_read_again_in_any_order(seed: int) -> None:
    chunks = all_records(ADAM)
    Random(seed).shuffle(chunks)
    reads = reader(ADAM, "fedadam")
    *early, whole = [reads.add(chunk) for chunk in chunks]
    assert early == [None] * 5
    assert_equal(whole, ADAM)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "float64", "uint64"])
def test_weights_are_read_in_the_tensors_dtype_and_state_in_that_of_updates(dtype: str) -> None:
    layout = Layout((TensorSpec("w", dtype, (2,)),), 16, 1)
    stored = np.dtype("float64" if dtype in ("float64", "uint64") else "float32")
    parts = ShardParts.of({(0, 0): np.array([1, 2]).astype(dtype_of(dtype)), (1, 0): np.ones(2, stored)})
    reads = PartsReader(layout, 0, broadcast("fedavgm"), shard_model(parts))
    *_, whole = [reads.add(chunk) for chunk in all_records(parts)]
    assert whole is not None
    assert (whole.chunks[0, 0].dtype.name, whole.chunks[1, 0].dtype) == (dtype, stored)
    assert whole.chunks[0, 0].astype(float).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param({"attempt": an_id(9)}, id="of another attempt"),
        pytest.param({"index": 1}, id="of another shard"),
        pytest.param({"index": 4}, id="of no such chunk"),
        pytest.param({"part": 1}, id="state that this strategy does not have"),
    ],
)
def test_noise_between_the_chunks_is_skipped(noise: dict[str, Any]) -> None:
    reads = reader(weights(0))
    first, last = records(weights(0))
    stranger = replace(last, data=b"?" * 16, **noise)
    assert [reads.add(chunk) for chunk in (stranger, first, stranger)] == [None] * 3
    assert_equal(reads.add(last), weights(0))


def test_the_first_chunk_of_a_place_counts() -> None:
    reads = reader(weights(0))
    first, last = records(weights(0))
    reads.add(first)
    assert reads.add(replace(first, data=bytes(16))) is None
    assert_equal(reads.add(last), weights(0))


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param(replace(shard_model(ADAM), digest=bytes(16)), id="weights"),
        pytest.param(replace(shard_model(ADAM), state_digest=bytes(16)), id="state"),
    ],
)
def test_chunks_that_do_not_match_the_log_are_refused_aloud(wanted: ShardModel) -> None:
    reads = PartsReader(LAYOUT, 0, broadcast("fedadam"), wanted)
    *early, last = all_records(ADAM)
    for chunk in early:
        reads.add(chunk)
    with pytest.raises(ValueError, match="do not match the digest"):
        reads.add(last)


def test_a_chunk_of_the_wrong_length_is_refused_aloud() -> None:
    with pytest.raises(ValueError, match="payload has 12 bytes, expected 16"):
        reader(weights(0)).add(replace(records(weights(0))[0], data=bytes(12)))
