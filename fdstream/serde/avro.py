"""Records <-> bytes: Avro single-object encoding with the fixed schemas in `schemas/`, today's and older ones.

Reading never raises: bytes that are no record of this protocol come back as a `Refusal`. What is read is written
again and compared, because Avro libraries take more than the specification gives (over-long integers, duplicate
keys, trailing bytes, booleans of 7); so a record has one form, and whoever reads it in whatever language agrees on
whether it is one. Memory: bulk data is never copied on the way in, everything else is bounded by `MAX_HEAD_BYTES`.
This file knows no topics and no Kafka.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, get_args

import fastavro

from fdstream.errors import UsageError
from fdstream.messages import PROTOCOL, FederationOpened, Message, Refusal
from fdstream.serde.convert import Conversion, Plain, conversion_of
from fdstream.serde.reasons import Reason
from fdstream.serde.schema import (
    FINGERPRINT_BYTES,
    MARKER,
    Schema,
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
    """One record class as the versions from `since` to `until` of the protocol write it."""

    conversion: Conversion
    header: bytes
    head: Any  # parsed schema
    today: Any  # the newest version's, where that is another one, else None
    has_data: bool
    since: int
    until: int

    def write_head(self, plain: Plain) -> bytes:
        out = BytesIO()
        out.write(self.header)
        fastavro.schemaless_writer(out, self.head, plain)
        return out.getvalue()


def _codecs_of(cls: type, versions: Sequence[Schema]) -> Iterator[_Codec]:
    """A codec for each form that the class has had, the oldest first; `versions` are its schemas, 1 first."""
    heads = [parse(head_of(schema)) for schema in versions]
    forms = [MARKER + fingerprint_of(schema) for schema in versions]
    for number, (form, head) in enumerate(zip(forms, heads, strict=True), start=1):
        if form in forms[: number - 1]:
            continue
        until = number + forms.count(form) - 1
        today = None if form == forms[-1] else heads[-1]
        yield _Codec(conversion_of(cls), form, head, today, ends_in_data(versions[-1]), number, until)


class _Refused(Exception):  # noqa: N818 - never leaves this file
    def __init__(self, reason: Reason, detail: object) -> None:
        text = str(detail)[:_MAX_DETAIL]
        # The detail quotes strangers and is shown on terminals.
        self.refusal = Refusal(reason, "".join(char if char.isprintable() else "?" for char in text))


class Wire:
    """Every record class in every version of the protocol that is known."""

    def __init__(self, classes: Iterable[type], newest: int, schema: Callable[[str, int], Schema]) -> None:
        self.newest = newest
        self._by_header: dict[bytes, _Codec] = {}
        self._by_class: dict[tuple[type, int], _Codec] = {}
        for cls in classes:
            versions = [schema(cls.__name__, number) for number in range(1, newest + 1)]
            for codec in _codecs_of(cls, versions):
                self._by_header[codec.header] = codec
                for number in range(codec.since, codec.until + 1):
                    self._by_class[cls, number] = codec

    def encode(self, message: Message, protocol: int | None = None) -> bytes:
        """The record's bytes, as this version of the protocol has them; one copy of bulk data.

        FederationOpened is written in the version that it names. What an older version has no field for is left out.
        Raises `UsageError` for a record that readers would refuse.
        """
        named = message.protocol if isinstance(message, FederationOpened) else protocol
        codec = self._by_class[type(message), named or self.newest]
        head = codec.write_head(codec.conversion.to_plain(message))
        data = message.data if codec.has_data else b""  # type: ignore[union-attr]
        if len(head) > MAX_HEAD_BYTES or memoryview(data).nbytes > MAX_DATA_BYTES:
            raise UsageError(
                f"a {type(message).__name__} of {len(head)} bytes and {memoryview(data).nbytes} bytes of data is "
                f"larger than {MAX_HEAD_BYTES} and {MAX_DATA_BYTES}: use fewer or shorter names and texts, or fewer "
                "shards"
            )
        return b"".join((head, data)) if codec.has_data else head

    def decode(
        self, value: bytes, expected: Collection[type] | None = None, protocol: int | None = None
    ) -> Message | Refusal:
        """What the bytes say, as today's record; `data` is a view of `value`. Never raises.

        Records of classes other than `expected` are refused by their header alone; None takes every class. Forms that
        came after version `protocol`, that of the federation, are unknown in it.
        """
        try:
            return self._decode(value, expected, self.newest if protocol is None else protocol)
        except _Refused as refused:
            return refused.refusal

    def _decode(self, value: bytes, expected: Collection[type] | None, protocol: int) -> Message:
        codec = self._codec_for(value, expected, protocol)
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
        if isinstance(message, FederationOpened):
            self._check_form(codec, message)
        return message

    def _check_form(self, codec: _Codec, opened: FederationOpened) -> None:
        """Whoever knows the version must know the record that names it."""
        if opened.protocol <= self.newest and not codec.since <= opened.protocol <= codec.until:
            raise _Refused(
                Reason.NOT_CANONICAL, f"names version {opened.protocol} in the form of another one"
            )

    def _codec_for(self, value: bytes, expected: Collection[type] | None, protocol: int) -> _Codec:
        if not value.startswith(MARKER) or len(value) < _HEADER_BYTES:
            raise _Refused(Reason.NOT_A_RECORD, f"{len(value)} bytes starting with {value[:16].hex()}")
        codec = self._by_header.get(value[:_HEADER_BYTES])
        if codec is None or codec.since > protocol:
            raise _Refused(Reason.UNKNOWN_SCHEMA, f"fingerprint {value[len(MARKER) : _HEADER_BYTES].hex()}")
        if expected is not None and codec.conversion.cls not in expected:
            raise _Refused(Reason.UNEXPECTED_RECORD, f"a {codec.conversion.cls.__name__}")
        longest = MAX_HEAD_BYTES + (MAX_DATA_BYTES if codec.has_data else 0)
        if len(value) > longest:
            raise _Refused(Reason.OVERSIZED, f"{len(value)} bytes, more than {longest}")
        return codec


def _read_head(codec: _Codec, value: bytes) -> tuple[int, Plain]:
    """Where the head ends, and its fields as today's record has them."""
    stream = BytesIO(value)
    stream.seek(_HEADER_BYTES)
    try:
        plain: Any = fastavro.schemaless_reader(stream, codec.head, None)
    except (EOFError, IndexError, ValueError) as error:
        raise _unreadable(error, exhausted=stream.tell() == len(value)) from None
    end = stream.tell()
    if codec.write_head(plain) != value[:end]:
        raise _Refused(Reason.NOT_CANONICAL, "writing the record again gives other bytes")
    if codec.today is not None:
        stream.seek(_HEADER_BYTES)
        plain = fastavro.schemaless_reader(stream, codec.head, codec.today)
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


WIRE: Final = Wire(get_args(Message), PROTOCOL, load)
encode: Final = WIRE.encode
decode: Final = WIRE.decode
