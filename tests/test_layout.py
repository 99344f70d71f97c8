"""What `fdstream.layout` promises about cutting a model, for any tensors, chunk sizes and shards."""

from __future__ import annotations

import hashlib
from time import perf_counter
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.dtypes import DTYPES, update_dtype
from fdstream.errors import UsageError
from fdstream.layout import (
    DEFAULT_CHUNK_BYTES,
    MAX_CHUNKS,
    MAX_TENSORS,
    SMALL_CHUNK_BYTES,
    ChunkSpec,
    Layout,
    TensorSpec,
    tensors_of,
)

NAMES = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=12)
SHAPES = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def layouts(draw: st.DrawFn) -> Layout:
    names = draw(st.lists(NAMES, max_size=8, unique=True))
    tensors = tuple(TensorSpec(n, draw(st.sampled_from(list(DTYPES))), draw(SHAPES)) for n in names)
    return Layout(tensors, draw(st.integers(8, 300)), draw(st.integers(1, 9)))


def elements_in_group(layout: Layout, dtype: str) -> int:
    return sum(tensor.size for tensor in layout.tensors if tensor.dtype == dtype)


@given(layouts())
def test_chunks_cover_each_dtype_exactly_once_in_order(layout: Layout) -> None:
    covered: dict[str, int] = {}
    for chunk in layout.chunks:
        assert chunk.start == covered.get(chunk.dtype, 0)
        assert chunk.stop > chunk.start or layout.num_elements == 0
        covered[chunk.dtype] = chunk.stop
    present = {t.dtype for t in layout.tensors if t.size} or {"float32"}
    assert covered == {dtype: elements_in_group(layout, dtype) for dtype in present}
    order = list(dict.fromkeys(t.dtype for t in layout.tensors))
    assert [dtype for dtype in order if dtype in covered] == list(covered) or layout.num_elements == 0


@given(layouts())
def test_no_chunk_exceeds_chunk_bytes_as_weights_or_as_update(layout: Layout) -> None:
    for chunk in layout.chunks:
        widest = max(DTYPES[chunk.dtype].itemsize, update_dtype(chunk.dtype).itemsize)
        assert chunk.size * widest <= layout.chunk_bytes
        is_last = chunk.stop == elements_in_group(layout, chunk.dtype)
        assert is_last or (chunk.size + 1) * widest > layout.chunk_bytes


@given(layouts())
def test_shards_partition_the_chunks_by_index(layout: Layout) -> None:
    assert [chunk.index for chunk in layout.chunks] == list(range(len(layout.chunks)))
    assert all(chunk.shard == chunk.index % layout.shards for chunk in layout.chunks)
    by_shard = [layout.chunks_of(shard) for shard in range(layout.shards)]
    assert sorted(sum(by_shard, ()), key=lambda chunk: chunk.index) == list(layout.chunks)
    assert all(chunk.shard == shard for shard, chunks in enumerate(by_shard) for chunk in chunks)
    assert layout.active_shards == tuple(shard for shard, chunks in enumerate(by_shard) if chunks)
    assert 0 in layout.active_shards


@pytest.mark.parametrize("tensors", [(), (TensorSpec("empty", "int8", (0, 3)),)])
def test_a_model_without_elements_has_one_empty_chunk(tensors: tuple[TensorSpec, ...]) -> None:
    layout = Layout(tensors, 8, 4)
    assert layout.chunks == (ChunkSpec(0, 0, "float32", 0, 0),)
    assert (layout.active_shards, layout.num_elements, layout.model_bytes) == ((0,), 0, 0)


def test_sizes_count_each_dtype_by_its_own_width() -> None:
    weights = {
        "a": np.zeros((3, 5), ml_dtypes.bfloat16),
        "s": np.ones(()),
        "i": np.zeros(7, np.int8),
    }
    layout = Layout.of(weights, chunk_bytes=64, shards=2)
    assert (layout.num_elements, layout.model_bytes) == (15 + 1 + 7, 30 + 8 + 7)


def test_fingerprint_has_the_documented_bytes() -> None:
    layout = Layout((TensorSpec("ä", "int8", (2, 0)), TensorSpec("b", "float32", ())), 1024, 3)
    expected = bytes.fromhex(
        "66647374 7265616d 2d6c6179 6f75742d 3100"  # fdstream-layout-1, zero
        "0004000000000000 03000000 02000000"  # chunk_bytes, shards, tensors
        "02000000 c3a4 04000000 696e7438 02000000 0200000000000000 0000000000000000"
        "01000000 62 07000000 666c6f61743332 00000000"
    )
    assert layout.fingerprint == hashlib.sha256(expected).digest()


@given(layouts(), layouts())
def test_fingerprints_are_equal_exactly_where_layouts_are(one: Layout, two: Layout) -> None:
    assert (one.fingerprint == two.fingerprint) == (one == two)
    assert one.fingerprint == Layout(one.tensors, one.chunk_bytes, one.shards).fingerprint


@given(layouts(), layouts())
def test_mismatch_is_none_exactly_for_equal_tensors(one: Layout, two: Layout) -> None:
    assert one.mismatch(one.tensors) is None
    assert (one.mismatch(two.tensors) is None) == (one.tensors == two.tensors)


MODEL = (TensorSpec("w", "float32", (2, 3)), TensorSpec("b", "float32", (3,)))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (MODEL[:1], "tensor 'b' is missing"),
        ((MODEL[0], TensorSpec("b", "float32", (4,))), "tensor 'b' is float32[4], expected float32[3]"),
        (
            (TensorSpec("w", "float16", (2, 3)), MODEL[1]),
            "tensor 'w' is float16[2, 3], expected float32[2, 3]",
        ),
        ((*MODEL, TensorSpec("z", "int8", ())), "tensor 'z' is not part of the model"),
        (MODEL[::-1], "tensor 'b' stands where 'w' is expected"),
    ],
)
def test_mismatch_names_the_first_difference(other: tuple[TensorSpec, ...], words: str) -> None:
    assert Layout(MODEL, 1024, 1).mismatch(other) == words


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"w": [1.0, 2.0]}, "tensor 'w' is a list: use a numpy array"),
        ({"w": np.float32(1)}, "tensor 'w' is a float32: use a numpy array"),
        ({"w": np.ma.masked_array([1.0], [True])}, "tensor 'w' is a MaskedArray"),
        ({"w": np.zeros(1, np.complex64)}, "tensor 'w' is complex64; use one of float16"),
        ({"w": np.zeros(1, bool)}, "tensor 'w' is bool"),
        ({"w": np.array(["x"])}, "tensor 'w' is str"),
        ({"w": np.array([None])}, "tensor 'w' is object"),
        ({3: np.zeros(1)}, "a tensor is named 3: use a string"),
        ({"": np.zeros(1)}, "1 to 256 UTF-8 bytes"),
        ({"ä" * 129: np.zeros(1)}, "1 to 256 UTF-8 bytes"),
        ({"a\nb": np.zeros(1)}, "must be printable"),
        ({"\ud800": np.zeros(1)}, "must be printable"),
        ({"w": np.zeros((1,) * 33)}, "0 to 32 extents"),
        ({str(i): np.zeros(0) for i in range(MAX_TENSORS + 1)}, "10001 tensors, more than 10000"),
        ({"w": np.zeros(MAX_CHUNKS + 1)}, "1048577 chunks, more than 1048576: raise chunk_bytes"),
    ],
)
def test_of_refuses_with_a_sentence(weights: Any, words: str) -> None:
    with pytest.raises(UsageError, match="the model cannot be laid out: ") as caught:
        Layout.of(weights, chunk_bytes=8, shards=1)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "chunk_bytes", "shards", "words"),
    [
        ((MODEL[0], MODEL[0]), 64, 1, "two tensors are called 'w'"),
        (MODEL, 7, 1, "chunk_bytes is 7, less than 8"),
        (MODEL, 64, 0, "shards is 0, less than 1"),
        (tuple(TensorSpec(str(i), "float64", (1 << 38,)) for i in range(3)), 1 << 26, 1, "the model has"),
    ],
)
def test_constructing_refuses_with_a_sentence(
    tensors: tuple[TensorSpec, ...], chunk_bytes: int, shards: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Layout(tensors, chunk_bytes, shards)


@pytest.mark.parametrize("shape", [(-1,), (1 << 40,), (0, 1 << 40), (1 << 62, 1 << 62)])
def test_tensors_of_impossible_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="tensor 'w'"):
        TensorSpec("w", "float32", shape)


def test_a_model_of_more_than_2_gb_is_cut_without_overflow() -> None:
    layout = Layout((TensorSpec("huge", "float32", (3 << 30,)),), 900 * 1024, 8)
    assert layout.model_bytes == 12 << 30
    assert layout.chunks[-1].stop == 3 << 30
    assert len(layout.chunks) == -(-(3 << 30) // (225 * 1024))


def test_ten_thousand_tensors_are_cut_quickly() -> None:
    weights = {f"layer/{i}": np.zeros((3, 5), np.float32) for i in range(MAX_TENSORS)}
    tensors = tensors_of(weights)

    def seconds() -> float:
        start = perf_counter()
        assert len(Layout(tensors, 1024, 4).chunks) == -(-MAX_TENSORS * 15 // 256)
        return perf_counter() - start

    # The best of several, so that a busy machine cannot fail it; quadratic work would take seconds.
    assert min(seconds() for _ in range(5)) < 0.25


def test_byte_swapped_arrays_are_laid_out_by_their_meaning() -> None:
    assert tensors_of({"w": np.zeros(2, ">f4")}) == (TensorSpec("w", "float32", (2,)),)


@pytest.mark.parametrize("name", DTYPES)
def test_update_dtype(name: str) -> None:
    wide = name in {"float64", "int32", "int64", "uint32", "uint64"}
    assert update_dtype(name) == update_dtype(DTYPES[name]) == np.dtype("float64" if wide else "float32")


def test_update_dtype_refuses_what_is_not_on_the_list() -> None:
    with pytest.raises(ValueError, match="'object' is not supported"):
        update_dtype("object")


@given(
    st.lists(st.integers(0, 3_000_000), min_size=1, max_size=3),
    st.integers(1, 9),
    st.sampled_from(list(DTYPES)),
)
def test_left_to_itself_a_layout_gives_every_shard_as_much(sizes: list[int], shards: int, dtype: str) -> None:
    tensors = tuple(TensorSpec(str(at), dtype, (size,)) for at, size in enumerate(sizes))
    width = max(DTYPES[dtype].itemsize, update_dtype(dtype).itemsize)
    even = Layout(tensors, Layout(tensors, DEFAULT_CHUNK_BYTES, shards).even_chunk_bytes, shards)
    of_shard = [sum(chunk.size for chunk in even.chunks_of(shard)) for shard in range(shards)]
    if even.num_elements * width >= shards * SMALL_CHUNK_BYTES:
        assert max(of_shard) - min(of_shard) <= len(even.chunks) * 8 // width
        assert len(even.chunks) % shards == 0
    else:
        assert even.chunk_bytes == SMALL_CHUNK_BYTES
    fewest = -(-even.num_elements * width // DEFAULT_CHUNK_BYTES)
    assert len(even.chunks) < max(fewest, 1) + shards
    assert even.chunk_bytes <= DEFAULT_CHUNK_BYTES


def test_a_layout_of_arrays_is_even_where_no_size_is_asked_for() -> None:
    weights = {"w": np.zeros(1_000_000 // 4, np.float32)}
    assert [chunk.size for chunk in Layout.of(weights, chunk_bytes=None, shards=4).chunks] == [62_500] * 4
    assert [chunk.size for chunk in Layout.of(weights, chunk_bytes=800_000, shards=4).chunks] == [
        200_000,
        50_000,
    ]
