"""The published example values are what the code reads and writes."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from fdstream.messages import Message
from fdstream.serde.avro import decode
from tests.serde.vectors import RECORDS, VECTORS, vectors

PUBLISHED: dict[str, Any] = json.loads(VECTORS.read_text(encoding="utf-8"))


def test_there_is_an_example_of_every_record() -> None:
    assert {type(record) for record in RECORDS} == set(get_args(Message))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_published_bytes_are_read_as_their_record(record: Message) -> None:
    assert decode(bytes.fromhex(PUBLISHED["records"][type(record).__name__]["bytes"])) == record


@pytest.mark.parametrize("part", ["records", "layout", "digests", "sampling"])
def test_published_values_are_todays(part: str) -> None:
    assert vectors()[part] == PUBLISHED[part]


def test_sampling_examples_show_both_answers() -> None:
    assert {example["takes_part"] for example in PUBLISHED["sampling"]} == {True, False}
