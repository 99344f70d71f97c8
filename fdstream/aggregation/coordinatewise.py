"""Rules that look at one element of every update at a time. Each client counts once, whatever its num_examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fdstream.aggregation.rule import Reduce, Statistic, Weights


@dataclass(frozen=True, slots=True)
class Coordinatewise:
    """The reduction `reduce` of each element over the cohort; `refuse` is the rule's `check`."""

    reduce: Reduce | None
    refuse: Callable[[int, int], None]
    statistic: Statistic = Statistic.NONE

    def weight_on_arrival(self, num_examples: int) -> int | None:
        del num_examples
        return None

    def weights(self, num_examples: Sequence[int], statistics: Sequence[Any]) -> Weights:
        """What `reduce` gives is the aggregate already."""
        del statistics
        return Weights((1,) * len(num_examples), 1)

    def check(self, min_clients: int, max_clients: int) -> None:
        self.refuse(min_clients, max_clients)
