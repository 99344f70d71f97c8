"""What `fdstream.flat` promises about moving values: exact round trips, no hidden copies, refusals."""

from __future__ import annotations

import tracemalloc

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.dtypes import DTYPES, Array, payload, update_dtype
from fdstream.errors import UsageError
from fdstream.flat import FlatModel, update_chunks, weight_chunks
from fdstream.layout import Layout, TensorSpec
from tests.test_layout import layouts


def random_weights(layout: Layout, seed: int) -> dict[str, Array]:
    """Arbitrary bytes as tensors, NaN included for floats; integers small enough to be averaged."""
    rng = np.random.default_rng(seed)
    weights = {}
    for tensor in layout.tensors:
        dtype = DTYPES[tensor.dtype]
        values = rng.integers(0, 256, tensor.size * dtype.itemsize, np.uint8).view(dtype)
        values = values >> 11 if dtype.name in {"int64", "uint64"} else values
        weights[tensor.name] = values.reshape(tensor.shape)
    return weights


def disguised(array: Array, kind: str) -> Array:
    """The same values in another memory layout."""
    if kind == "fortran":
        return np.asfortranarray(array) if array.ndim else array
    if kind == "strided":
        wide = np.zeros((*array.shape, 2), array.dtype)
        wide[..., 1] = array
        return wide[..., 1]
    if kind == "swapped":
        return array.astype(array.dtype.newbyteorder(">"))
    return array


def bits(array: Array) -> bytes:
    return bytes(payload(np.ascontiguousarray(array).reshape(-1)))


KINDS = st.sampled_from(["plain", "fortran", "strided", "swapped"])


@given(layouts(), st.integers(0, 1 << 32), KINDS, st.randoms())
def test_weights_survive_the_wire_bit_for_bit(layout: Layout, seed: int, kind: str, random: object) -> None:
    weights = random_weights(layout, seed)
    source = {name: disguised(array, kind) for name, array in reversed(weights.items())}
    received = FlatModel(layout)
    chunks = [(spec, bytes(payload(values))) for spec, values in weight_chunks(layout, source)]
    random.shuffle(chunks)  # type: ignore[attr-defined]
    for spec, data in chunks:
        received.fill(spec, data)
    tensors = received.tensors()
    assert list(tensors) == [tensor.name for tensor in layout.tensors]
    for tensor in layout.tensors:
        found = tensors[tensor.name]
        assert (found.dtype.name, found.shape) == (tensor.dtype, tensor.shape)
        assert bits(found) == bits(weights[tensor.name])


@given(layouts(), st.integers(0, 1 << 32))
def test_every_chunk_has_its_spec_and_dtype(layout: Layout, seed: int) -> None:
    weights = random_weights(layout, seed)
    received = FlatModel(layout)
    for spec, values in weight_chunks(layout, weights):
        assert (values.dtype, values.shape) == (DTYPES[spec.dtype], (spec.size,))
        received.fill(spec, payload(values))
    updates = list(update_chunks(layout, received, weights))
    assert [spec for spec, _ in updates] == list(layout.chunks)
    assert all(values.dtype == update_dtype(spec.dtype) for spec, values in updates)
    assert all(values.shape == (spec.size,) for spec, values in updates)


def filled(layout: Layout, weights: dict[str, Array]) -> FlatModel:
    model = FlatModel(layout)
    for spec, values in weight_chunks(layout, weights):
        model.fill(spec, payload(values))
    return model


@pytest.mark.parametrize(
    ("dtype", "old", "new", "delta"),
    [
        ("float32", [1.0, 2.0**24], [1.5, 1.0], [0.5, 1 - 2.0**24]),
        ("float16", [65504.0], [-65504.0], [-131008.0]),  # does not fit float16
        ("bfloat16", [1.0], [1.0078125], [0.0078125]),
        ("uint8", [200], [3], [-197]),
        ("int16", [-32768], [32767], [65535]),
        ("uint32", [2**32 - 1], [0], [1 - 2**32]),
        ("int64", [-(2**53)], [2**52], [3 * 2**52]),
        ("uint64", [2**53], [0], [-(2**53)]),
        ("float64", [1.0], [1 + 2.0**-52], [2.0**-52]),
        ("float32", [-3.4e38], [3.4e38], [np.inf]),
    ],
)
def test_updates_are_trained_minus_received(
    dtype: str, old: list[float], new: list[float], delta: list[float]
) -> None:
    received, trained = ({"w": np.array(values, DTYPES[dtype])} for values in (old, new))
    layout = Layout.of(received, chunk_bytes=64, shards=1)
    ((_, values),) = update_chunks(layout, filled(layout, received), trained)
    assert values.tolist() == np.array(delta, update_dtype(dtype)).tolist()


def test_chunks_inside_one_tensor_are_views_and_others_are_put_together() -> None:
    weights = {"w": np.arange(64, dtype=np.float32), "v": np.arange(6, dtype=np.float32)}
    layout = Layout.of(weights, chunk_bytes=96, shards=1)
    shared = [np.shares_memory(values, weights["w"]) for _, values in weight_chunks(layout, weights)]
    assert shared == [True, True, False]


def test_the_whole_model_is_never_held_twice() -> None:
    weights = {"strided": np.zeros((2, 1 << 21), np.float32).T, "plain": np.zeros(1 << 22, np.float32)}
    layout = Layout.of(weights, chunk_bytes=1 << 16, shards=1)
    received = filled(layout, weights)
    tracemalloc.start()
    try:
        for _ in update_chunks(layout, received, weights):
            pass
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < layout.model_bytes / 20


def test_tensors_come_in_a_dict_of_the_callers_own() -> None:
    layout = Layout((TensorSpec("w", "float32", (2,)),), 1024, 1)
    model = FlatModel(layout)
    model.tensors().clear()
    model.fill(layout.chunks[0], payload(np.array([1, 2], np.float32)))
    assert model.tensors()["w"].tolist() == [1, 2], "views, also of what comes later"


def test_received_tensors_are_read_only_views() -> None:
    model = FlatModel(Layout((TensorSpec("a", "float32", (2, 2)), TensorSpec("s", "float32", ())), 8, 1))
    tensors = model.tensors()
    assert all(not tensor.flags.writeable for tensor in tensors.values())
    with pytest.raises(ValueError, match="read-only"):
        tensors["a"][0, 0] = 1
    assert tensors["s"].shape == ()
    assert np.shares_memory(tensors["a"], model.tensors()["a"])


@pytest.mark.parametrize("length", [0, 7, 9, 16])
def test_a_payload_of_another_length_changes_nothing(length: int) -> None:
    layout = Layout((TensorSpec("a", "float32", (4,)),), 8, 1)
    model = filled(layout, {"a": np.ones(4, np.float32)})
    with pytest.raises(ValueError, match=f"payload has {length} bytes, expected 8"):
        model.fill(layout.chunks[0], bytes(length))
    assert model.tensors()["a"].tolist() == [1, 1, 1, 1]


def test_payloads_may_be_views_at_odd_addresses() -> None:
    layout = Layout((TensorSpec("a", "float64", (3,)),), 64, 1)
    values = np.array([1.5, -2.0, 3.0])
    model = FlatModel(layout)
    model.fill(layout.chunks[0], memoryview(b"x" + values.tobytes())[1:])
    assert model.tensors()["a"].tolist() == values.tolist()


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"a": np.zeros(2)}, "tensor 'b' is missing"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, r"tensor 'b' is float64\[3\], expected float64\[2\]"),
        ({"a": np.zeros(2), "b": np.zeros(2, np.float32)}, "tensor 'b' is float32"),
        ({"a": np.zeros(2), "b": np.zeros(2), "c": np.zeros(2)}, "tensor 'c' is not part of the model"),
        ({"a": np.zeros(2), "b": [0.0, 0.0]}, "tensor 'b' is a list"),
    ],
)
def test_weights_of_another_layout_are_refused_before_the_first_chunk(
    weights: dict[str, Array], words: str
) -> None:
    layout = Layout.of({"a": np.zeros(2), "b": np.zeros(2)}, chunk_bytes=8, shards=1)
    with pytest.raises(UsageError, match=words):
        weight_chunks(layout, weights)


@pytest.mark.parametrize("value", [2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63)])
def test_integers_beyond_float64_are_refused_by_name(value: int) -> None:
    weights = {"a": np.array([2**53, -(2**53)]), "empty": np.zeros(0, np.int64), "b": np.array([7, value])}
    layout = Layout.of(weights, chunk_bytes=24, shards=1)
    with pytest.raises(UsageError, match=r"tensor 'b' holds an integer beyond 2\^53"):
        list(weight_chunks(layout, weights))


def test_bfloat16_has_bytes() -> None:
    assert payload(np.array([1.0], ml_dtypes.bfloat16)).tobytes() == b"\x80\x3f"
    assert payload(np.zeros(0, ml_dtypes.bfloat16)).nbytes == 0
