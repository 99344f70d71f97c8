"""Sums equal rational arithmetic bit for bit, whatever the order, the split and the detours."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fdstream.aggregation import fixed_point
from fdstream.aggregation.fixed_point import MAX_WEIGHTED_VALUE, FixedPointSum, admissible
from fdstream.messages import MAX_NUM_EXAMPLES

STEP = Fraction(1, 1 << 52)
Update = tuple[Any, int]  # vector, weight


def quantised(value: float, weight: int) -> Fraction:
    """The contribution of one value: Python's float product, rounded half-even to steps by `round`."""
    return round(Fraction(float(value) * float(weight)) / STEP) * STEP


def oracle(updates: Sequence[Update], size: int) -> list[float]:
    """Rational sums, rounded once by `float(Fraction)`, which is correct rounding."""
    return [float(sum(quantised(v[i], n) for v, n in updates)) if updates else 0.0 for i in range(size)]


def summed(updates: Sequence[Update], size: int) -> FixedPointSum:
    total = FixedPointSum(size)
    for values, weight in updates:
        total.add(values, weight)
    return total


def limbs(total: FixedPointSum) -> bytes:
    total.total()
    return total._hi.tobytes() + total._lo.tobytes()


WEIGHTS = st.one_of(st.integers(1, 1_000_000), st.sampled_from([1, 2, MAX_NUM_EXAMPLES]))


@st.composite
def updates(draw: st.DrawFn, size: int) -> Update:
    dtype, width = draw(st.sampled_from([(np.float32, 32), (np.float64, 64)]))
    weight = draw(WEIGHTS)
    limit = float(np.nextafter(np.array(MAX_WEIGHTED_VALUE / weight, dtype), np.array(0, dtype)))
    element = st.one_of(
        st.floats(-limit, limit, width=width),  # type: ignore[arg-type]
        st.floats(-1, 1, width=width).filter(lambda v: abs(v) <= limit),  # type: ignore[arg-type]
        # Ties of both roundings: odd multiples of a quarter, and of half a step.
        st.integers(-(1 << 12), 1 << 12).map(lambda k: k / 4),
        st.integers(-(1 << 12), 1 << 12).map(lambda k: k * 2.0**-53),
        st.sampled_from([limit, -limit, 0.0, -0.0, 0.5, 0.25, 5e-324 if width == 64 else 2.0**-149]),
    )
    return np.array(draw(st.lists(element, min_size=size, max_size=size)), dtype), weight


COHORTS = st.integers(0, 4).flatmap(
    lambda size: st.tuples(st.just(size), st.lists(updates(size), max_size=6))
)


@given(COHORTS)
@settings(max_examples=400)
def test_total_is_the_rational_sum_rounded_once(cohort: tuple[int, list[Update]]) -> None:
    size, members = cohort
    found = summed(members, size).total()
    assert found.dtype == np.float64
    assert found.tobytes() == np.array(oracle(members, size), np.float64).tobytes()


@given(COHORTS, st.randoms(), st.lists(st.integers(0, 6), max_size=4))
def test_neither_order_nor_detours_show(
    cohort: tuple[int, list[Update]], random: Any, detours: list[int]
) -> None:
    """Add in another order, with members taken out and put back on the way."""
    size, members = cohort
    shuffled = random.sample(members, len(members))
    total = summed(shuffled, size)
    for place in (place for place in detours if place < len(members)):
        total.subtract(*members[place])
        total.total()  # looking at a sum does not change it
        total.add(*members[place])
    assert limbs(total) == limbs(summed(members, size))


@given(COHORTS)
def test_a_cleared_sum_is_as_good_as_new(cohort: tuple[int, list[Update]]) -> None:
    size, members = cohort
    total = summed(members, size)
    total.clear()
    assert limbs(total) == limbs(FixedPointSum(size))
    for member in members:
        total.add(*member)
    assert limbs(total) == limbs(summed(members, size))


@given(COHORTS, st.integers(0, 4).flatmap(updates))
def test_taking_out_a_member_leaves_the_bytes_of_the_others(
    cohort: tuple[int, list[Update]], other: Update
) -> None:
    size, members = cohort
    values: Any = np.resize(other[0], size) if other[0].size else np.zeros(size)
    total = FixedPointSum(size)
    total.subtract(values, other[1])  # even before it was added: sums are modular
    for member in members:
        total.add(*member)
    total.add(values, other[1])
    assert limbs(total) == limbs(summed(members, size))


@given(st.lists(updates(3), min_size=1, max_size=4))
def test_any_split_of_a_vector_gives_the_same_elements(members: list[Update]) -> None:
    whole = summed(members, 3).total()
    parts = [summed([(v[i : i + 1], n) for v, n in members], 1).total() for i in range(3)]
    assert whole.tobytes() == np.concatenate(parts).tobytes()


@pytest.mark.parametrize("size", [1, 7, 64, 65, 200])
def test_blocks_do_not_show(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(size)
    members = [(rng.standard_normal(size).astype(np.float32), 37) for _ in range(3)]
    unblocked = summed(members, size)
    monkeypatch.setattr(fixed_point, "_BLOCK_ELEMENTS", 64)
    assert limbs(summed(members, size)) == limbs(unblocked)


@pytest.mark.parametrize("rest", [0.25, -0.25, 0.25 - 2.0**-54, 2.0**-53, 3 * 2.0**-53, 0.75, 1e6 / 3])
@pytest.mark.parametrize("sign", [1, -1])
def test_thousands_of_extreme_rests_never_wrap(rest: float, sign: int) -> None:
    """More folds than the low limb could hold without carrying: 2^13 of a quarter."""
    value, count = np.array([sign * rest, 1.0]), 10_000
    total = FixedPointSum(2)
    for _ in range(count):
        total.add(value, 1)
    assert total.total().tolist() == [float(quantised(sign * rest, 1) * count), float(count)]
    for _ in range(count):
        total.subtract(value, 1)
    assert limbs(total) == limbs(FixedPointSum(2))


@pytest.mark.parametrize("exponent", [51, 52, 53, 54])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_too_long_for_float64_are_still_rounded_once(exponent: int, sign: int) -> None:
    """From 2^52 on float64 holds no halves, from 2^54 on no odd numbers: ties and their neighbours."""
    places = np.array([k / 4 for k in range(-33, 34)])
    rests = np.concatenate([places, places + 2.0**-48, places - 2.0**-48])
    big = np.full(rests.size, sign * MAX_WEIGHTED_VALUE)
    total = FixedPointSum(rests.size)
    for _ in range(1 << (exponent - 40)):
        total.add(big, 1)
    total.add(rests, 1)
    exact = [sign * (1 << exponent) + Fraction(rest) for rest in rests.tolist()]
    assert total.total().tolist() == [float(value) for value in exact]


def test_the_limit_itself_passes_and_the_next_float_does_not() -> None:
    limit = np.array([MAX_WEIGHTED_VALUE, -MAX_WEIGHTED_VALUE])
    assert admissible(limit, 1)
    assert admissible(limit / 1024, 1024)
    assert not admissible(np.nextafter(limit, np.inf), 1)
    assert not admissible(np.nextafter(limit, -np.inf), 1)
    assert not admissible(limit.astype(np.float32), 2)
    assert not admissible(np.array([1.7e308, -1.7e308]), MAX_NUM_EXAMPLES)  # the product overflows


BAD_VALUES = [np.nan, -np.nan, np.inf, -np.inf, 2.0**40 * 1.0001, -(2.0**41), 3e38]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bad", BAD_VALUES)
@pytest.mark.parametrize("place", [0, 70_000, 299_999])
def test_a_refused_chunk_changes_nothing(dtype: type, bad: float, place: int) -> None:
    values: Any = np.full(300_000, 0.1, dtype)  # two blocks
    total = summed([(values, 3)], values.size)
    before = limbs(total)
    values[place] = bad
    assert not admissible(values, 1)
    for fold in (total.add, total.subtract):
        with pytest.raises(ValueError, match="not finite or beyond"):
            fold(values, 1)
    assert limbs(total) == before


@pytest.mark.parametrize("pattern", [0x7F800001, 0xFF800001, 0x7FC00000, 0xFFFFFFFF])
def test_every_kind_of_nan_is_refused_silently(pattern: int) -> None:
    """Signalling ones too, which make processors raise flags and numpy warn."""
    patterns = np.zeros(100, np.uint32)
    patterns[50] = pattern
    assert not admissible(patterns.view(np.float32), 1)


@pytest.mark.parametrize("weight", [0, -1, MAX_NUM_EXAMPLES + 1, 1 << 70])
def test_weights_out_of_range_are_refused(weight: int) -> None:
    values = np.ones(2, np.float32)
    with pytest.raises(ValueError, match="not above 0 and at most"):
        admissible(values, weight)
    with pytest.raises(ValueError, match="not above 0 and at most"):
        FixedPointSum(2).add(values, weight)


@pytest.mark.parametrize(
    "values", [np.ones(3), np.ones((2, 1)), np.ones(2, np.int64), np.ones(2, np.float16), np.ones(2, ">f4")]
)
def test_other_shapes_and_dtypes_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match="cannot add"):
        FixedPointSum(2).add(values, 1)


def test_weights_multiply_in_float64() -> None:
    """16777215 * 0.1f needs 48 bits; a product in float32 would lose half of them."""
    value = np.array([0.1], np.float32)
    exact = Fraction(float(value[0])) * MAX_NUM_EXAMPLES
    assert summed([(value, MAX_NUM_EXAMPLES)], 1).total().tolist() == [float(exact)]


def test_values_may_lie_at_odd_addresses() -> None:
    data = np.arange(6, dtype=np.float32).tobytes()
    values = np.frombuffer(memoryview(b"x" + data)[1:], np.float32)
    assert not values.flags.aligned
    assert summed([(values, 2)], 6).total().tolist() == [0, 2, 4, 6, 8, 10]


@pytest.mark.parametrize("magnitude", [0.0, 1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("weight", [1, 7, 600, 60_000, 1_000_000])
def test_honest_models_pass_and_keep_float32_precision(magnitude: float, weight: int) -> None:
    """The mean of a cohort's float32 updates is right to float32's last place over the whole range."""
    rng = np.random.default_rng(weight)
    vectors = [(magnitude * rng.uniform(-1, 1, 50)).astype(np.float32) for _ in range(8)]
    assert all(admissible(vector, weight) for vector in vectors)
    mean = summed([(vector, weight) for vector in vectors], 50).total() / np.float64(8 * weight)
    for i in range(50):
        exact = sum((Fraction(float(vector[i])) for vector in vectors), Fraction(0)) / 8
        assert abs(Fraction(float(mean[i])) - exact) <= Fraction(magnitude) / (1 << 26)


@given(st.integers(0, 1 << 32), st.integers(1, 40))
def test_the_papers_float64_loop_agrees(seed: int, clients: int) -> None:
    """McMahan et al. 2017, algorithm 1: sum of n_k/n * update_k, to 1e-13 of the largest update."""
    rng = np.random.default_rng(seed)
    scale = 10.0 ** rng.uniform(-6, 6)
    members = [(scale * rng.standard_normal(20), int(rng.integers(1, 10**4))) for _ in range(clients)]
    total_weight = sum(weight for _, weight in members)
    loop = np.zeros(20)
    for values, weight in members:
        loop += weight / total_weight * values
    mean = summed(members, 20).total() / np.float64(total_weight)
    largest = max(float(np.abs(values).max()) for values, _ in members)
    assert float(np.abs(mean - loop).max()) <= 1e-13 * largest + 2.0**-52


def test_an_empty_sum_is_zero_and_takes_empty_chunks() -> None:
    total = FixedPointSum(0)
    total.add(np.empty(0, np.float32), 5)
    assert total.total().tolist() == []
    assert FixedPointSum(2).total().tolist() == [0.0, 0.0]
