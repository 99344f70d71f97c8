"""The strategies by name, and the one spelling that the command line, the records and the documents share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from fdstream.aggregation.fedadagrad import fedadagrad
from fdstream.aggregation.fedadam import fedadam
from fdstream.aggregation.fedavg import fedavg
from fdstream.aggregation.fedavgm import fedavgm
from fdstream.aggregation.fedyogi import fedyogi
from fdstream.aggregation.strategy import Strategy
from fdstream.errors import UsageError

__all__ = ["STRATEGIES", "Strategy", "strategy"]

STRATEGIES: Final[Mapping[str, Callable[..., Strategy]]] = MappingProxyType(
    {make.__name__: make for make in (fedavg, fedavgm, fedadam, fedyogi, fedadagrad)}
)


def strategy(text: str) -> Strategy:
    """The strategy that `text` spells: a name, or a name with hyperparameters. Raises `UsageError`.

    >>> strategy("fedadam:lr=0.1,tau=1e-2").text
    'fedadam:lr=0.1,beta1=0.9,beta2=0.99,tau=0.01'
    """
    name, colon, rest = text.partition(":")
    if name not in STRATEGIES:
        raise UsageError(f"there is no strategy {name!r}; use one of {', '.join(STRATEGIES)}")
    make = STRATEGIES[name]
    return make(**_hyper(name, tuple(inspect.signature(make).parameters), rest) if colon else {})


def _hyper(name: str, known: tuple[str, ...], text: str) -> dict[str, float]:
    hyper: dict[str, float] = {}
    for item in text.split(","):
        key, _, value = item.partition("=")
        if key not in known or key in hyper:
            said = "is given twice" if key in hyper else "is not one of its settings"
            raise UsageError(
                f"{name}: {key!r} {said}; write {name}:{known[0]}=0.1 and choose from {', '.join(known)}"
            )
        try:
            hyper[key] = float(value)
        except ValueError:
            raise UsageError(f"{name}: {key} is {value!r}, not a number") from None
    return hyper
