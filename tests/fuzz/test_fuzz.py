"""The fuzzer's checks on a fixed handful of inputs; `make fuzz` does a million with a new seed."""

from __future__ import annotations

from collections import Counter
from random import Random

from fdstream.serde.avro import encode
from fdstream.serde.reasons import Reason
from tests.fuzz.checks import check_payload, check_record, payload_bytes
from tests.fuzz.federation import check_federation
from tests.fuzz.records import SPOILS, hostile
from tests.serde.vectors import RECORDS

GOODS = [encode(record) for record in RECORDS]


def test_whatever_comes_is_a_record_or_refused_for_a_reason() -> None:
    random, outcomes = Random(1), Counter[str]()
    for _ in range(3000):
        outcomes[check_record(hostile(random, GOODS))] += 1
    assert {"a record", *(str(reason) for reason in Reason)} - {
        "unexpected record",
        "oversized",
    } <= outcomes.keys()


def test_every_prefix_of_every_record_is_refused() -> None:
    for good in GOODS:
        assert check_record(good) == "a record"
        for end in range(len(good)):
            assert check_record(good[:end]) != "a record"


def test_every_kind_of_spoiling_spoils() -> None:
    for spoil in set(SPOILS):
        assert any(spoil(Random(seed), GOODS[0]) != GOODS[0] for seed in range(20)), spoil


def test_a_payload_is_values_or_refused() -> None:
    random, outcomes = Random(2), Counter[str]()
    assert check_payload(b"") == "values"
    for kinds in range(256):
        for length in (payload_bytes(kinds), random.randrange(300)):
            outcomes[check_payload(bytes([kinds]) + random.randbytes(length))] += 1
    assert outcomes.keys() == {"values", "refused"}


def test_servers_among_hostile_records_end_with_the_honest_model() -> None:
    reasons = check_federation(3, 300)
    assert {"truncated", "trailing bytes", "unexpected record"} <= reasons.keys()
