"""What a strategy is: how a cohort's updates become one (its rule), and that one the next weights (its step).

A step only uses + - * / and square roots of float64, elementwise and in a written order, so that every
machine computes the same bytes (IEEE 754 rounds these operations correctly, and numpy fuses none of them). It
sees neither shapes nor dtypes nor the other elements, hence it works on any slice of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fdstream.aggregation.rule import MEAN, Rule
from fdstream.errors import UsageError

Vector = npt.NDArray[np.float64]
State = tuple[Vector, ...]
Step = Callable[[Vector, Vector, State], tuple[Vector, State]]


@dataclass(frozen=True)
class Strategy:
    """One configured strategy. Equal where name and hyperparameters are equal."""

    name: str
    hyper: Mapping[str, float] = field(hash=False)
    initial: tuple[float, ...] = field(compare=False)  # what each part of the state starts as
    step: Step = field(compare=False, repr=False)
    """step(weights [n], aggregate [n], state) -> (new weights [n], new state); writes to no argument."""
    rule: Rule = field(default=MEAN, compare=False)
    """How the cohort's updates become the aggregate."""

    @property
    def state_parts(self) -> int:
        """How many vectors of the model's size the strategy carries from round to round."""
        return len(self.initial)

    @property
    def text(self) -> str:
        """The canonical spelling, which `strategies.strategy` reads back: `fedavg:lr=1.0`, `median`."""
        return ":".join([self.name, *filter(None, [self._hyper_text])])

    @property
    def _hyper_text(self) -> str:
        return ",".join(f"{name}={value!r}" for name, value in self.hyper.items())

    def initial_state(self, size: int, dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], ...]:
        """The state before the first round: `state_parts` vectors [size] of `dtype`, the update dtype."""
        return tuple(np.full(size, value, dtype) for value in self.initial)


def positive(strategy: str, name: str, value: float) -> float:
    """A hyperparameter above 0 and at most 1e6, or `UsageError`: larger ones would overflow float64."""
    if not 0.0 < value <= 1e6:
        raise UsageError(f"{strategy}: {name} is {value:g}; it must be above 0 and at most 1e6")
    return float(value)


def fraction(strategy: str, name: str, value: float) -> float:
    """A hyperparameter of at least 0 and below 1, or `UsageError`."""
    if not 0.0 <= value < 1.0:
        raise UsageError(f"{strategy}: {name} is {value:g}; it must be at least 0 and below 1")
    return float(value)
