"""Where a federation names its servers' keys, only what one of them signed counts, from the log alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdstream.ledger import Ledger, Phase
from fdstream.messages import Message
from fdstream.signatures import SigningKey
from fdstream.topics import table
from tests.server.records import closed, closing, extended, federation, result, round_opened, verdict
from tests.signing import ADA, BOB, MALLORY, SERVER, entry

OPENED = replace(federation(), server_keys=(SERVER.public, BOB.public))
RECORDS: list[Message] = [round_opened(), extended(1), closing(), verdict(0), result(0), closed()]


def opened_ledger() -> Ledger:
    ledger = Ledger()
    assert ledger.fold(entry(OPENED, SERVER))
    return ledger


def fold(ledger: Ledger, message: Message, by: SigningKey | None) -> bool:
    shard = hasattr(message, "shard")
    return ledger.fold(entry(message, by, topic=table.SHARDS if shard else table.CONTROL, offset=1))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
@pytest.mark.parametrize("by", [None, MALLORY, ADA], ids=["unsigned", "a stranger", "a client"])
def test_what_no_server_signed_is_noise_and_takes_nobodys_place(
    record: Message, by: SigningKey | None
) -> None:
    ledger = opened_ledger()
    for earlier in RECORDS[: RECORDS.index(record)]:
        assert fold(ledger, earlier, SERVER)
    phase = ledger.phase
    assert not fold(ledger, record, by)
    assert ledger.phase is phase
    assert fold(ledger, record, BOB)  # any of the servers


def test_a_federation_counts_only_if_one_of_the_servers_it_names_opened_it() -> None:
    ledger = Ledger()
    for by in (None, MALLORY):
        assert not ledger.fold(entry(OPENED, by))
    assert ledger.phase is Phase.ABSENT
    assert ledger.fold(entry(OPENED, SERVER))


def test_where_no_keys_are_named_signatures_mean_nothing() -> None:
    ledger = Ledger()
    assert ledger.fold(entry(federation(), None))
    assert fold(ledger, round_opened(), MALLORY)


def test_a_record_of_another_federation_or_round_cannot_be_used_again() -> None:
    ledger = opened_ledger()
    assert fold(ledger, round_opened(), SERVER)
    another = entry(replace(closing(), nonce=b"o" * 16), SERVER)
    assert not ledger.fold(another)
    assert not fold(ledger, replace(closing(), round=2), SERVER)
    assert not fold(ledger, round_opened(), SERVER)
