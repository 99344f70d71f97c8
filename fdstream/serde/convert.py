"""Dataclasses <-> the plain values of an Avro library, resolved once a class.

Frozen dataclasses become dicts, and the other way round; tuples and mappings of plain values need nothing on the
way out. Knows the few kinds of field that `fdstream.messages` uses and refuses others at import. This file knows
no schemas and no bytes.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

from fdstream.errors import UsageError

Plain = dict[str, Any]
Convert = Callable[[Any], Any]

_AS_THEY_ARE = (str, int, float, bool, bytes)
_CONFIG_VALUE = frozenset({str, int, float, bool})


@dataclasses.dataclass(frozen=True, slots=True)
class Conversion:
    """How one class goes out and comes in; only fields that change are listed with a function."""

    cls: type
    names: tuple[str, ...]
    outward: tuple[tuple[str, Convert], ...]
    inward: tuple[tuple[str, Convert], ...]

    def to_plain(self, value: Any) -> Plain:
        """The fields by name, in order."""
        plain = {name: getattr(value, name) for name in self.names}
        for name, convert in self.outward:
            plain[name] = convert(plain[name])
        return plain

    def from_plain(self, plain: Plain) -> Any:
        """The value; `plain` is used up. Raises `ValueError` where the class refuses it."""
        for name, convert in self.inward:
            plain[name] = convert(plain[name])
        return self.cls(**plain)


def conversion_of(cls: type) -> Conversion:
    """Reads the class's fields and their types. Raises `TypeError` for a kind of field not known here."""
    hints = get_type_hints(cls)
    names = tuple(field.name for field in dataclasses.fields(cls))
    pairs = [(name, _converters(hints[name])) for name in names]
    outward = tuple((name, out) for name, (out, _) in pairs if out is not None)
    inward = tuple((name, into) for name, (_, into) in pairs if into is not None)
    return Conversion(cls, names, outward, inward)


def _converters(kind: Any) -> tuple[Convert | None, Convert | None]:
    """What to do on the way out and on the way in; None for nothing."""
    if kind in _AS_THEY_ARE:
        return None, None
    if dataclasses.is_dataclass(kind):
        assert isinstance(kind, type)
        conversion = conversion_of(kind)
        return conversion.to_plain, conversion.from_plain
    origin, args = get_origin(kind), get_args(kind)
    if origin is tuple and args[1:] == (...,):
        return _of_tuple(*_converters(args[0]))
    if origin is Mapping and args[0] is str:
        return _of_mapping(args[1]), None
    if origin in (Union, types.UnionType):
        return _of_union(frozenset(args))
    raise TypeError(f"fields of type {kind} are not part of the protocol")


def _of_tuple(out: Convert | None, into: Convert | None) -> tuple[Convert | None, Convert]:
    if out is None or into is None:
        return None, tuple
    return lambda values: [out(value) for value in values], lambda values: tuple(map(into, values))


def _of_mapping(kind: Any) -> Convert:
    if kind in _AS_THEY_ARE:
        return dict
    if frozenset(get_args(kind)) == _CONFIG_VALUE:
        return lambda values: {name: _branch(name, value) for name, value in values.items()}
    raise TypeError(f"mappings to {kind} are not part of the protocol")


def _of_union(kinds: frozenset[Any]) -> tuple[Convert | None, Convert | None]:
    if kinds == {bytes, memoryview}:
        return (lambda data: memoryview(data).nbytes), None  # the head's field: see `fdstream.serde.schema`
    if len(kinds) == 2 and type(None) in kinds:
        (kind,) = kinds - {type(None)}
        if kind is str or dataclasses.is_dataclass(kind):
            return _of_optional(*_converters(kind))
    raise TypeError(f"unions of {kinds} are not part of the protocol")


def _of_optional(out: Convert | None, into: Convert | None) -> tuple[Convert | None, Convert | None]:
    """None stays None; a text needs nothing, a dataclass its own conversion."""
    if out is None or into is None:
        return out, into
    return (
        lambda value: None if value is None else out(value),
        lambda value: None if value is None else into(value),
    )


def _branch(name: str, value: Any) -> tuple[str, Any]:
    """The value with its branch of the union, because a bool is also an int to Python."""
    match value:
        case bool():
            return "boolean", value
        case int() if not -(1 << 63) <= value < 1 << 63:
            raise UsageError(f"config value {name!r} is {value}: use an integer of 64 bits or a string")
        case int():
            return "long", value
        case float():
            return "double", value
        case str():
            return "string", value
    raise UsageError(
        f"config value {name!r} is a {type(value).__name__}: use a string, an integer, a float or a boolean"
    )
