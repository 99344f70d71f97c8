"""What travels on a stream, as values, and its bytes. Pure: knows no gRPC and no records of the protocol.

A frame is a head of fixed size, the names that it needs, and then the record's value as it is. Both sides run the
same build, so a frame that cannot be read is an error of the other side, not an outcome.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fdstream.errors import RemoteError

MAX_FRAME_BYTES: Final = 1 << 20
"""gRPC's messages stay within this, as large records would hold up the small ones behind them."""

_PLACE: Final = struct.Struct("<BBI")  # kind, length of the topic's name, partition
_RECORD: Final = struct.Struct("<QdH")  # offset, timestamp in seconds, length of the key
_APPEND: Final = struct.Struct("<QH")  # number, length of the key
_NUMBER: Final = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of either side: the federation that the client wants to take part in, as the topic's name."""

    topic: str


@dataclass(frozen=True, slots=True)
class Append:
    """A record to append; answered by `Ack` with the same number."""

    topic: str
    partition: int
    number: int
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Follow:
    """Send the partition's records from this offset on, now and as they come."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Unfollow:
    """Send no more of the partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class Ask:
    """What are the offsets of a topic? Answered by `Offsets` with the same number."""

    topic: str
    number: int
    ends: bool  # or the starts


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record of a partition that is followed."""

    topic: str
    partition: int
    offset: int
    timestamp_seconds: float
    key: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class Gone:
    """The records from this offset on, which was followed, are deleted; the partition is not followed any more."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Ack:
    """The append of this number lies at this offset."""

    number: int
    offset: int


@dataclass(frozen=True, slots=True)
class Offsets:
    """The answer to `Ask`: an offset for each partition."""

    number: int
    offsets: tuple[int, ...]


Frame = Hello | Append | Follow | Unfollow | Ask | Delivery | Gone | Ack | Offsets
_KINDS: Final[tuple[type, ...]] = (
    Hello,
    Append,
    Follow,
    Unfollow,
    Ask,
    Delivery,
    Gone,
    Ack,
    Offsets,
)
_KIND_OF: Final = {kind: number for number, kind in enumerate(_KINDS)}


def encode(frame: Frame) -> bytes:
    """The frame's bytes; one copy of the value."""
    name = getattr(frame, "topic", "").encode()
    place = _PLACE.pack(_KIND_OF[type(frame)], len(name), getattr(frame, "partition", 0)) + name
    match frame:
        case Append():
            return b"".join((place, _APPEND.pack(frame.number, len(frame.key)), frame.key, frame.value))
        case Delivery():
            head = _RECORD.pack(frame.offset, frame.timestamp_seconds, len(frame.key))
            return b"".join((place, head, frame.key, frame.value))
        case Follow() | Gone():
            return place + _NUMBER.pack(frame.offset)
        case Ask():
            return place + _NUMBER.pack(2 * frame.number + frame.ends)
        case Ack():
            return place + _NUMBER.pack(frame.number) + _NUMBER.pack(frame.offset)
        case Offsets():
            return place + b"".join(map(_NUMBER.pack, (frame.number, *frame.offsets)))
        case Hello() | Unfollow():
            return place


def decode(data: bytes) -> Frame:
    """The frame; one copy of the value. Raises `RemoteError` for bytes that are none."""
    try:
        kind, length, partition = _PLACE.unpack_from(data)
        end = _PLACE.size + length
        frame: Frame = _READERS[_KINDS[kind]](data[_PLACE.size : end].decode(), partition, data, end)
    except (struct.error, IndexError, UnicodeDecodeError) as error:
        raise RemoteError(
            f"a frame of {len(data)} bytes cannot be read ({error}): do both sides run the same fdstream?"
        ) from error
    return frame


def _read_append(topic: str, partition: int, data: bytes, at: int) -> Append:
    number, key_length = _APPEND.unpack_from(data, at)
    value = at + _APPEND.size + key_length
    return Append(topic, partition, number, data[value - key_length : value], data[value:])


def _read_delivery(topic: str, partition: int, data: bytes, at: int) -> Delivery:
    offset, seconds, key_length = _RECORD.unpack_from(data, at)
    value = at + _RECORD.size + key_length
    return Delivery(topic, partition, offset, seconds, data[value - key_length : value], data[value:])


def _numbers(data: bytes, at: int, count: int) -> tuple[int, ...]:
    """So many numbers and nothing else."""
    return struct.unpack(f"<{count}Q", data[at:])


def _read_ask(topic: str, _: int, data: bytes, at: int) -> Ask:
    (number,) = _numbers(data, at, 1)
    return Ask(topic, number // 2, bool(number % 2))


def _read_offsets(_topic: str, _partition: int, data: bytes, at: int) -> Offsets:
    number, *offsets = _numbers(data, at, max(1, (len(data) - at) // _NUMBER.size))
    return Offsets(number, tuple(offsets))


_READERS: Final[dict[type, Callable[[str, int, bytes, int], Any]]] = {
    Hello: lambda topic, _partition, _data, _at: Hello(topic),
    Append: _read_append,
    Follow: lambda topic, partition, data, at: Follow(topic, partition, *_numbers(data, at, 1)),
    Unfollow: lambda topic, partition, _data, _at: Unfollow(topic, partition),
    Ask: _read_ask,
    Delivery: _read_delivery,
    Gone: lambda topic, partition, data, at: Gone(topic, partition, *_numbers(data, at, 1)),
    Ack: lambda _topic, _partition, data, at: Ack(*_numbers(data, at, 2)),
    Offsets: _read_offsets,
}
