"""Norm clipping: the mean of the updates, each shortened to a largest Euclidean norm.

Sun, Kairouz, Suresh, McMahan 2019, "Can You Really Backdoor Federated Learning?", section 4. Unlike there, each
client counts once: `num_examples` is a client's own word, and a bound on updates that leaves their weights to the
liar bounds nothing. So one client of n moves the mean by at most bound / n, whatever it sends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fdstream.aggregation.rule import MAX_MEASURED_CLIENTS, Reduce, Statistic, Weights, limited
from fdstream.aggregation.squares import STEP_LOG2


@dataclass(frozen=True, slots=True)
class ClippedMean:
    """The mean of update * min(1, bound / norm), unweighted."""

    bound: float
    statistic: Statistic = Statistic.NORMS
    reduce: Reduce | None = None

    def weight_on_arrival(self, num_examples: int) -> int | None:
        """Most updates are shorter than the bound and need not be read again."""
        del num_examples
        return 1

    def weights(self, num_examples: Sequence[int], statistics: Sequence[int]) -> Weights:
        del num_examples
        return Weights(tuple(factor(squared, self.bound) for squared in statistics), len(statistics))

    def check(self, min_clients: int, max_clients: int) -> None:
        del min_clients
        limited("clipping", max_clients, MAX_MEASURED_CLIENTS)


def factor(squared_norm: int, bound: float) -> float:
    """min(1, bound / norm) with one rounding each for the norm and the quotient; `squared_norm` as in `squares`."""
    norm = math.sqrt(squared_norm) * 2.0**STEP_LOG2
    return 1.0 if norm <= bound else bound / norm
