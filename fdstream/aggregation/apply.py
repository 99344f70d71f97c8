"""One chunk of the next model, from its old weights, the cohort's exact sum and the strategy.

Everything between is float64; values are rounded once, to the dtype in which they are published. Whoever
computed a chunk and whoever reads it continue from the same bytes.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fdstream.aggregation.strategy import Strategy, Vector
from fdstream.dtypes import DTYPES, MAX_EXACT_INTEGER, Array, update_dtype

_BFLOAT16: Final = DTYPES["bfloat16"]
_BFLOAT16_MAX: Final = (2.0 - 2.0**-7) * 2.0**127


def next_chunk(
    strategy: Strategy, weights: Array, total: Vector, total_weight: int, state: tuple[Array, ...]
) -> tuple[Array, tuple[Array, ...]]:
    """The new weights, in the dtype of `weights`, and the new state, in its update dtype.

    weights [n]; total [n] is `FixedPointSum.total()` of the cohort; total_weight is the cohort's num_examples
    (at least 1, or `ValueError`); state has `strategy.state_parts` vectors [n].
    """
    if total_weight < 1:
        raise ValueError(f"the cohort has {total_weight} examples, so there is no mean")
    mean = total / np.float64(total_weight)
    old_state = tuple(part.astype(np.float64) for part in state)
    new_weights, new_state = strategy.step(weights.astype(np.float64), mean, old_state)
    stored = update_dtype(weights.dtype)
    return rounded(new_weights, weights.dtype), tuple(rounded(part, stored) for part in new_state)


def rounded(values: Vector, dtype: np.dtype[Any]) -> Array:
    """`values` in `dtype`: rounded once, half to even, where it lies between two; [n].

    What is beyond the dtype's finite range becomes its largest finite value: a model never turns infinite.
    Integers end at 2^53 even where the dtype goes on, because updates of larger ones are not exact.
    """
    within = np.clip(values, *_limits(dtype))
    if dtype.kind in "iu":
        return np.rint(within).astype(dtype)
    return _to_bfloat16(within) if dtype == _BFLOAT16 else within.astype(dtype)


def _limits(dtype: np.dtype[Any]) -> tuple[float, float]:
    if dtype.kind in "iu":
        integers = np.iinfo(dtype)
        return float(max(integers.min, -MAX_EXACT_INTEGER)), float(min(integers.max, MAX_EXACT_INTEGER))
    largest = _BFLOAT16_MAX if dtype == _BFLOAT16 else float(np.finfo(dtype).max)
    return -largest, largest


def _to_bfloat16(values: Vector) -> Array:
    """One rounding, where a cast would round to float32 first and then again.

    The float32 between is rounded to odd (towards zero, then the last bit set if that was inexact), which
    keeps what the second rounding has to know: Boldo and Melquiond 2008, "Emulation of a FMA and correctly
    rounded sums: proved algorithms using rounding to odd".
    """
    between = values.astype(np.float32)
    exact: npt.NDArray[np.float64] = between.astype(np.float64)
    bits = between.view(np.uint32)
    bits -= np.abs(exact) > np.abs(values)
    bits |= exact != values
    return between.astype(_BFLOAT16)
