"""A server opens nothing on top of records that it does not know: they may be a newer fdstream's federation."""

from __future__ import annotations

import pytest

from fdstream.errors import RemoteError
from fdstream.events import Entry
from fdstream.ledger import Phase
from fdstream.messages import Refusal
from fdstream.serde.reasons import Reason
from fdstream.server.server import Server
from fdstream.topics import table
from tests.server.records import Tape, federation, new_ids


def server() -> Server:
    made = Server(control_end=1, new_id=new_ids())
    made.assign([0])
    return made


def unknown(tape: Tape, reason: Reason = Reason.UNKNOWN_SCHEMA) -> Entry:
    return tape.entry(table.CONTROL, Refusal(reason, "fingerprint 0011223344556677"))


def test_an_unknown_record_before_any_federation_stops_a_server() -> None:
    with pytest.raises(
        RemoteError, match="at offset 0: if a newer one opened this federation, upgrade this one"
    ):
        server().step(unknown(Tape()))


def test_other_garbage_does_not() -> None:
    made = server()
    made.step(unknown(Tape(), Reason.NOT_A_RECORD))
    assert made.needs_proposal


def test_nor_does_an_unknown_record_in_a_federation_that_is_open() -> None:
    made, tape = server(), Tape()
    made.step(tape.entry(table.CONTROL, federation()))
    made.step(unknown(tape))
    assert made.ledger.phase is Phase.READY
