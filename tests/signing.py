"""Keys for tests, and signed records as entries of a log."""

from __future__ import annotations

from fdstream.events import Entry
from fdstream.log import Record
from fdstream.messages import Message, Report
from fdstream.serde.avro import decode, encode
from fdstream.signatures import SigningKey


def key(number: int) -> SigningKey:
    """Keys that can be told apart; the same in every run."""
    return SigningKey.of(bytes([number]) * 32)


SERVER, ADA, BOB, MALLORY = key(1), key(2), key(3), key(66)


def signed(message: Message, by: SigningKey | None) -> bytes:
    """The record's bytes, signed if there is a key."""
    return encode(message) if by is None else by.sign(encode(message))


def entry(message: Message, by: SigningKey | None, *, topic: str = "control", offset: int = 0) -> Entry:
    """A record as a reader gets it."""
    return entry_of(signed(message, by), topic=topic, offset=offset)


def entry_of(value: bytes, *, topic: str = "control", offset: int = 0) -> Entry:
    return Entry(Record(topic, 0, offset, 1000.0, value), decode(value))


def forged(report: Report, victim: SigningKey, by: SigningKey) -> bytes:
    """A report that names the victim's key, with the signature of somebody else's."""
    value = signed(report, by)
    return value[:-96] + victim.public + value[-64:]
