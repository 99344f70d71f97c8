"""The ranges that Avro cannot express: checks that the records of `fdstream.messages` make of themselves.

Each raises `ValueError` with the name of the field and what is wrong with it. This file knows no record.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sized

Metrics = Mapping[str, float]

MAX_NAME_LENGTH = 256
MAX_METRICS = 64
MAX_METRIC = 1e100
MAX_TEXT_LENGTH = 2000
MAX_OFFSET = (1 << 62) - 1


def within(name: str, value: int | float, low: float, high: float) -> None:
    """Refuse a number outside `low` to `high`, both included."""
    if not low <= value <= high:
        raise ValueError(f"{name} is {value}, outside {low} to {high}")


def offsets(name: str, values: tuple[int, ...], length: int | None = None) -> None:
    """Refuse what is no offset of a partition, or another number of them than `length`."""
    if length is not None and len(values) != length:
        raise ValueError(f"{name} has {len(values)} entries, expected {length}")
    if values:
        within(name, min(values), 0, MAX_OFFSET)
        within(name, max(values), 0, MAX_OFFSET)


def few(name: str, values: Sized, most: int) -> None:
    """Refuse more than `most` entries."""
    if len(values) > most:
        raise ValueError(f"{name} has {len(values)} entries, more than {most}")


def text(name: str, value: str, longest: int = MAX_TEXT_LENGTH) -> None:
    """Refuse a text of more characters than `longest`."""
    if len(value) > longest:
        raise ValueError(f"{name} has {len(value)} characters, more than {longest}")


def identifier(name: str, value: str) -> None:
    """Refuse what is no name: 1 to 256 printable characters."""
    text(name, value, MAX_NAME_LENGTH)
    if not value or not value.isprintable():
        raise ValueError(f"{name} must be printable and not empty")


def metrics(name: str, values: Metrics) -> None:
    """Refuse too many metrics, names that are none, and values that are not finite."""
    few(name, values, MAX_METRICS)
    for key, value in values.items():
        identifier(f"a name in {name}", key)
        if not math.isfinite(value):
            raise ValueError(f"{name}[{key!r}] is {value}, not a finite number")
        within(f"{name}[{key!r}]", value, -MAX_METRIC, MAX_METRIC)
