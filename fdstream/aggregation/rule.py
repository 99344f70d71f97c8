"""What an aggregation rule is: how a cohort's updates become one, the aggregate that a strategy steps along.

A rule is either a weighted mean, whose weights may depend on integer statistics of whole updates, or a reduction of
the cohort's values element by element. Both are functions of the cohort alone: no order of arrival, no number of
servers and no block size can show, because sums and statistics are exact integers and reductions see one element at
a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fdstream.errors import UsageError

Tile = npt.NDArray[Any]  # [members, elements] in an update dtype: the same elements of each member's update
Reduce = Callable[[Tile], npt.NDArray[np.float64]]  # -> [elements]; may reorder the tile's columns

MAX_PAIRED_CLIENTS: Final = 256
"""Most clients whose pairs fit into one verdict: 32,640 statistics of 25 bytes."""

MAX_MEASURED_CLIENTS: Final = 20_000
"""Most clients whose norms fit into one verdict."""


class Statistic(Enum):
    """What a shard's verdict says of the updates for the rule, so that each shard's owner knows it of all shards."""

    NONE = "nothing"
    NORMS = "the squared norm of each candidate's slice"
    DISTANCES = "the squared distance of each pair of candidates' slices"


@dataclass(frozen=True, slots=True)
class Weights:
    """The aggregate is the sum of update * weight, divided by `total`; a member with weight 0 is left out."""

    of_members: tuple[float, ...]
    total: int


class Rule(Protocol):
    """How a cohort's updates become one."""

    @property
    def statistic(self) -> Statistic:
        """What the rule has to know of whole updates before it can weigh them."""

    @property
    def reduce(self) -> Reduce | None:
        """The reduction of one block of elements; None for a weighted mean."""

    def weight_on_arrival(self, num_examples: int) -> int | None:
        """The weight with which an update is summed while the round is open; None: not before the cohort is known."""

    def weights(self, num_examples: Sequence[int], statistics: Sequence[Any]) -> Weights:
        """Of a cohort in the order of the log, with its statistics over all shards: see `squares`."""

    def check(self, min_clients: int, max_clients: int) -> None:
        """Raises `UsageError` where cohorts of these sizes cannot give what the rule is for."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The mean weighted by num_examples, summed as updates arrive."""

    statistic: Statistic = Statistic.NONE
    reduce: Reduce | None = None

    def weight_on_arrival(self, num_examples: int) -> int | None:
        return num_examples

    def weights(self, num_examples: Sequence[int], statistics: Sequence[Any]) -> Weights:
        del statistics
        return Weights(tuple(num_examples), sum(num_examples))

    def check(self, min_clients: int, max_clients: int) -> None:
        """Any cohort has a mean."""


MEAN: Final = Mean()


def limited(name: str, max_clients: int, most: int) -> None:
    """Raises `UsageError` where a round's statistics would not fit into one record."""
    if max_clients > most:
        raise UsageError(
            f"{name} compares at most {most:,} clients a round, and --maxclients is {max_clients:,}: lower it"
        )
