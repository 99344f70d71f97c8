"""Squared norms and distances are those of the elements as whole numbers of steps, to the last bit."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.aggregation import squares
from fdstream.aggregation.squares import squared_distances, squared_norm

ELEMENTS = st.one_of(
    st.floats(-(2.0**40), 2.0**40, width=32),
    st.floats(-1.0, 1.0, width=32),
    st.sampled_from([0.0, -0.0, 2.0**40, -(2.0**40), 2.0**-37, 3 * 2.0**-37, 2.0**-36, 2.0**17, 1e-30]),
)


def steps(values: npt.NDArray[Any]) -> list[int]:
    return [round(Fraction(float(value)) * 2**36) for value in values]


def distance(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> int:
    return sum((a - b) ** 2 for a, b in zip(steps(first), steps(second), strict=True))


@given(st.lists(ELEMENTS, max_size=9), st.sampled_from([np.float32, np.float64]))
def test_a_norm_is_exact(elements: list[float], dtype: type) -> None:
    values: npt.NDArray[Any] = np.array(elements, dtype)
    assert squared_norm(values) == distance(values, np.zeros_like(values))


@given(st.data(), st.integers(1, 5), st.integers(0, 6), st.sampled_from([1, 3, 1 << 21]))
def test_distances_are_exact_whatever_the_block(
    data: st.DataObject, members: int, size: int, most: int
) -> None:
    rows = [data.draw(st.lists(ELEMENTS, min_size=size, max_size=size)) for _ in range(members)]
    tile = np.array(rows, np.float32).reshape(members, size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(squares, "_MOST_ELEMENTS", most)
        found = squared_distances(tile)
    assert found.tolist() == [[distance(a, b) for b in tile] for a in tile]


def test_the_largest_values_in_long_vectors_stay_exact() -> None:
    tile = np.full((3, (1 << 18) + 5), 2.0**40)
    tile[1] *= -1
    tile[2] = np.nextafter(np.float32(2.0**40), np.float32(0))
    found = squared_distances(tile)
    size = tile.shape[1]
    assert found[0, 1] == size * 2 ** (2 * 77)
    assert found[0, 2] == size * (2**76 - steps(tile[2, :1])[0]) ** 2
    assert squared_norm(tile[0]) == size * 2**152


def test_distances_are_those_of_plain_numpy() -> None:
    rng = np.random.default_rng(3)
    tile = rng.standard_normal((7, 5000)).astype(np.float32)
    expected = ((tile[:, None].astype(np.float64) - tile[None]) ** 2).sum(axis=2)
    found = squared_distances(tile).astype(np.float64) * 2.0**-72
    np.testing.assert_allclose(found, expected, rtol=1e-9)
