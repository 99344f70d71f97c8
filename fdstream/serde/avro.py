"""Records <-> bytes: Avro single-object encoding with the fixed schemas in `schemas/`.

Source: Apache Avro 1.12 specification, "Single-object encoding". Two marker bytes, the CRC-64-AVRO fingerprint of
the schema's canonical form (8 bytes, little-endian), the body. Nothing is ever decoded by a schema or a class
that a message names: a fingerprint that is not one of ours is refused. This file knows no topics.
"""

from __future__ import annotations

import io
import json
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from importlib import resources
from typing import Any, Final

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from fdstream import messages
from fdstream.messages import Message, Refusal

MARKER: Final = b"\xc3\x01"
HEADER_BYTES: Final = 10
MAX_RECORD_BYTES: Final = 1 << 27

Build = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class _Codec:
    """How one record class is written and read."""

    record: type[Any]
    schema: Any
    header: bytes
    build: Build


def encode(message: Message) -> bytes:
    """The message as one Avro single object. Raises `ValueError` for a field its schema cannot hold."""
    codec = _BY_CLASS[type(message)]
    out = io.BytesIO()
    out.write(codec.header)
    try:
        fastavro.schemaless_writer(out, codec.schema, _plain(message))
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{codec.record.__name__} cannot be written: {error}") from error
    return out.getvalue()


def decode(value: bytes) -> Message | Refusal:
    """The message in `value`, or why there is none. Raises nothing, whatever the bytes are."""
    if len(value) > MAX_RECORD_BYTES:
        return Refusal("oversized", f"{len(value)} bytes, more than {MAX_RECORD_BYTES}")
    if len(value) < HEADER_BYTES or value[:2] != MARKER:
        return Refusal("not a record", f"{len(value)} bytes that are no Avro single object")
    codec = _BY_HEADER.get(value[:HEADER_BYTES])
    if codec is None:
        return Refusal("unknown schema", f"fingerprint {value[2:HEADER_BYTES].hex()}")
    return _read(codec, value)


def _read(codec: _Codec, value: bytes) -> Message | Refusal:
    body = io.BytesIO(value)
    body.seek(HEADER_BYTES)
    try:
        plain = fastavro.schemaless_reader(body, codec.schema, None)
    except Exception as error:  # noqa: BLE001 - a reader of hostile bytes may raise anything, and none of it counts
        return Refusal("truncated", f"{codec.record.__name__}: {type(error).__name__}")
    if body.tell() != len(value):
        return Refusal(
            "trailing bytes", f"{codec.record.__name__}: {len(value) - body.tell()} bytes too many"
        )
    try:
        message: Message = codec.build(plain)
    except ValueError as error:
        return Refusal("out of range", f"{codec.record.__name__}: {error}")
    return message


def _plain(value: Any) -> Any:
    """A record as the dict that the Avro library writes; nested ones too."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value


def _builder(hint: Any) -> Build | None:
    """What turns a decoded value into the type that the record's field has; None where it is that already."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if is_dataclass(hint):
        return _record_builder(typing.cast(type[Any], hint))
    if origin is tuple:
        build = _builder(arguments[0])
        return tuple if build is None else lambda items: tuple(build(item) for item in items)
    if origin in (types.UnionType, typing.Union, Mapping) or isinstance(hint, type):
        return None
    raise TypeError(f"records have no fields of type {hint}")


def _record_builder(record: type[Any]) -> Build:
    hints = typing.get_type_hints(record)
    builders = {field.name: _builder(hints[field.name]) for field in fields(record)}
    needed = [(name, build) for name, build in builders.items() if build is not None]

    def build_record(plain: dict[str, Any]) -> Any:
        for name, build in needed:
            plain[name] = build(plain[name])
        return record(**plain)

    return build_record


def _codec(record: type[Any]) -> _Codec:
    text = resources.files(__package__).joinpath("schemas", f"{record.__name__}.avsc").read_text("utf-8")
    schema = json.loads(text)
    digest = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
    header = MARKER + int(digest, 16).to_bytes(8, "little")
    return _Codec(record, fastavro.parse_schema(schema), header, _record_builder(record))


_CODECS = [_codec(record) for record in typing.get_args(messages.Message)]
_BY_CLASS: Final[Mapping[type[Any], _Codec]] = {codec.record: codec for codec in _CODECS}
_BY_HEADER: Final[Mapping[bytes, _Codec]] = {codec.header: codec for codec in _CODECS}
