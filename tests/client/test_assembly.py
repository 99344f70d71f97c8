"""A model comes together from its chunks in any order, and from nothing else."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from fdstream.client.assembly import Assembly
from fdstream.errors import RemoteError
from fdstream.layout import Layout, TensorSpec
from fdstream.messages import ModelChunk
from tests.client.scene import LAYOUT, Sharded, attempt_of, model_chunks, shard_models, weights_of

CHUNKS = model_chunks(weights_of(1), 1)
NAMED = shard_models(CHUNKS, (0, 0), attempt_of(1))


def assembly(chunks: Sharded) -> Assembly:
    """What has come together after these chunks."""
    found = Assembly(LAYOUT, NAMED)
    for shard, chunk in chunks:
        found.add(shard, chunk)
    return found


def assert_whole(found: Assembly) -> None:
    assert not found.missing_shards
    tensors = found.model.tensors()
    assert list(tensors) == ["w", "steps"]
    for name, array in weights_of(1).items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)


def changed(chunk: ModelChunk, byte: int = 0) -> ModelChunk:
    """The chunk with one byte other than it was."""
    data = bytearray(chunk.data)
    data[byte] ^= 1
    return replace(chunk, data=bytes(data))


@pytest.mark.parametrize("seed", range(20))
def test_chunks_in_any_order_and_any_number_of_copies_make_the_model(seed: int) -> None:
    random = Random(seed)
    chunks = CHUNKS + random.choices(CHUNKS, k=5)
    random.shuffle(chunks)
    assert_whole(assembly(chunks))


@pytest.mark.parametrize("left_out", range(len(CHUNKS)))
def test_a_shard_is_missing_until_its_last_chunk_is_there(left_out: int) -> None:
    found = assembly([pair for pair in CHUNKS if pair[1].index != left_out])
    assert found.missing_shards == {left_out % 2}
    found.add(*CHUNKS[left_out])
    assert_whole(found)


@pytest.mark.parametrize("index", range(len(CHUNKS)))
def test_what_another_attempt_wrote_is_noise_before_and_after(index: int) -> None:
    shard, chunk = CHUNKS[index]
    stranger = replace(changed(chunk), attempt=b"z" * 16)
    assert_whole(assembly([(shard, stranger), *CHUNKS, (shard, stranger)]))


def test_the_first_copy_of_a_chunk_counts_whatever_later_ones_hold() -> None:
    shard, chunk = CHUNKS[0]
    assert_whole(assembly([CHUNKS[0], (shard, changed(chunk)), *CHUNKS[1:], (shard, changed(chunk))]))


@pytest.mark.parametrize("index", [5, 1000, 1 << 40])
def test_a_chunk_beyond_the_layout_is_noise(index: int) -> None:
    shard, chunk = CHUNKS[0]
    assert_whole(assembly([(shard, replace(chunk, index=index)), *CHUNKS]))


def test_a_chunk_in_another_shards_partition_is_noise() -> None:
    found = assembly([(1 - shard, chunk) for shard, chunk in CHUNKS])
    assert found.missing_shards == {0, 1}
    for shard, chunk in CHUNKS:
        found.add(shard, chunk)
    assert_whole(found)


@pytest.mark.parametrize("index", range(len(CHUNKS)))
def test_a_wrong_byte_in_any_chunk_is_damage_of_its_shard(index: int) -> None:
    chunks = [(shard, changed(chunk, -1) if chunk.index == index else chunk) for shard, chunk in CHUNKS]
    with pytest.raises(RemoteError, match=rf"shard {index % 2} of the global model is damaged.*digest"):
        assembly(chunks)


@pytest.mark.parametrize("data", [b"", bytes(15), bytes(17), bytes(32)])
def test_a_chunk_of_another_length_is_damage_at_once(data: bytes) -> None:
    shard, chunk = CHUNKS[0]
    found = Assembly(LAYOUT, NAMED)
    with pytest.raises(RemoteError, match=rf"payload has {len(data)} bytes, expected 16"):
        found.add(shard, replace(chunk, data=data))


def test_digests_are_taken_by_index_and_not_by_arrival() -> None:
    even = Layout((TensorSpec("w", "float32", (8,)),), 16, 1)
    chunks = model_chunks({"w": np.arange(8, dtype=np.float32)}, 1, even)
    found = Assembly(even, shard_models(chunks, (0,), attempt_of(1)))
    found.add(0, replace(chunks[0][1], index=1))
    with pytest.raises(RemoteError, match="do not match the digest"):
        found.add(0, replace(chunks[1][1], index=0))


def test_shards_without_chunks_are_not_waited_for() -> None:
    layout = Layout((TensorSpec("bias", "float64", ()),), 16, 4)
    chunks = model_chunks({"bias": np.array(2.5)}, 1, layout)
    found = Assembly(layout, shard_models(chunks, (0, 0, 0, 0), attempt_of(1)))
    assert found.missing_shards == {0}
    found.add(*chunks[0])
    assert not found.missing_shards
    assert found.model.tensors()["bias"] == 2.5


def test_a_model_without_elements_is_whole_after_its_one_empty_chunk() -> None:
    layout = Layout((TensorSpec("none", "int8", (0, 3)),), 16, 2)
    chunks = model_chunks({"none": np.empty((0, 3), np.int8)}, 1, layout)
    found = Assembly(layout, shard_models(chunks, (0, 0), attempt_of(1)))
    assert found.missing_shards == {0}
    found.add(*chunks[0])
    assert not found.missing_shards
    assert found.model.tensors()["none"].shape == (0, 3)
