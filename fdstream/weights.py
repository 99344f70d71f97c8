"""The values that pass between the framework and a user's functions, checked on the way back.

The framework's side is `dict[str, ndarray]`; the user's is the container the user gave, a dict or a list.
Everything a user hands over is refused here with a sentence that says what to do, or is fit to be sent.
Knows no registration, no protocol, no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fdstream.dtypes import DTYPES, MAX_EXACT_INTEGER, Array, name_of
from fdstream.errors import UsageError
from fdstream.messages import MAX_METRIC, MAX_METRICS, MAX_NAME_LENGTH, MAX_NUM_EXAMPLES

Weights = Mapping[str, Array] | Sequence[Array]
Metrics = Mapping[str, float]


class UserFunctionError(UsageError):
    """A function of the app raised, or returned what cannot be used. A client reports it and stays."""


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What training gave, checked against the weights received."""

    weights: dict[str, Array]  # names, shapes and dtypes of the received model, C order, finite
    num_examples: int  # 1 to MAX_NUM_EXAMPLES
    metrics: dict[str, float]  # finite


@dataclass(frozen=True, slots=True)
class EvaluateResult:
    """What evaluating gave."""

    num_examples: int  # 1 to MAX_NUM_EXAMPLES
    metrics: dict[str, float]  # finite


def train_result(
    received: Mapping[str, Array], weights: Any, num_examples: Any, metrics: Any, *, source: str = "train"
) -> TrainResult:
    """Check what a user hands back against the named weights received; `source` names who in messages.

    Raises `UserFunctionError` for other names, shapes or kinds of dtype, values that are not finite or do
    not fit, num_examples out of range, and metrics that are not finite numbers.
    """
    named = _named(weights, f"{source} returned")
    _check_names(source, received, named)
    fitted = {name: _fitted(source, name, named[name], received[name]) for name in received}
    return TrainResult(fitted, _num_examples(source, num_examples), checked_metrics(source, metrics))


def evaluate_result(num_examples: Any, metrics: Any, *, source: str = "evaluate") -> EvaluateResult:
    """Check what a user's evaluation hands back; raises `UserFunctionError` like `train_result`."""
    return EvaluateResult(_num_examples(source, num_examples), checked_metrics(source, metrics))


def to_user(named: Mapping[str, Array]) -> dict[str, Array] | list[Array]:
    """The container the user gave (a list if the names are a list's), as read-only views without a copy."""
    views = {name: _read_only(array) for name, array in named.items()}
    return list(views.values()) if views and list(views) == _list_names(len(views)) else views


def to_named(weights: Weights, *, source: str = "the app gave") -> dict[str, Array]:
    """Named arrays in C order and native byte order; position i of a list is named by its digits, `[03]`.

    The names alone say whether it was a list, so nobody has to be told. Raises `UsageError` for what is not
    a dict or a list of finite arrays of a supported dtype.
    """
    named = _named(weights, source)
    if isinstance(weights, Mapping) and named and list(named) == _list_names(len(named)):
        raise UsageError("names like [0] are kept for weights given as a list: give the list, or rename them")
    for name, array in named.items():
        _check_values(source, name, array, array.dtype)
    return named


def checked_metrics(source: str, metrics: Any) -> dict[str, float]:
    """The metrics as plain floats; `UserFunctionError` unless at most MAX_METRICS named finite numbers."""
    if not isinstance(metrics, Mapping):
        raise UserFunctionError(
            f'{source} returned metrics as {described(metrics)}: use a dict such as {{"loss": 0.1}}'
        )
    if len(metrics) > MAX_METRICS:
        raise UserFunctionError(
            f"{source} returned {len(metrics)} metrics: at most {MAX_METRICS} are reported"
        )
    return {
        _checked_name(source, "metric", name): _metric(source, name, value) for name, value in metrics.items()
    }


def described(value: Any) -> str:
    """The type of a value in a few words for messages, with its length where it has one."""
    size = f" of {len(value)}" if isinstance(value, tuple | list | dict) else ""
    return f"{type(value).__name__}{size}"


def _list_names(count: int) -> list[str]:
    width = len(str(max(count - 1, 0)))
    return [f"[{index:0{width}}]" for index in range(count)]


def _read_only(array: Array) -> Array:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view


def _named(weights: Any, said: str) -> dict[str, Array]:
    if isinstance(weights, Mapping):
        pairs = [(_checked_name(said, "tensor", name), value) for name, value in weights.items()]
    elif isinstance(weights, Sequence) and not isinstance(weights, str | bytes):
        pairs = list(zip(_list_names(len(weights)), weights, strict=True))
    else:
        raise UserFunctionError(f"{said} {described(weights)}: weights are a dict or a list of numpy arrays")
    return {name: _array(said, name, value) for name, value in pairs}


def _checked_name(said: str, kind: str, name: Any) -> str:
    if isinstance(name, str) and name.isprintable() and 0 < len(name.encode()) <= MAX_NAME_LENGTH:
        return name
    raise UserFunctionError(
        f"{said} a {kind} named {str(name)[:80]!r}: a name is a printable string of 1 to {MAX_NAME_LENGTH} "
        "bytes"
    )


def _array(said: str, name: str, value: Any) -> Array:
    try:
        array: Array = np.asarray(value, order="C")
    except Exception as error:
        raise UserFunctionError(
            f"{said} something for {name!r} that numpy cannot read ({type(error).__name__}: {error}); "
            "give numpy arrays"
        ) from error
    if name_of(array.dtype) not in DTYPES:
        raise UserFunctionError(
            f"{said} {name!r} of dtype {array.dtype.name}: the supported ones are {', '.join(DTYPES)}"
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _check_names(source: str, received: Mapping[str, Array], returned: Mapping[str, Array]) -> None:
    if received.keys() == returned.keys():
        return
    missing = [name for name in received if name not in returned]
    surplus = [name for name in returned if name not in received]
    parts = [f"{word} {_some(names)}" for word, names in (("without", missing), ("with", surplus)) if names]
    count = f"{len(returned)} tensor{'s' * (len(returned) != 1)}"
    raise UserFunctionError(
        f"{source} returned {count} for the {len(received)} received, {' and '.join(parts)}: "
        "return the same names (of a list: as many, in the same order)"
    )


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:3])) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _fitted(source: str, name: str, array: Array, received: Array) -> Array:
    """`array` in the received tensor's dtype, or a `UserFunctionError` where its meaning would change."""
    dtype = received.dtype
    if array.shape != received.shape:
        raise UserFunctionError(
            f"{source} returned {name!r} of shape {array.shape}, the model's is {received.shape}: return that"
        )
    if _is_integer(array.dtype) != _is_integer(dtype):
        raise UserFunctionError(
            f"{source} returned {name!r} as {array.dtype.name}, the model's is {dtype.name}: "
            f"convert it with .astype({dtype.name!r})"
        )
    if _is_integer(dtype):
        _check_values(f"{source} returned", name, array, dtype)
        return array.astype(dtype, copy=False)
    with np.errstate(over="ignore"):
        fitted: Array = array.astype(dtype, copy=False)
    _check_values(f"{source} returned", name, fitted, dtype)
    return fitted


def _is_integer(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu"


def _check_values(said: str, name: str, array: Array, dtype: np.dtype[Any]) -> None:
    """Refuse NaN and infinity, and integers that `dtype` or the exact sums cannot hold."""
    if not array.size:
        return
    # All of these show in the extremes, which need no temporary as large as the tensor.
    with np.errstate(invalid="ignore"):
        lowest, highest = array.min(), array.max()
    if _is_integer(dtype):
        _check_integers(f"{said} {name!r}", int(lowest), int(highest), np.iinfo(dtype))
    elif not (math.isfinite(lowest) and math.isfinite(highest)):
        advice = "lower the learning rate or check the data"
        raise UserFunctionError(f"{said} NaN or infinity in {name!r} ({dtype.name}): {advice}")


def _check_integers(said: str, lowest: int, highest: int, limits: np.iinfo[Any]) -> None:
    low, high = max(limits.min, -MAX_EXACT_INTEGER), min(limits.max, MAX_EXACT_INTEGER)
    if lowest < low or highest > high:
        found = f"{said} with values from {lowest} to {highest}"
        raise UserFunctionError(f"{found}, the model's dtype is {limits.dtype}: keep them in {low} to {high}")


def _num_examples(source: str, value: Any) -> int:
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or not 1 <= value <= MAX_NUM_EXAMPLES:
        raise UserFunctionError(
            f"{source} returned num_examples {value!r}: it must be a whole number, 1 to {MAX_NUM_EXAMPLES} "
            "(without data, raise an exception to sit the round out)"
        )
    return int(value)


def _metric(source: str, name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, str | bytes | bool | np.bool_) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= MAX_METRIC:  # NaN compares false
        raise UserFunctionError(
            f"{source} returned metric {name!r} = {value!r}: return a finite number up to {MAX_METRIC:g}, "
            "or leave the metric out"
        )
    return number
