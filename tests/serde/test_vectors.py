"""The published example values are what the code reads and writes."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fdstream.messages import Message, Refusal
from fdstream.serde.avro import decode
from tests.serde.vectors import RECORDS, VECTORS, vectors

PUBLISHED: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))


def test_there_is_an_example_of_every_record() -> None:
    assert {type(record) for record in RECORDS} == set(get_args(Message))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_published_bytes_are_read_as_their_record(record: Message) -> None:
    assert decode(bytes.fromhex(PUBLISHED["records"][type(record).__name__]["bytes"])) == record


@pytest.mark.parametrize("part", ["records", "layout", "digests", "signatures", "sampling"])
def test_published_values_are_todays(part: str) -> None:
    assert vectors()[part] == PUBLISHED[part]


def test_sampling_examples_show_both_answers() -> None:
    assert {example["takes_part"] for example in PUBLISHED["sampling"]} == {True, False}


@pytest.mark.parametrize("example", PUBLISHED["signatures"], ids=lambda example: example["record"])
def test_published_signatures_are_checked_by_the_library_itself(example: dict[str, Any]) -> None:
    value, public = bytes.fromhex(example["bytes"]), bytes.fromhex(example["public_key"])
    message = decode(value)
    assert not isinstance(message, Refusal)
    assert message.signature is not None  # type: ignore[union-attr]
    assert message.signature.key == public  # type: ignore[union-attr]
    Ed25519PublicKey.from_public_bytes(public).verify(value[-64:], bytes.fromhex(example["signed"]))
