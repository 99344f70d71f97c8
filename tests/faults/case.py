"""What a case is, and the list of them all."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.faults.scene import Scene

Play = Callable[["Scene"], None]

SAME_BYTES = "the oracle's bytes, every report accounted for"


@dataclass(frozen=True, slots=True)
class Case:
    """One fault. `play` sets it up, lets it happen, and fails where it does not end as it must."""

    name: str
    play: Play
    ends: str  # how it must end
    short: bool  # whether the short form has it
    at_most: int | None  # runs in the long form, however many are asked for; None for as many
    needs: tuple[str, ...]  # programs without which it is left out
    brokers: int  # of the lab's that it plays on; 0 where it brings its own
    patience_seconds: float  # how long it may take


CASES: dict[str, Case] = {}


def case(
    name: str,
    *,
    ends: str = SAME_BYTES,
    short: bool = False,
    at_most: int | None = None,
    needs: tuple[str, ...] = (),
    brokers: int = 1,
    patience_seconds: float = 300.0,
) -> Callable[[Play], Play]:
    """Enter a function into the matrix."""

    def enter(play: Play) -> Play:
        assert name not in CASES, f"two cases are called {name!r}"
        CASES[name] = Case(name, play, ends, short, at_most, needs, brokers, patience_seconds)
        return play

    return enter


def all_cases() -> dict[str, Case]:
    """Every case, by name."""
    from tests.faults import cases

    for module in pkgutil.iter_modules(cases.__path__):
        importlib.import_module(f"{cases.__name__}.{module.name}")
    return CASES
