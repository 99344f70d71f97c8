"""Krum and Multi-Krum: the updates that lie closest to their neighbours.

Blanchard, El Mhamdi, Guerraoui, Stainer 2017, "Machine Learning with Adversaries: Byzantine Tolerant Gradient
Descent", sections 3 and 4. An update's score is the sum of its squared distances to the n - f - 2 nearest others;
Krum takes the update with the lowest score, Multi-Krum the mean of the m lowest. Each client counts once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fdstream.aggregation.fedavg import fedavg
from fdstream.aggregation.rule import MAX_PAIRED_CLIENTS, Reduce, Statistic, Weights, limited
from fdstream.aggregation.strategy import Strategy
from fdstream.errors import UsageError


def krum(*, f: float) -> Strategy:
    """weights + the update with the lowest score, of a cohort with at most `f` liars. No state."""
    liars = _whole("krum", "f", f)
    return Strategy("krum", {"f": liars}, (), fedavg().step, Krum("krum", liars, 1))


def multi_krum(*, f: float, m: float) -> Strategy:
    """weights + the mean of the `m` updates with the lowest scores. No state."""
    liars, selected = _whole("multi-krum", "f", f), _whole("multi-krum", "m", m)
    rule = Krum("multi-krum", liars, selected)
    return Strategy("multi-krum", {"f": liars, "m": selected}, (), fedavg().step, rule)


@dataclass(frozen=True, slots=True)
class Krum:
    """The mean of the `selected` updates with the lowest scores."""

    name: str
    liars: int
    selected: int
    statistic: Statistic = Statistic.DISTANCES
    reduce: Reduce | None = None

    def weight_on_arrival(self, num_examples: int) -> int | None:
        del num_examples
        return None

    def weights(self, num_examples: Sequence[int], statistics: Sequence[Sequence[int]]) -> Weights:
        """`statistics` are the squared distances, [members, members]."""
        del num_examples
        chosen = set(lowest_scores(statistics, self.liars)[: self.selected])
        return Weights(tuple(int(member in chosen) for member in range(len(statistics))), self.selected)

    def check(self, min_clients: int, max_clients: int) -> None:
        limited(self.name, max_clients, MAX_PAIRED_CLIENTS)
        if min_clients < 2 * self.liars + 3:
            raise UsageError(
                f"{self.name}: among {self.liars} liars it needs 2f + 3 = {2 * self.liars + 3} clients, and "
                f"--minclients is {min_clients}: raise it or lower f"
            )
        if self.selected > min_clients - self.liars - 2:
            raise UsageError(
                f"{self.name}: m is {self.selected}; of {min_clients} clients with {self.liars} liars at most "
                f"n - f - 2 = {min_clients - self.liars - 2} are surely near others: raise --minclients or lower m"
            )


def lowest_scores(distances: Sequence[Sequence[int]], liars: int) -> list[int]:
    """The members by score, the lowest first; of equal ones the first in the log. `distances` [members, members]."""
    neighbours = len(distances) - liars - 2
    scores = [
        # Its own distance, 0, is the lowest of all.
        sum(sorted(row)[1 : neighbours + 1])
        for row in distances
    ]
    return sorted(range(len(scores)), key=scores.__getitem__)


def _whole(strategy: str, name: str, value: float) -> int:
    if not 1 <= value <= MAX_PAIRED_CLIENTS or value != int(value):
        raise UsageError(
            f"{strategy}: {name} is {value:g}; it must be a whole number from 1 to {MAX_PAIRED_CLIENTS}"
        )
    return int(value)
