"""Lengths and counts that lie cost the reader little memory: bounded by the bytes that really came."""

from __future__ import annotations

import tracemalloc

import pytest

from fdstream.messages import Refusal
from fdstream.serde.avro import MAX_HEAD_BYTES, decode
from fdstream.serde.reasons import Reason
from tests.serde import plain_avro
from tests.serde.plain_avro import long

ID = bytes(range(16))
HUGE = [1 << 31, 1 << 40, (1 << 62) - 1, (1 << 63) - 1, -1, -(1 << 40), -(1 << 63)]


def header(name: str) -> bytes:
    return b"\xc3\x01" + plain_avro.fingerprint(name)


def peak_bytes(value: bytes) -> tuple[int, Refusal]:
    """The most memory that reading takes beside `value`, and what it answers."""
    decode(value)
    tracemalloc.start()
    try:
        found = decode(value)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(found, Refusal)
    return peak, found


PLACES = {
    "length of a text": header("Report") + ID,
    "length of data": header("UpdateChunk") + ID + ID + long(1) + long(1) + long(1),
    "entries of a map": header("GlobalEvaluated") + ID + long(1),
    "length of a key": header("GlobalEvaluated") + ID + long(1) + long(1),
    "items of longs": header("RoundClosing") + ID + long(1) + long(1),
    "items of fixed": header("Report") + ID + long(1) + b"c" + ID + long(1) * 3 + long(0) + long(1) + long(0),
    "items of records": header("ShardVerdict") + ID + long(1) + long(1) + long(0),
    "extents of a tensor": header("FederationOpened") + ID + long(1) + long(1) + b"w" + long(7) + b"float32",
}


@pytest.mark.parametrize("claim", HUGE)
@pytest.mark.parametrize("place", PLACES)
def test_lying_lengths_are_refused_within_a_few_kilobytes(place: str, claim: int) -> None:
    peak, _ = peak_bytes(PLACES[place] + long(claim) + bytes(64))
    assert peak < 32 * 1024


@pytest.mark.parametrize(
    ("place", "item"),
    [
        ("items of longs", b"\xfe\xff\xff\x0f"),
        ("items of fixed", ID),
        ("items of records", long(0) + long(0)),
        ("extents of a tensor", long(1)),
        ("entries of a map", long(0) + bytes(8)),
    ],
)
def test_the_most_items_that_fit_stay_within_a_bound(place: str, item: bytes) -> None:
    """A server's list of many small records is the dearest: a Python object for every few bytes."""
    start = PLACES[place]
    count = (MAX_HEAD_BYTES - len(start) - 10) // len(item)
    peak, refusal = peak_bytes(start + long(count) + item * count)
    assert refusal.reason in (Reason.TRUNCATED, Reason.NOT_CANONICAL)
    assert peak < 200 * MAX_HEAD_BYTES


def test_chunks_are_not_copied() -> None:
    data = bytes(1 << 20)
    start = PLACES["length of data"]
    peak, _ = peak_bytes(start + long(len(data) + 1) + data)
    assert peak < 32 * 1024
