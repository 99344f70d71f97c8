"""The next chunk is the strategy's result in float64, rounded once to the dtype that is published."""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.aggregation.apply import next_chunk, rounded
from fdstream.aggregation.fixed_point import FixedPointSum
from fdstream.aggregation.strategies import strategy
from fdstream.dtypes import DTYPES, payload, update_dtype
from fdstream.flat import FlatModel, update_chunks, weight_chunks
from fdstream.layout import Layout

FLOATS = ["float16", "bfloat16", "float32", "float64"]
INTEGERS = [name for name in DTYPES if "int" in name]

WITH_RATE = ["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"]


def finite(values: Any) -> Any:
    with np.errstate(invalid="ignore"):  # signalling NaN among them
        return values[np.isfinite(values)]


@cache
def grid(name: str) -> list[float]:
    """Every finite, non-negative value of a 16-bit float type in order, so that parity is position."""
    values = np.arange(1 << 15, dtype=np.uint16).view(DTYPES[name])
    positive: list[float] = finite(values).astype(np.float64).tolist()
    return positive


def nearest(value: float, name: str) -> float:
    """Half-even rounding on the grid by rational comparison; beyond its end, the end."""
    values, size = grid(name), abs(Fraction(value))
    place = bisect_left(values, size)
    if place == len(values):
        return float(np.copysign(values[-1], value))
    if values[place] == size:
        return float(np.copysign(values[place], value))
    below, above = size - Fraction(values[place - 1]), Fraction(values[place]) - size
    up = above < below or (above == below and place % 2 == 0)
    return float(np.copysign(values[place if up else place - 1], value))


def near_ties(name: str) -> st.SearchStrategy[float]:
    """Midpoints of neighbours on the grid, or a hair beside them: where rounding twice goes wrong."""
    return st.builds(
        lambda place, hair, sign: sign * (grid(name)[place] + grid(name)[place + 1]) / 2 * (1 + hair),
        st.integers(0, len(grid(name)) - 2),
        st.sampled_from([0.0, 2.0**-52, -(2.0**-53), 2.0**-40, -(2.0**-40), 2.0**-26, -(2.0**-26)]),
        st.sampled_from([1, -1]),
    )


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
@given(st.data())
def test_narrow_floats_are_rounded_exactly_once(name: str, data: st.DataObject) -> None:
    element = st.one_of(
        near_ties(name), st.floats(allow_nan=False, allow_infinity=False), st.floats(-70000, 70000)
    )
    values = np.array(data.draw(st.lists(element, min_size=1, max_size=20)))
    found = rounded(values, DTYPES[name])
    assert found.dtype == DTYPES[name]
    expected = [nearest(value, name) for value in values.tolist()]
    assert found.astype(np.float64).tobytes() == np.array(expected).tobytes()


@pytest.mark.parametrize("name", FLOATS)
def test_floats_saturate_and_keep_every_value_of_their_own(name: str) -> None:
    dtype = DTYPES[name]
    top = grid(name)[-1] if name in {"float16", "bfloat16"} else float(np.finfo(dtype).max)
    ends = np.array([np.inf, -np.inf, top, -top, 0.0, -0.0])
    assert rounded(ends, dtype).astype(np.float64).tolist() == [top, -top, top, -top, 0.0, 0.0]
    rng = np.random.default_rng(0)
    own = rng.integers(0, 256, 8000, np.uint8).view(dtype)
    own = finite(own)
    assert rounded(own.astype(np.float64), dtype).tobytes() == own.tobytes()


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_round_half_even_then_clip(name: str) -> None:
    limits = np.iinfo(DTYPES[name])
    low, high = max(limits.min, -(2**53)), min(limits.max, 2**53)
    values = np.array([0.5, 1.5, 2.5, 2.5000000001, 99.0, 1e300, -1e300, high, low, high + 0.4])
    expected = [0, 2, 2, 3, 99, high, low, high, low, high]
    assert rounded(values, DTYPES[name]).tolist() == expected
    if limits.min < 0:
        assert rounded(np.array([-0.5, -1.5]), DTYPES[name]).tolist() == [0, -2]


def values_of(name: str, count: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 100, count).astype(DTYPES[name])
        if "int" in name
        else rng.normal(size=count).astype(DTYPES[name])
    )


@pytest.mark.parametrize("text", WITH_RATE)
@pytest.mark.parametrize("name", DTYPES)
def test_next_chunk_is_the_step_in_float64_rounded_at_the_end(name: str, text: str) -> None:
    chosen, stored = strategy(text), update_dtype(name)
    weights = values_of(name, 9, 1)
    total = np.random.default_rng(2).normal(size=9) * 300
    state = tuple(np.abs(values_of(stored.name, 9, part)) for part in range(chosen.state_parts))
    new, new_state = next_chunk(chosen, weights, total, 300, state)
    wide, wide_state = chosen.step(
        weights.astype(np.float64), total / 300.0, tuple(part.astype(np.float64) for part in state)
    )
    assert (new.dtype, [part.dtype for part in new_state]) == (weights.dtype, [stored] * len(state))
    assert new.tobytes() == rounded(wide, weights.dtype).tobytes()
    for part, expected in zip(new_state, wide_state, strict=True):
        assert part.tobytes() == rounded(expected, stored).tobytes()


@pytest.mark.parametrize("text", WITH_RATE)
def test_a_reader_continues_from_the_bytes_the_writer_published(text: str) -> None:
    """Two rounds in one process equal two rounds with the chunks going over the wire in between."""
    chosen = strategy(text)
    weights = values_of("float32", 50, 1)
    state = chosen.initial_state(50, np.dtype(np.float32))
    totals = np.random.default_rng(3).normal(size=(2, 50)) * 1e3
    written, read = (weights, state), (weights, state)
    for total in totals:
        written = next_chunk(chosen, written[0], total, 7, written[1])
        read = next_chunk(chosen, read[0], total, 7, read[1])
        read = tuple_from_bytes(read)
    assert written[0].tobytes() == read[0].tobytes()
    assert [part.tobytes() for part in written[1]] == [part.tobytes() for part in read[1]]


def tuple_from_bytes(chunk: tuple[Any, tuple[Any, ...]]) -> tuple[Any, tuple[Any, ...]]:
    weights, state = chunk
    return np.frombuffer(bytes(payload(weights)), weights.dtype), tuple(
        np.frombuffer(bytes(payload(part)), part.dtype) for part in state
    )


@pytest.mark.parametrize("text", WITH_RATE)
def test_the_largest_updates_never_make_a_model_infinite(text: str) -> None:
    chosen = strategy(f"{text}:lr=1e6")
    weights = np.array([3e38, -3e38, 0, 1], np.float32)
    state = chosen.initial_state(4, np.dtype(np.float32))
    for _ in range(20):
        total = np.array([2.0**40, -(2.0**40), 2.0**40, 0.0])
        weights, state = next_chunk(chosen, weights, total, 1, state)
        assert np.isfinite(weights).all()
        assert all(np.isfinite(part).all() for part in state)


def test_a_cohort_without_examples_has_no_mean() -> None:
    with pytest.raises(ValueError, match="0 examples"):
        next_chunk(strategy("fedavg"), np.zeros(1), np.zeros(1), 0, ())


@pytest.mark.parametrize("name", DTYPES)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 1000)), min_size=1, max_size=5))
def test_a_round_of_fedavg_is_the_mean_of_the_models(name: str, cohort: list[tuple[int, int]]) -> None:
    """From arrays to arrays: to half a step of the dtype, plus what the update's own rounding may cost."""
    layout = Layout.of({"w": values_of(name, 30, 0)}, chunk_bytes=64, shards=2)
    received = FlatModel(layout)
    for spec, values in weight_chunks(layout, {"w": values_of(name, 30, 0)}):
        received.fill(spec, payload(values))
    sums = {spec.index: FixedPointSum(spec.size) for spec in layout.chunks}
    for seed, weight in cohort:
        for spec, update in update_chunks(layout, received, {"w": values_of(name, 30, seed)}):
            sums[spec.index].add(update, weight)
    weights = sum(weight for _, weight in cohort)
    following = FlatModel(layout)
    for spec in layout.chunks:
        new, _ = next_chunk(strategy("fedavg"), received.chunk(spec), sums[spec.index].total(), weights, ())
        following.fill(spec, payload(new))
    wide = [values_of(name, 30, seed).astype(np.float64) * weight for seed, weight in cohort]
    mean = np.sum(wide, axis=0) / weights
    found = following.tensors()["w"].astype(np.float64)
    step = {"float16": 2.0**-9, "bfloat16": 2.0**-6, "float32": 2.0**-21, "float64": 2.0**-48}.get(name, 0.5)
    assert np.abs(found - mean).max() <= step + 1e-9
