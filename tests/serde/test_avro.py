"""What `fdstream.serde.avro` promises: every record comes back, and no bytes make the reader raise."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.errors import UsageError
from fdstream.layout import TensorSpec
from fdstream.messages import (
    FederationOpened,
    Heartbeat,
    Message,
    ModelChunk,
    Refusal,
    Report,
    RoundClosing,
    RoundExtended,
    Settings,
    ShardModel,
    UpdateChunk,
)
from fdstream.serde.avro import MAX_DATA_BYTES, MAX_HEAD_BYTES, decode, encode
from fdstream.serde.reasons import Reason
from tests.serde import plain_avro
from tests.strategies import MESSAGES, messages

CLASSES = get_args(Message)
ID = bytes(range(16))
REPORT = Report(ID, "client-1", ID, 3, 41, 1200, {"loss": 0.5}, 30, {"accuracy": 0.75}, (ID, ID))
CHUNK = UpdateChunk(ID, ID, 3, 7, 1200, b"\x01\x02\x03\x04")
SHARD_MODEL = ShardModel(ID, 5, ID, 0, ID)
OPENED = FederationOpened(
    nonce=ID,
    tensors=(TensorSpec("w", "float32", (2, 3)),),
    chunk_bytes=1024,
    shards=1,
    slots=2,
    settings=Settings(5, 2, 100, 30.0, 3, 1.0, "fedavg", 2, 0, True),
    config={},
    model=(SHARD_MODEL,),
)
CONFIGURED = replace(OPENED, config={"rate": 17})


def reason_of(value: bytes) -> str | None:
    """Why the bytes are refused; None where they are taken."""
    found = decode(value)
    return found.reason if isinstance(found, Refusal) else None


@pytest.mark.parametrize("cls", CLASSES)
def test_every_record_comes_back_as_it_was(cls: type[Message]) -> None:
    @given(MESSAGES[cls])
    def comes_back(message: Message) -> None:
        found = decode(encode(message))
        assert found == message
        assert type(found) is cls

    comes_back()


@given(messages())
def test_bytes_are_those_of_a_naive_writer_after_the_specification(message: Message) -> None:
    assert encode(message) == plain_avro.record(message)


_KEYS = st.text("abc", min_size=1, max_size=5)


@given(st.dictionaries(_KEYS, st.booleans() | st.sampled_from([0, 1, 0.0, 1.0, -0.0, "1", ""])))
def test_config_values_keep_their_types(config: dict[str, Any]) -> None:
    found = decode(encode(replace(OPENED, config=config)))
    assert isinstance(found, FederationOpened)
    assert list(map(repr, found.config.values())) == list(map(repr, config.values()))
    assert list(found.config) == list(config)


@pytest.mark.parametrize("value", [1 << 63, -(1 << 63) - 1, None, [1], b"x", 1j])
def test_config_values_outside_the_protocol_are_the_callers_mistake(value: Any) -> None:
    with pytest.raises(UsageError, match="'rate'"):
        encode(replace(OPENED, config={"rate": value}))


@pytest.mark.parametrize("cls", [ModelChunk, UpdateChunk])
@given(data=st.data())
def test_data_is_a_view_of_the_bytes_read(cls: type[UpdateChunk], data: st.DataObject) -> None:
    chunk = data.draw(MESSAGES[cls])
    value = encode(replace(chunk, data=memoryview(chunk.data)))
    assert value == encode(chunk)
    found = decode(value)
    assert isinstance(found, cls)
    assert isinstance(found.data, memoryview)
    assert found.data.obj is value
    assert found.data.readonly


@given(st.binary(max_size=200))
def test_bytes_without_the_marker_are_no_record(value: bytes) -> None:
    if not value.startswith(b"\xc3\x01") or len(value) < 10:
        assert reason_of(value) is Reason.NOT_A_RECORD


@given(st.sampled_from(CLASSES), st.binary(max_size=200))
def test_any_bytes_behind_a_known_header_give_a_refusal_or_the_record_with_these_bytes(
    cls: type, rest: bytes
) -> None:
    value = b"\xc3\x01" + plain_avro.fingerprint(cls.__name__) + rest
    found = decode(value)
    assert isinstance(found, Refusal) or encode(found) == value


@given(messages(), st.data())
def test_truncated_anywhere_is_refused(message: Message, data: st.DataObject) -> None:
    value = encode(message)
    short = value[: data.draw(st.integers(0, len(value) - 1))]
    assert reason_of(short) is (Reason.NOT_A_RECORD if len(short) < 10 else Reason.TRUNCATED)


@pytest.mark.parametrize("message", [REPORT, CHUNK, OPENED])
def test_truncated_at_every_byte_is_refused(message: Message) -> None:
    value = encode(message)
    assert {reason_of(value[:length]) for length in range(10)} == {Reason.NOT_A_RECORD}
    assert {reason_of(value[:length]) for length in range(10, len(value))} == {Reason.TRUNCATED}


@given(messages(), st.binary(min_size=1, max_size=20))
def test_trailing_bytes_are_refused(message: Message, surplus: bytes) -> None:
    assert reason_of(encode(message) + surplus) is Reason.TRAILING_BYTES


@given(messages(), st.data())
def test_a_flipped_bit_gives_a_refusal_or_another_record(message: Message, data: st.DataObject) -> None:
    value = bytearray(encode(message))
    value[data.draw(st.integers(0, len(value) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    found = decode(bytes(value))
    assert found != message
    assert isinstance(found, Refusal) or encode(found) == value


@given(messages(), st.sampled_from(CLASSES))
def test_unexpected_records_are_refused_by_their_header(message: Message, cls: type) -> None:
    value = encode(message)
    header_alone = value[:10]
    if type(message) is cls:
        assert decode(value, (cls,)) == message
    else:
        refusal = decode(header_alone, frozenset({cls}))
        assert isinstance(refusal, Refusal)
        assert refusal.reason is Reason.UNEXPECTED_RECORD


def test_unknown_fingerprints_are_refused() -> None:
    assert reason_of(b"\xc3\x01" + bytes(8) + encode(REPORT)[10:]) is Reason.UNKNOWN_SCHEMA


OVERLONG_ZERO = b"\x80\x00"
LEAST_LONG = b"\xff" * 9 + b"\x01"


@pytest.mark.parametrize(
    ("message", "old", "new", "reason"),
    [
        (REPORT, plain_avro.long(41), b"\xd2\x00", Reason.NOT_CANONICAL),  # over-long integer
        (REPORT, plain_avro.long(41), LEAST_LONG, Reason.OUT_OF_RANGE),
        (REPORT, plain_avro.long(41), plain_avro.long((1 << 63) - 1), Reason.OUT_OF_RANGE),
        (REPORT, plain_avro.long(41), b"\xff" * 12 + b"\x01", Reason.NOT_CANONICAL),  # more than 64 bits
        (REPORT, plain_avro.long(1200), plain_avro.long(1 << 40), Reason.OUT_OF_RANGE),
        (REPORT, b"loss", b"\xff\xfe\xfd\xfc", Reason.MALFORMED),  # no UTF-8
        (REPORT, b"client-1", b"client\n1", Reason.OUT_OF_RANGE),
        (REPORT, struct.pack("<d", 0.5), struct.pack("<d", float("nan")), Reason.OUT_OF_RANGE),
        (REPORT, struct.pack("<d", 0.5), struct.pack("<d", float("inf")), Reason.OUT_OF_RANGE),
        (CONFIGURED, b"rate\x02", b"rate\x08", Reason.MALFORMED),  # no such branch of the union
        (REPORT, ID + ID + bytes(3), ID + ID + b"\x00\x00\x03", Reason.NOT_CANONICAL),  # branch -2
        (REPORT, b"\x04" + ID + ID, b"\x03\x40" + ID + ID, Reason.NOT_CANONICAL),  # a block with its size
        (REPORT, b"\x04" + ID + ID, b"\x02" + ID + b"\x02" + ID, Reason.NOT_CANONICAL),  # two blocks
        (REPORT, b"\x04" + ID + ID, LEAST_LONG + b"\x00\x04" + ID + ID, Reason.NOT_CANONICAL),
    ],
)
def test_forged_fields_are_refused(message: Message, old: bytes, new: bytes, reason: Reason) -> None:
    value = encode(message)
    assert value.count(old) == 1
    assert reason_of(value.replace(old, new)) is reason


def test_duplicate_keys_are_refused() -> None:
    value = encode(replace(REPORT, metrics={"a": 1.0, "b": 2.0}))
    assert reason_of(value.replace(b"\x02b" + struct.pack("<d", 2.0), b"\x02a" + struct.pack("<d", 2.0))) is (
        Reason.NOT_CANONICAL
    )


def test_booleans_are_0_or_1() -> None:
    value = encode(replace(OPENED, settings=replace(OPENED.settings, final_evaluation=True)))
    place = value.index(b"fedavg") + len("fedavg") + 2
    assert value[place] == 1
    assert reason_of(value[:place] + b"\x07" + value[place + 1 :]) is Reason.NOT_CANONICAL


@pytest.mark.parametrize("claim", [0, 3, 5, 1 << 40, (1 << 63) - 1, -1, -4, -(1 << 63)])
def test_data_has_the_length_it_claims(claim: int) -> None:
    value = encode(CHUNK)
    forged = value[:-5] + plain_avro.long(claim) + value[-4:]
    assert reason_of(forged) is (Reason.TRUNCATED if claim > 4 else Reason.TRAILING_BYTES)


def test_what_is_too_large_is_refused_unread() -> None:
    header = encode(REPORT)[:10]
    assert reason_of(header + bytes(MAX_HEAD_BYTES - 10)) is not Reason.OVERSIZED
    assert reason_of(header + bytes(MAX_HEAD_BYTES - 9)) is Reason.OVERSIZED
    chunk_header = encode(CHUNK)[:10]
    assert reason_of(chunk_header + bytes(MAX_HEAD_BYTES + MAX_DATA_BYTES)) is Reason.OVERSIZED


def test_the_largest_chunk_of_any_federation_can_be_sent() -> None:
    longest = replace(OPENED, chunk_bytes=MAX_DATA_BYTES)
    assert decode(encode(longest)) == longest
    with pytest.raises(ValueError, match="chunk_bytes"):
        replace(OPENED, chunk_bytes=MAX_DATA_BYTES + 1)
    chunk = replace(CHUNK, data=memoryview(bytes(MAX_DATA_BYTES)))
    assert decode(encode(chunk)) == chunk


def test_what_readers_would_refuse_for_its_size_is_not_written() -> None:
    names = tuple(TensorSpec(f"{i:0200d}", "float32", ()) for i in range(MAX_HEAD_BYTES // 200))
    with pytest.raises(UsageError, match="FederationOpened"):
        encode(replace(OPENED, tensors=names))
    with pytest.raises(UsageError, match="UpdateChunk"):
        encode(replace(CHUNK, data=bytes(MAX_DATA_BYTES + 1)))


@pytest.mark.parametrize(
    "message", [RoundExtended(ID, 1, 1, 1.0, (1 << 61,)), RoundClosing(ID, 1, 1, (0, 1 << 61), ())]
)
def test_long_lists_are_read(message: RoundExtended | RoundClosing) -> None:
    wide = tuple(range(100_000))
    longer = (
        replace(message, excluded=wide)
        if isinstance(message, RoundExtended)
        else replace(message, accepted=wide)
    )
    assert decode(encode(longer)) == longer


def test_details_are_short_and_printable() -> None:
    value = encode(Heartbeat("m", "client", "x" * 100, 1)).replace(
        b"x" * 100, b"\x1b]0;gotcha\x07".ljust(100)
    )
    assert reason_of(value) is Reason.OUT_OF_RANGE
    tensor = encode(OPENED).replace(b"float32", b"\x1b[31mab")
    refusal = decode(tensor)
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.OUT_OF_RANGE
    assert refusal.detail.isprintable()
    assert len(refusal.detail) <= 200
