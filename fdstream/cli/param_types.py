"""The kinds of values that options take, checked before anything starts. Knows no option by name."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import click
from click.core import ParameterSource

from fdstream.config import Pair, Scalar, as_text

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}


class Checked(click.ParamType[str]):
    """A string that passes a check; `expected` says in words what passes."""

    def __init__(self, name: str, check: Callable[[str], object], expected: str) -> None:
        self.name = name
        self._check = check
        self._expected = expected

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not self._check(value):
            self.fail(f"{value!r} is not {self._expected}", param, ctx)
        return value


class Spelled(click.ParamType[str]):
    """A string that a parser reads; what it says of others, as `ValueError`, is shown."""

    def __init__(self, name: str, parse: Callable[[str], object]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            self._parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return value


class Addresses(click.ParamType[str]):
    """HOST:PORT or several with commas between; [::1]:9091 for IPv6."""

    name = "addresses"
    _ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):(\d{1,5})", re.ASCII)

    def __init__(self, lowest_port: int = 1) -> None:
        self._lowest_port = lowest_port

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        addresses = [address.strip() for address in value.split(",")]
        for address in addresses:
            found = self._ADDRESS.fullmatch(address)
            if not found or not self._lowest_port <= int(found[2]) <= 65535:
                lowest = self._lowest_port
                self.fail(f"{address!r} is not HOST:PORT with a port from {lowest} to 65535", param, ctx)
        return ",".join(addresses)


class ByteSize(click.ParamType[int]):
    """A number of bytes: 921600, 900KiB, 1MB, 1.5GiB. KB, MB, GB count in 1000s, KiB, MiB, GiB in 1024s."""

    name = "size"
    _SIZE = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) ?([KMG]?i?B|)", re.IGNORECASE | re.ASCII)

    def __init__(self, smallest: int, largest: int) -> None:
        self._smallest, self._largest = smallest, largest

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = self._SIZE.fullmatch(str(value))
        unit = _UNITS.get(found[2].lower()) if found else None
        if not found or unit is None:
            self.fail(f"{value!r} is not a size such as 921600, 900KiB or 1MB", param, ctx)
        size = Fraction(found[1]) * unit
        if size.denominator != 1 or not self._smallest <= size <= self._largest:
            self.fail(f"{value!r} is not from {self._smallest} to {self._largest} whole bytes", param, ctx)
        return int(size)


class FiniteRange(click.FloatRange):
    """A float within bounds; "nan", which every comparison lets through, is not."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class Duration(click.ParamType[float]):
    """A time in seconds: 2, 2s, 500ms, 5m, 1h."""

    name = "time"
    _TIME = re.compile(r"(\d{1,9}(?:\.\d{1,9})?) ?(ms|s|m|h|)", re.ASCII)
    _SECONDS: ClassVar = {"ms": 1e-3, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}

    def __init__(self, shortest_seconds: float, longest_seconds: float) -> None:
        self._shortest, self._longest = shortest_seconds, longest_seconds

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = self._TIME.fullmatch(str(value))
        if not found:
            self.fail(f"{value!r} is not a time such as 500ms, 2s or 5m", param, ctx)
        seconds = float(found[1]) * self._SECONDS[found[2]]
        if not self._shortest <= seconds <= self._longest:
            self.fail(f"{value!r} is not from {self._shortest:g} to {self._longest:g} seconds", param, ctx)
        return seconds


class CountOrAll(click.ParamType[int]):
    """A number from 1 up, or "all", which is 0."""

    name = "count or all"
    _COUNT = click.IntRange(1, 2**31)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        return 0 if value == "all" else self._COUNT(value, param, ctx)


class FileToWrite(click.Path):
    """The path of a file that can be made: found out before the work, not after it."""

    def __init__(self, suffix: str) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)
        self._suffix = suffix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = super().convert(value, param, ctx)
        assert isinstance(path, Path)
        if path.suffix != self._suffix:
            self.fail(f"{str(path)!r} does not end in {self._suffix}", param, ctx)
        if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
            self.fail(f"{str(path.parent)!r} is not a directory that can be written to", param, ctx)
        return path


class KeySource(click.Path):
    """Where keys are: a path, or the text of the keys itself, of which `is_text` knows the looks.

    A `secret` text is taken from the environment or a file only, and no message shows it.
    """

    def __init__(self, is_text: Callable[[str], bool], *, dir_okay: bool, secret: bool = False) -> None:
        super().__init__(exists=True, dir_okay=dir_okay, path_type=Path)
        self._is_text = is_text
        self._secret = secret

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Path):
            return super().convert(value, param, ctx)
        is_text, is_hidden = self._is_text(value), self._secret and not _is_on_command_line(param, ctx)
        if is_text and self._secret and not is_hidden:
            self.fail("every user of this machine can read a command line: give the key's file", param, ctx)
        if is_text:
            return value
        if is_hidden and not os.path.lexists(value):
            self.fail(
                "there is no such file, and it is no key in PEM (it may be secret: not shown)", param, ctx
            )
        return super().convert(value, param, ctx)


def _is_on_command_line(param: click.Parameter | None, ctx: click.Context | None) -> bool:
    source = ctx.get_parameter_source(param.name or "") if ctx and param else None
    return source is ParameterSource.COMMANDLINE


class KeyValue(click.ParamType[Pair]):
    """`key=value`, as text or, with `typed`, as the boolean, number or text that the value looks like.

    In an environment variable several are separated by line breaks or, where there is none, by semicolons.
    Pairs from a file have types already. Messages name at most the key: the value may be a password.
    """

    name = "key=value"

    def __init__(self, typed: bool) -> None:
        self._typed = typed

    def convert(self, value: str | Pair, param: click.Parameter | None, ctx: click.Context | None) -> Pair:
        try:
            key, content = value if isinstance(value, tuple) else self._split(value)
            if not key:
                raise ValueError("there is no key before the '='")
            return key, _checked(key, content) if self._typed else as_text(content)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        return [item for item in re.split("\n" if "\n" in rv else ";", rv) if item.strip()]

    def _split(self, text: str) -> Pair:
        key, separator, content = text.partition("=")
        if not separator:
            raise ValueError("expected key=value, found no '=' (the text is not shown: it may be secret)")
        return key.strip(), as_scalar(content) if self._typed else content


def as_scalar(text: str) -> Scalar:
    """The boolean or finite number that a text spells, else the text.

    >>> [as_scalar(text) for text in ("3", ".5", "1e-3", "true", "nan", "adam")]
    [3, 0.5, 0.001, True, 'nan', 'adam']
    """
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"[+-]?\d{1,40}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", text, re.ASCII | re.IGNORECASE):
        return float(text) if math.isfinite(float(text)) else text
    return text


def _checked(key: str, content: Scalar) -> Scalar:
    """`content`, if a record of the protocol can carry it: integers are 64 bits wide, floats finite."""
    if isinstance(content, int) and not -(2**63) <= content < 2**63:
        raise ValueError(f"{key!r} is an integer that does not fit in 64 bits")
    if isinstance(content, float) and not math.isfinite(content):
        raise ValueError(f"{key!r} is not a finite number")
    return content
