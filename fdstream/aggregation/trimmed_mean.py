"""The coordinate-wise trimmed mean.

Yin, Chen, Ramchandran, Bartlett 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
definition 2. Of each element the `beta` largest and the `beta` smallest part of the values is left out; it withstands
as many liars as are left out on one side.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from fdstream.aggregation.coordinatewise import Coordinatewise
from fdstream.aggregation.fedavg import fedavg
from fdstream.aggregation.fixed_point import FixedPointSum
from fdstream.aggregation.rule import Tile
from fdstream.aggregation.strategy import Strategy
from fdstream.errors import UsageError


def trimmed_mean(*, beta: float) -> Strategy:
    """weights + mean of the middle values of the updates. No state."""
    if not 0.0 < beta < 0.5:
        raise UsageError(f"trimmed-mean: beta is {beta:g}; it must be above 0 and below 0.5")

    def reduce(tile: Tile) -> npt.NDArray[np.float64]:
        return mean_between(tile, trimmed(beta, len(tile)))

    def check(min_clients: int, max_clients: int) -> None:
        del max_clients
        if trimmed(beta, min_clients) < 1:
            raise UsageError(
                f"trimmed-mean: a part of {beta:g} of {min_clients} clients is less than one, so no liar would be "
                "left out: raise --minclients or beta"
            )

    return Strategy("trimmed-mean", {"beta": beta}, (), fedavg().step, Coordinatewise(reduce, check))


def trimmed(beta: float, members: int) -> int:
    """How many values are left out on each side: members times the decimal that beta is written as, rounded down.

    >>> trimmed(0.29, 100), 0.29 * 100
    (29, 28.999999999999996)
    """
    return int(Fraction(repr(beta)) * members)


def mean_between(tile: Tile, left_out: int) -> npt.NDArray[np.float64]:
    """The exact mean of each column without its `left_out` smallest and largest, rounded like any sum's."""
    last = len(tile) - left_out - 1
    tile.partition((left_out, last), axis=0)
    total = FixedPointSum(tile.shape[1])
    for row in tile[left_out : last + 1]:
        total.add(row, 1)
    return total.total() / np.float64(last + 1 - left_out)
