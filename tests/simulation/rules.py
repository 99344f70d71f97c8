"""What a cohort's updates must come to under each aggregation rule, in whole numbers and fractions, one at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction

import numpy as np

from fdstream.dtypes import Array
from fdstream.messages import Settings
from tests.simulation.oracle import _on_grid

Member = Mapping[int, Array]  # chunk index -> values as readers decode them
Totals = dict[int, Array]
SQUARES = 2**36


def aggregate(settings: Settings, members: Sequence[Member], counts: Sequence[int]) -> tuple[Totals, int]:
    """The totals of every chunk, and what they are to be divided by."""
    name, _, hyper = settings.strategy.partition(":")
    numbers = [Fraction(item.rpartition("=")[2]) for item in hyper.split(",")] if hyper else []
    if settings.clip:
        factors = [clipping_factor(member, settings.clip) for member in members]
        return summed(members, factors), len(members)
    if name == "median":
        return columnwise(members, middle), 1
    if name == "trimmed-mean":
        return columnwise(members, lambda column: trimmed_mean(column, numbers[0])), 1
    if name in ("krum", "multi-krum"):
        selected = int(numbers[1]) if name == "multi-krum" else 1
        chosen = krum(members, int(numbers[0]))[:selected]
        return summed([members[place] for place in chosen], [1] * selected), selected
    return summed(members, counts), sum(counts)


def summed(members: Sequence[Member], weights: Sequence[float]) -> Totals:
    return {
        index: np.array(
            [
                float(
                    sum(
                        (_on_grid(float(m[index][i]), w) for m, w in zip(members, weights, strict=True)),
                        Fraction(0),
                    )
                )
                for i in range(values.size)
            ]
        )
        for index, values in members[0].items()
    }


def columnwise(members: Sequence[Member], reduce: Callable[[list[Fraction]], float]) -> Totals:
    return {
        index: np.array(
            [reduce(sorted(Fraction(float(m[index][i])) for m in members)) for i in range(values.size)]
        )
        for index, values in members[0].items()
    }


def middle(column: list[Fraction]) -> float:
    half = len(column) // 2
    return float(column[half]) if len(column) % 2 else float(column[half - 1] + column[half]) / 2


def trimmed_mean(column: list[Fraction], beta: Fraction) -> float:
    left_out = math.floor(beta * len(column))
    kept = column[left_out : len(column) - left_out]
    return float(sum((_on_grid(float(value), 1) for value in kept), Fraction(0))) / len(kept)


def whole(member: Member) -> list[int]:
    """Every element of the update in steps of 2^-36."""
    return [round(Fraction(float(v)) * SQUARES) for _, values in sorted(member.items()) for v in values]


def clipping_factor(member: Member, bound: float) -> float:
    norm = math.sqrt(sum(number**2 for number in whole(member))) / SQUARES
    return 1.0 if norm <= bound else bound / norm


def krum(members: Sequence[Member], liars: int) -> list[int]:
    """The members by score, the lowest first."""
    points = [whole(member) for member in members]

    def score(place: int) -> int:
        others = [other for number, other in enumerate(points) if number != place]
        distances = [sum((a - b) ** 2 for a, b in zip(points[place], o, strict=True)) for o in others]
        return sum(sorted(distances)[: len(points) - liars - 2])

    return sorted(range(len(points)), key=lambda place: (score(place), place))
