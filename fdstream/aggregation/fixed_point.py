"""Exact, order-free, invertible sums of weighted updates.

A value v with weight n contributes q(v*n): the product in float64 (exact for float32 values and whole weights),
rounded half-even to a multiple of 2^-52. The sum of such multiples is kept in two int64 limbs, `hi` in halves and
`lo` in steps of 2^-52, both modulo 2^64. Integer addition is associative and has an inverse, so neither the
order nor what was added and taken out again can show in the result, and only the final sum has to fit.

How a float becomes two integers without a conversion instruction, x being the product, |x| < 2^50:

    t = x + M                  M = 1.5 * 2^51. Floats in [2^51, 2^52) lie a half apart, so t is M plus x
                               rounded to halves, and t's bits, read as int64, are bits(M) plus the number
                               of halves: they are added to `hi`.
    u = x - (t - (M + 1.5))    Only the last rounding is inexact: u is 1.5 plus a rest in [-1/4, 1/4]. Floats
                               in [1, 2) lie 2^-52 apart, so u's bits are bits(1.5) plus the number of steps:
                               they are added to `lo`.

The constants bits(M) and bits(1.5) add up to multiples that are known and taken out modulo 2^64. Rounding to
halves and then to steps is rounding to steps at once: a half is an even number of steps.

One sum must not be used by two threads at once; different sums may (numpy releases the interpreter lock).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fdstream.messages import MAX_NUM_EXAMPLES

MAX_WEIGHTED_VALUE: Final = float(1 << 40)
"""Largest |value * weight| that is summed: 10^6 times 10^6 examples passes."""

Values = npt.NDArray[np.float32] | npt.NDArray[np.float64] | npt.NDArray[Any]
Limb = npt.NDArray[np.int64]

_HALVES: Final = np.float64(1.5 * 2.0**51)
_HALVES_AND_REST: Final = np.float64(1.5 * 2.0**51 + 1.5)
_HALVES_BITS: Final = int(_HALVES.view(np.int64))
_REST_BITS: Final = int(np.float64(1.5).view(np.int64))
_STEP: Final = np.float64(2.0**-52)
_STEPS_PER_HALF_LOG2: Final = 51

_FOLDS_PER_CARRY: Final = 1024  # each moves `lo` by at most 2^50, so it stays below 2^63
_BLOCK_ELEMENTS: Final = 1 << 18  # a default chunk is one block: shorter calls make threads queue for the GIL


def admissible(values: Values, weight: float) -> bool:
    """Whether every value is finite and |value * weight| is at most `MAX_WEIGHTED_VALUE`.

    `values` is float32 or float64; raises `ValueError` for a weight that is not above 0 and at most
    `MAX_NUM_EXAMPLES`.
    """
    factor = _factor(weight)
    if values.size == 0:
        return True
    with np.errstate(invalid="ignore", over="ignore"):
        low, high = np.float64(values.min()) * factor, np.float64(values.max()) * factor
    # NaN shows in both extremes and compares false.
    return bool(low >= -MAX_WEIGHTED_VALUE and high <= MAX_WEIGHTED_VALUE)


class FixedPointSum:
    """The exact sum of weighted vectors of `size` elements; 16 bytes an element.

    The result is right while its magnitude is below 2^59: 2^19 updates at the limit.
    """

    def __init__(self, size: int) -> None:
        self._hi: Limb = np.zeros(size, np.int64)
        self._lo: Limb = np.zeros(size, np.int64)
        self._constants = 0  # adds minus subtracts whose constants are still in the limbs
        self._folds = 0  # adds plus subtracts since the last carry

    def add(self, values: Values, weight: float) -> None:
        """Add `values` (float32 or float64, [size]) times `weight`.

        Raises `ValueError`, changing nothing, for what is not `admissible` or has another shape or dtype.
        """
        self._fold(values, weight, np.add)
        self._constants += 1

    def clear(self) -> None:
        """Back to zero, in the memory that is there: touching new memory costs more than a fold."""
        self._hi.fill(0)
        self._lo.fill(0)
        self._constants = self._folds = 0

    def subtract(self, values: Values, weight: float) -> None:
        """Take out what `add` with the same arguments put in; raises like it."""
        self._fold(values, weight, np.subtract)
        self._constants -= 1

    def total(self) -> npt.NDArray[np.float64]:
        """The exact sum, rounded once (half-even) to float64; [size]. Zero is never negative."""
        self._carry()
        total: npt.NDArray[np.float64] = self._hi * np.float64(0.5) + self._lo * _STEP
        wide = np.flatnonzero(np.abs(self._hi) > 1 << 53)
        if wide.size:
            # Here `hi` itself must be rounded. Of `lo` only matters then whether it is above zero, to break ties.
            total[wide] = (self._hi[wide] * 4 + (self._lo[wide] > 0)) * np.float64(0.125)
        return total

    def _fold(self, values: Values, weight: float, fold: np.ufunc) -> None:
        if values.shape != self._hi.shape or values.dtype not in (np.float32, np.float64):
            raise ValueError(
                f"cannot add {values.dtype.name}{list(values.shape)} to {self._hi.size} elements"
            )
        if not admissible(values, weight):
            raise ValueError(f"a value times {weight} is not finite or beyond {MAX_WEIGHTED_VALUE:g}")
        if self._folds == _FOLDS_PER_CARRY:
            self._carry()
        self._folds += 1
        factor = _factor(weight)
        scratch = np.empty((2, min(_BLOCK_ELEMENTS, values.size)))
        for start in range(0, values.size, _BLOCK_ELEMENTS):
            block = slice(start, start + _BLOCK_ELEMENTS)
            _fold_block(values[block], factor, self._hi[block], self._lo[block], scratch, fold)

    def _carry(self) -> None:
        """Bring the limbs to the one form with `lo` in [0, 2^51)."""
        if self._folds == 0:
            return
        self._hi -= _wrapped(self._constants * _HALVES_BITS)
        self._lo -= _wrapped(self._constants * _REST_BITS)
        self._hi += self._lo >> _STEPS_PER_HALF_LOG2
        self._lo &= (1 << _STEPS_PER_HALF_LOG2) - 1
        self._constants = self._folds = 0


def _fold_block(
    values: Values,
    factor: np.float64,
    hi: Limb,
    lo: Limb,
    scratch: npt.NDArray[np.float64],
    fold: np.ufunc,
) -> None:
    x, t = scratch[0, : values.size], scratch[1, : values.size]
    np.copyto(x, values)  # first, because numpy would multiply float32 values in float32
    np.multiply(x, factor, out=x)
    np.add(x, _HALVES, out=t)
    fold(hi, t.view(np.int64), out=hi)
    np.subtract(t, _HALVES_AND_REST, out=t)
    np.subtract(x, t, out=x)
    fold(lo, x.view(np.int64), out=lo)


def _factor(weight: float) -> np.float64:
    if not 0 < weight <= MAX_NUM_EXAMPLES:
        raise ValueError(f"a weight is {weight}, not above 0 and at most {MAX_NUM_EXAMPLES}")
    return np.float64(weight)


def _wrapped(number: int) -> np.int64:
    """The int64 that equals `number` modulo 2^64."""
    return np.int64((number + (1 << 63)) % (1 << 64) - (1 << 63))
