"""The coordinate-wise median.

Yin, Chen, Ramchandran, Bartlett 2018, "Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates",
definition 1. It withstands fewer liars than half of a cohort.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fdstream.aggregation.coordinatewise import Coordinatewise
from fdstream.aggregation.fedavg import fedavg
from fdstream.aggregation.rule import Tile
from fdstream.aggregation.strategy import Strategy
from fdstream.errors import UsageError


def median() -> Strategy:
    """weights + median of the updates. No state."""
    return Strategy("median", {}, (), fedavg().step, Coordinatewise(middle, _check))


def middle(tile: Tile) -> npt.NDArray[np.float64]:
    """The middle value of each column, of an even number the mean of the two in float64; zero is never negative."""
    members = len(tile)
    low, high = (members - 1) // 2, members // 2
    tile.partition((low, high), axis=0)
    middles: npt.NDArray[np.float64] = (tile[low].astype(np.float64) + tile[high].astype(np.float64)) / 2.0
    return middles + 0.0  # which of -0.0 and 0.0 stands in the middle is up to the sort


def _check(min_clients: int, max_clients: int) -> None:
    del max_clients
    if min_clients < 3:
        raise UsageError(
            f"median: of {min_clients} clients no liar can be outvoted: raise --minclients to 3 or more"
        )
