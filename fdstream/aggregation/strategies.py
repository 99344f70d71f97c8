"""The strategies by name, and the one spelling that the command line, the records and the documents share."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from fdstream.aggregation.clipping import ClippedMean
from fdstream.aggregation.fedadagrad import fedadagrad
from fdstream.aggregation.fedadam import fedadam
from fdstream.aggregation.fedavg import fedavg
from fdstream.aggregation.fedavgm import fedavgm
from fdstream.aggregation.fedyogi import fedyogi
from fdstream.aggregation.krum import krum, multi_krum
from fdstream.aggregation.median import median
from fdstream.aggregation.rule import MEAN
from fdstream.aggregation.strategy import Strategy
from fdstream.aggregation.trimmed_mean import trimmed_mean
from fdstream.errors import UsageError
from fdstream.messages import Settings

__all__ = ["STRATEGIES", "Strategy", "clipped", "strategy", "strategy_of"]

_MAKERS: Final[tuple[Callable[..., Strategy], ...]] = (
    *(fedavg, fedavgm, fedadam, fedyogi, fedadagrad),
    *(median, trimmed_mean, krum, multi_krum),
)
STRATEGIES: Final[Mapping[str, Callable[..., Strategy]]] = MappingProxyType(
    {make.__name__.replace("_", "-"): make for make in _MAKERS}
)


def strategy_of(settings: Settings) -> Strategy:
    """The strategy of a federation with these settings. Raises `UsageError`, also for what cannot be."""
    found = clipped(strategy(settings.strategy), settings.clip)
    found.rule.check(settings.min_clients, settings.max_clients)
    return found


def strategy(text: str) -> Strategy:
    """The strategy that `text` spells: a name, or a name with hyperparameters. Raises `UsageError`.

    Hyperparameters are named, or stand in their order.

    >>> strategy("fedadam:lr=0.1,tau=1e-2").text
    'fedadam:lr=0.1,beta1=0.9,beta2=0.99,tau=0.01'
    >>> strategy("multi-krum:1,4").text
    'multi-krum:f=1,m=4'
    """
    name, colon, rest = text.partition(":")
    if name not in STRATEGIES:
        raise UsageError(f"there is no strategy {name!r}; use one of {', '.join(STRATEGIES)}")
    make = STRATEGIES[name]
    known = inspect.signature(make).parameters
    hyper = _hyper(name, tuple(known), rest) if colon else {}
    missing = [
        key for key, known_as in known.items() if known_as.default is known_as.empty and key not in hyper
    ]
    if missing:
        raise UsageError(f"{name}: say its {' and '.join(missing)}, as in {name}:{_example(tuple(known))}")
    return make(**hyper)


def clipped(chosen: Strategy, bound: float) -> Strategy:
    """The strategy on updates that are no longer than `bound`; 0 is no bound. Raises `UsageError`."""
    if bound == 0:
        return chosen
    if chosen.rule != MEAN:
        raise UsageError(
            f"{chosen.name} needs no clipping: leave --clip out, or take it with a mean such as fedavg"
        )
    return replace(chosen, rule=ClippedMean(bound))


def _hyper(name: str, known: tuple[str, ...], text: str) -> dict[str, float]:
    hyper: dict[str, float] = {}
    for place, item in enumerate(text.split(",")):
        key, equals, value = item.partition("=")
        if item and not equals and item not in known and place < len(known):
            key, value = known[place], item
        if key not in known or key in hyper:
            raise UsageError(_unknown(name, key, known, twice=key in hyper))
        try:
            hyper[key] = float(value)
        except ValueError:
            raise UsageError(f"{name}: {key} is {value!r}, not a number") from None
    return hyper


def _unknown(name: str, key: str, known: tuple[str, ...], *, twice: bool) -> str:
    said = "is given twice" if twice else "is not one of its settings"
    advice = f"write {name}:{_example(known)} and choose from {', '.join(known)}" if known else "it has none"
    return f"{name}: {key!r} {said}; {advice}"


def _example(known: tuple[str, ...]) -> str:
    return (
        ",".join(f"{key}={_EXAMPLES.get(key, '0.1')}" for key in known if key in _EXAMPLES)
        or f"{known[0]}=0.1"
    )


_EXAMPLES: Final = {"f": "1", "m": "2"}
