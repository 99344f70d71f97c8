"""Exact squared norms and distances of updates, as integers in steps of 2^-72.

An element counts as the multiple of 2^-36 nearest to it (half to even), so squares are integers and sums over
elements, chunks and shards are exact: neither their order nor a block's size shows. The integers, up to 2^76, are cut
into balanced digits to base 2^18. A product of digits is at most 2^34, and 2^18 of them add up to 2^52: each partial
sum is exact in float64, in whatever order a matrix product adds. Splitting factors until products are exact is Ozaki,
Ogita, Oishi and Rump 2012, "Error-free transformations of matrix multiplication".
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fdstream.aggregation.rule import Tile

STEP_LOG2: Final = -36  # of an element; a square's is twice that
_DIGIT_BITS: Final = 18
_MOST_TERMS: Final = 1 << 18
_MOST_ELEMENTS: Final = 1 << 21  # of a block in digits: 16 MiB a digit

Vector = npt.NDArray[np.float64]
Integers = npt.NDArray[np.object_]


def squared_norm(values: npt.NDArray[Any]) -> int:
    """Of finite `values` (float32 or float64, [size]) up to 2^40 in magnitude, in steps of 2^-72."""
    total = 0
    for start in range(0, values.size, _MOST_TERMS):
        digits = _digits(values[start : start + _MOST_TERMS])
        for high, first in enumerate(digits):
            for low, second in enumerate(digits[: high + 1]):
                total += int(np.dot(first, second)) << (_DIGIT_BITS * (high + low) + (low < high))
    return total


def squared_distances(tile: Tile) -> Integers:
    """Between the rows of `tile` (as in `squared_norm`), in steps of 2^-72; [members, members] of Python integers."""
    members, size = tile.shape
    products: Integers = np.zeros((members, members), np.object_)
    width = max(1, min(_MOST_TERMS, _MOST_ELEMENTS // max(members, 1)))
    for start in range(0, size, width):
        _add_products(products, _digits(tile[:, start : start + width]))
    norms = np.diagonal(products)
    distances: Integers = norms[:, None] + norms[None, :] - 2 * products
    return distances


def _add_products(products: Integers, digits: list[Vector]) -> None:
    """Add the rows' scalar products with each other. High digits of few rows cost little: others' are zero."""
    rows = [np.flatnonzero(digit.any(axis=1)) for digit in digits]
    for high, first in enumerate(digits):
        for low, second in enumerate(digits[: high + 1]):
            part = first[rows[high]] @ second[rows[low]].T
            exact = part.astype(np.int64).astype(np.object_) << (_DIGIT_BITS * (high + low))
            products[np.ix_(rows[high], rows[low])] += exact
            if low < high:
                products[np.ix_(rows[low], rows[high])] += exact.T


def _digits(values: npt.NDArray[Any]) -> list[Vector]:
    """The balanced digits of `values` in steps of 2^-36, lowest first, as few as there need be; like `values`."""
    rest: Vector = np.rint(values.astype(np.float64) * np.float64(2.0**-STEP_LOG2))
    largest = float(np.abs(rest).max()) if rest.size else 0.0
    places = 1
    while largest > 2.0 ** (_DIGIT_BITS * places - 1):
        places += 1
    digits: list[Vector] = []
    for place in range(places - 1, 0, -1):
        digit = np.rint(rest * np.float64(2.0 ** (-_DIGIT_BITS * place)))
        rest -= digit * np.float64(2.0 ** (_DIGIT_BITS * place))
        digits.append(digit)
    return [rest, *reversed(digits)]
