"""Signatures: what they cover, and what they do not survive."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fdstream.messages import Message, Refusal
from fdstream.serde.avro import decode, encode
from fdstream.signatures import DOMAIN, is_genuine
from tests.serde.vectors import RECORDS
from tests.signing import ADA, MALLORY, SERVER, signed

SIGNABLE = [record for record in RECORDS if hasattr(record, "signature")]


@pytest.mark.parametrize("record", SIGNABLE, ids=lambda record: type(record).__name__)
def test_a_signed_record_is_read_with_its_signature_and_is_genuine(record: Message) -> None:
    value = signed(record, ADA)
    message = decode(value)
    assert not isinstance(message, Refusal)
    assert message.signature.key == ADA.public  # type: ignore[union-attr]
    assert encode(message) == value
    assert is_genuine(value)
    unsigned = encode(record)
    Ed25519PublicKey.from_public_bytes(ADA.public).verify(value[-64:], DOMAIN + unsigned[:-1])


@pytest.mark.parametrize("record", SIGNABLE, ids=lambda record: type(record).__name__)
def test_no_bit_of_a_signed_record_can_be_changed(record: Message) -> None:
    value = signed(record, ADA)
    for place in range(0, len(value) * 8, 7):
        changed = bytearray(value)
        changed[place // 8] ^= 1 << place % 8
        assert not is_genuine(bytes(changed)), f"bit {place}"


def test_a_signature_is_that_of_one_key_over_one_record() -> None:
    ours, theirs = signed(SIGNABLE[0], SERVER), signed(SIGNABLE[1], SERVER)
    assert not is_genuine(ours[:-97] + theirs[-97:])
    assert not is_genuine(ours[:-96] + MALLORY.public + ours[-64:])


def test_what_is_not_signed_is_not_genuine() -> None:
    assert not is_genuine(encode(SIGNABLE[0]))
    assert not is_genuine(b"")


def test_the_same_key_signs_a_record_with_the_same_bytes() -> None:
    assert signed(SIGNABLE[0], SERVER) == signed(SIGNABLE[0], SERVER)


def test_a_private_key_shows_its_public_half_alone() -> None:
    assert (bytes([2]) * 32).hex() not in repr(ADA)
    assert ADA.public.hex() in repr(ADA)
