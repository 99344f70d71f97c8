"""Records <-> bytes: Avro single-object encoding with the fixed schemas in `schemas/`.

Reading never raises: bytes that are no record of this protocol come back as a `Refusal`. What is read is written
again and compared, because Avro libraries take more than the specification gives (over-long integers, duplicate
keys, trailing bytes, booleans of 7); so a record has one form, and whoever reads it in whatever language agrees on
whether it is one. Memory: bulk data is never copied on the way in, everything else is bounded by `MAX_HEAD_BYTES`.
This file knows no topics and no Kafka.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, get_args

import fastavro

from fdstream.errors import UsageError
from fdstream.messages import Message, Refusal
from fdstream.serde.convert import Conversion, Plain, conversion_of
from fdstream.serde.reasons import Reason
from fdstream.serde.schema import (
    FINGERPRINT_BYTES,
    MARKER,
    ends_in_data,
    fingerprint_of,
    head_of,
    load,
    parse,
)

MAX_HEAD_BYTES: Final = 1_000_000
"""Longest record without its bulk data: the default limit of Kafka's producers."""

MAX_DATA_BYTES: Final = 1 << 26
"""Most bulk data in one record: the largest `chunk_bytes` that a federation may have."""

_HEADER_BYTES: Final = len(MARKER) + FINGERPRINT_BYTES
_MAX_DETAIL: Final = 200


@dataclass(frozen=True, slots=True)
class _Codec:
    """One record class on the wire."""

    conversion: Conversion
    header: bytes
    head: Any  # parsed schema
    has_data: bool

    def write_head(self, plain: Plain) -> bytes:
        out = BytesIO()
        out.write(self.header)
        fastavro.schemaless_writer(out, self.head, plain)
        return out.getvalue()


def _codec_of(cls: type) -> _Codec:
    schema = load(cls.__name__)
    return _Codec(
        conversion_of(cls), MARKER + fingerprint_of(schema), parse(head_of(schema)), ends_in_data(schema)
    )


_BY_CLASS: Final[dict[type, _Codec]] = {cls: _codec_of(cls) for cls in get_args(Message)}
_BY_HEADER: Final[dict[bytes, _Codec]] = {codec.header: codec for codec in _BY_CLASS.values()}


class _Refused(Exception):  # noqa: N818 - never leaves this file
    def __init__(self, reason: Reason, detail: object) -> None:
        text = str(detail)[:_MAX_DETAIL]
        # The detail quotes strangers and is shown on terminals.
        self.refusal = Refusal(reason, "".join(char if char.isprintable() else "?" for char in text))


def encode(message: Message) -> bytes:
    """The record's bytes; one copy of bulk data. Raises `UsageError` for one that readers would refuse."""
    codec = _BY_CLASS[type(message)]
    head = codec.write_head(codec.conversion.to_plain(message))
    data = message.data if codec.has_data else b""  # type: ignore[union-attr]
    if len(head) > MAX_HEAD_BYTES or memoryview(data).nbytes > MAX_DATA_BYTES:
        raise UsageError(
            f"a {type(message).__name__} of {len(head)} bytes and {memoryview(data).nbytes} bytes of data is larger "
            f"than {MAX_HEAD_BYTES} and {MAX_DATA_BYTES}: use fewer or shorter names and texts, or fewer shards"
        )
    return b"".join((head, data)) if codec.has_data else head


def decode(value: bytes, expected: Collection[type] | None = None) -> Message | Refusal:
    """What the bytes say; `data` is a view of `value`. Never raises.

    Records of classes other than `expected` are refused by their header alone; None takes every class.
    """
    try:
        return _decode(value, expected)
    except _Refused as refused:
        return refused.refusal


def _decode(value: bytes, expected: Collection[type] | None) -> Message:
    codec = _codec_for(value, expected)
    head_end, plain = _read_head(codec, value)
    if codec.has_data:
        _check_data(plain["data"], len(value) - head_end)
        plain["data"] = memoryview(value)[head_end:]
    elif head_end < len(value):
        raise _Refused(Reason.TRAILING_BYTES, f"{len(value) - head_end} bytes after the record")
    try:
        message: Message = codec.conversion.from_plain(plain)
    except ValueError as error:
        raise _Refused(Reason.OUT_OF_RANGE, error) from None
    return message


def _codec_for(value: bytes, expected: Collection[type] | None) -> _Codec:
    if not value.startswith(MARKER) or len(value) < _HEADER_BYTES:
        raise _Refused(Reason.NOT_A_RECORD, f"{len(value)} bytes starting with {value[:16].hex()}")
    codec = _BY_HEADER.get(value[:_HEADER_BYTES])
    if codec is None:
        raise _Refused(Reason.UNKNOWN_SCHEMA, f"fingerprint {value[len(MARKER) : _HEADER_BYTES].hex()}")
    if expected is not None and codec.conversion.cls not in expected:
        raise _Refused(Reason.UNEXPECTED_RECORD, f"a {codec.conversion.cls.__name__}")
    longest = MAX_HEAD_BYTES + (MAX_DATA_BYTES if codec.has_data else 0)
    if len(value) > longest:
        raise _Refused(Reason.OVERSIZED, f"{len(value)} bytes, more than {longest}")
    return codec


def _read_head(codec: _Codec, value: bytes) -> tuple[int, Plain]:
    """Where the head ends, and its fields."""
    stream = BytesIO(value)
    stream.seek(_HEADER_BYTES)
    try:
        plain: Any = fastavro.schemaless_reader(stream, codec.head, None)
    except (EOFError, IndexError, ValueError) as error:
        raise _unreadable(error, exhausted=stream.tell() == len(value)) from None
    end = stream.tell()
    if codec.write_head(plain) != value[:end]:
        raise _Refused(Reason.NOT_CANONICAL, "writing the record again gives other bytes")
    return end, plain


def _unreadable(error: Exception, *, exhausted: bool) -> _Refused:
    # An integer cut short is an IndexError to fastavro, as is a union's branch that does not exist.
    if isinstance(error, EOFError) or (isinstance(error, IndexError) and exhausted):
        return _Refused(Reason.TRUNCATED, "the fields reach beyond the end")
    return _Refused(Reason.MALFORMED, error)


def _check_data(claimed: int, found: int) -> None:
    if claimed != found:
        reason = Reason.TRUNCATED if claimed > found else Reason.TRAILING_BYTES
        raise _Refused(reason, f"data claims {claimed} bytes, {found} are there")
