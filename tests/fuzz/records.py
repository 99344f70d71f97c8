"""Hostile records: what can become of a good one on the way, and what somebody may make of it on purpose.

Everything is a function of a seeded `Random` and the good records given. Bytes are spoilt as bytes; fields are spoilt
in the plain values below the classes, which would refuse most of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from fdstream.serde import avro
from tests.serde.plain_avro import long

HEADER_BYTES: Final = 10
_BY_HEADER = avro.WIRE._by_header

INTEGERS: Final = (
    *(0, 1, -1, 2, 255, (1 << 31) - 1, 1 << 31, 1 << 40, 10 * 2**30, (1 << 62) - 1, 1 << 62),
    *((1 << 63) - 1, -(1 << 63), -(1 << 31)),
)
FLOATS: Final = (
    *(0.0, -0.0, 1.0, -1.0, 5e-324, 1e-310, 1e100, 1e101, 1.7e308, -1.7e308),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS: Final = (
    *(
        "",
        " ",
        "\0",
        "\n",
        "\x1b[2J",
        "Ⅷ⁴²",
        "مرحبا",
        "漢字" * 200,
        "👩‍👩‍👧",
        "\u202eevil",
        "a" * 257,
        "a" * 5000,
    ),
    *("'; DROP TABLE clients; --", "../../etc/passwd", "%s%n", "{0.__class__}", "cos\nsystem\n(S'true'\ntR."),
)
SINGLES: Final = (
    b"\x00\x00\xc0\x7f",
    b"\x00\x00\x80\x7f",
    b"\x00\x00\x80\xff",
    b"\x01\x00\x00\x00",
    b"\xff\xff\x7f\x7f",
)
"""Float32: NaN, the infinities, the smallest denormal, the largest."""

Spoil = Callable[[Random, bytes], bytes]


def truncated(random: Random, good: bytes) -> bytes:
    return good[: random.randrange(len(good) + 1)]


def flipped(random: Random, good: bytes) -> bytes:
    spoilt = bytearray(good)
    for _ in range(random.choice((1, 1, 2, 8))):
        if spoilt:
            spoilt[random.randrange(min(len(spoilt), random.choice((40, 200, 1 << 20))))] ^= (
                1 << random.randrange(8)
            )
    return bytes(spoilt)


def trailing(random: Random, good: bytes) -> bytes:
    return good + random.choice((b"\0", random.randbytes(3), good, b"\xff" * 100))


def other_fingerprint(random: Random, good: bytes) -> bytes:
    """Another record's, or nobody's."""
    header = random.choice((*_BY_HEADER, good[:2] + random.randbytes(8)))
    return header + good[HEADER_BYTES:]


def lying_number(random: Random, good: bytes) -> bytes:
    """Somewhere in the fields an integer, a length or a count that lies."""
    place = random.randrange(min(HEADER_BYTES, len(good)), min(len(good), 300) + 1)
    claim = long(random.choice(INTEGERS))
    return good[:place] + claim + good[place + random.choice((0, 1, len(claim))) :]


def nested(random: Random, good: bytes) -> bytes:
    """Blocks in blocks in blocks, should anything read them so."""
    return good[: HEADER_BYTES + 16] + random.choice((long(1), long(-1) + long(2), long(2))) * random.randint(
        10, 3000
    )


def noise(random: Random, good: bytes) -> bytes:
    return good[: random.choice((0, 2, HEADER_BYTES))] + random.randbytes(random.choice((0, 1, 40, 2000)))


def foreign_text(random: Random, good: bytes) -> bytes:
    """JSON, pickles, images and other people's records."""
    del good
    return random.choice(
        (
            b'{"weights": [1.0, null]}',
            b"\x80\x04\x95",
            b"\x89PNG\r\n",
            b"\0\0\0\0\1abc",
            *(t.encode() for t in TEXTS),
        )
    )


def twisted(random: Random, good: bytes) -> bytes:
    """A field, an item or a number of items becomes something else of its kind."""
    codec = _BY_HEADER.get(good[:HEADER_BYTES])
    if codec is None:
        return good
    try:
        end, plain = avro._read_head(codec, good)
    except avro._Refused:
        return flipped(random, good)
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        plain = _twist(random, plain)
    try:
        return codec.write_head(plain) + spoilt_data(random, good[end:])
    except (
        OverflowError,
        ValueError,
        TypeError,
        struct.error,
    ):  # the library writes no 2^64 and no half text
        return flipped(random, good)


def spoilt_data(random: Random, data: bytes) -> bytes:
    """Values that are no numbers, too large or too small; a chunk too long or too short."""
    if not data or random.random() < 0.5:
        return data
    count = len(data) // 4
    values = b"".join(random.choice(SINGLES) for _ in range(min(count, 64)))
    strange = (values * (count // 64 + 1))[: len(data)]
    return random.choice((strange, data[:-1], data + b"\0", data[::-1], b""))


def _twist(random: Random, value: Any) -> Any:
    """The value with one thing in it made another."""
    match value:
        case dict() if value:
            key = random.choice(list(value))
            return {**value, key: _twist(random, value[key])}
        case list() if value and random.random() < 0.7:
            place = random.randrange(len(value))
            return [*value[:place], _twist(random, value[place]), *value[place + 1 :]]
        case tuple() if len(value) == 2:
            return value[0], _twist(random, value[1])
    choices = _other(random, value)
    return random.choice(choices) if choices else value


def _other(random: Random, value: Any) -> Sequence[Any]:
    """What may stand instead of a value, of its kind."""
    match value:
        case list():
            return [], value + value, value * 50, value[::-1], value[:-1]
        case bool():
            return (not value,)
        case int():
            return *INTEGERS, value + 1, value - 1
        case float():
            return FLOATS
        case str():
            return TEXTS
        case bytes():
            return random.randbytes(len(value)), bytes(len(value)), b"\xff" * len(value)
    return ()


SPOILS: Final[tuple[Spoil, ...]] = (
    *(truncated, flipped, trailing, other_fingerprint, lying_number, nested, noise, foreign_text),
    *(twisted, twisted, twisted, twisted),
)


def hostile(random: Random, goods: Sequence[bytes]) -> bytes:
    """One hostile record made from one of these."""
    return random.choice(SPOILS)(random, random.choice(goods))
