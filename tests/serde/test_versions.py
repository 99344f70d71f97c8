"""Versions of the protocol: an older and a newer fdstream in one federation, both ways round."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import get_args

import pytest

from fdstream.errors import RemoteError
from fdstream.ledger import Ledger
from fdstream.messages import PROTOCOL, FederationOpened, Message, Refusal, Report
from fdstream.serde import schema
from fdstream.serde.avro import WIRE, Wire
from fdstream.serde.reasons import Reason
from fdstream.serde.schema import load
from fdstream.signatures import is_genuine
from tests.newer import BATTERY, NEWER, NewerReport, newer
from tests.serde.vectors import RECORDS
from tests.server.records import Tape, federation
from tests.signing import ADA, signed

REPORT = next(record for record in RECORDS if isinstance(record, Report))


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_newer_peer_understands_every_record_of_an_older_one(record: Message) -> None:
    read = NEWER.decode(WIRE.encode(record), None, 1)
    assert read == (newer(record, None) if isinstance(record, Report) else record)


def test_an_older_peer_understands_what_a_newer_one_writes_in_its_federation() -> None:
    value = NEWER.encode(newer(REPORT), 1)
    assert value == WIRE.encode(REPORT)
    assert WIRE.decode(value) == REPORT


def test_in_a_newer_federation_the_new_field_travels() -> None:
    value = NEWER.encode(newer(REPORT))
    assert NEWER.decode(value, {Report}) == newer(REPORT)
    assert NEWER.decode(WIRE.encode(REPORT)) == newer(REPORT, None)  # an older form is still known


def test_a_form_that_came_after_the_federations_version_is_unknown_to_everybody() -> None:
    value = NEWER.encode(newer(REPORT), 2)
    for wire in (WIRE, NEWER):
        refusal = wire.decode(value, None, 1)
        assert isinstance(refusal, Refusal)
        assert refusal.reason == Reason.UNKNOWN_SCHEMA


def test_an_older_record_has_one_form_too() -> None:
    value = WIRE.encode(REPORT)
    place = 10 + 16 + 1 + len(REPORT.client) + 16  # of the round, which is written as 02
    assert value[place] == 2
    for changed in (value + b"\0", value[:-1], value[:place] + b"\x82\0" + value[place + 1 :]):
        assert isinstance(NEWER.decode(changed), Refusal), changed.hex()


def test_a_signature_covers_the_bytes_of_whichever_version_they_are() -> None:
    for value in (NEWER.encode(newer(REPORT), 1), NEWER.encode(newer(REPORT), 2)):
        read = NEWER.decode(ADA.sign(value))
        assert isinstance(read, NewerReport)
        assert read.signature is not None
        assert is_genuine(ADA.sign(value))
    assert is_genuine(signed(REPORT, ADA))


def test_who_is_too_old_for_a_federation_says_so() -> None:
    opened = replace(federation(), protocol=PROTOCOL + 1)
    with pytest.raises(
        RemoteError, match="speaks version 2 of the protocol, this fdstream only up to 1: upgrade"
    ):
        Ledger().fold(Tape().entry("control", opened))


@dataclass(frozen=True, slots=True)
class Ranked(FederationOpened):
    """Tomorrow's FederationOpened."""

    rank: int = 0


Ranked.__name__ = "FederationOpened"


def test_a_federation_is_opened_in_the_form_of_the_version_that_it_names() -> None:
    def with_rank(name: str, protocol: int) -> schema.Schema:
        found = load(name)
        if (name, protocol) != ("FederationOpened", 2):
            return found
        rank = {"name": "rank", "type": "long", "default": 0}
        return found | {"fields": [rank, *found["fields"]]}

    wire = Wire([Ranked], 2, with_rank)
    values = {field.name: getattr(federation(), field.name) for field in fields(FederationOpened)}
    first, second = Ranked(**values), Ranked(**values | {"protocol": 2})
    assert wire.encode(first, 2) == WIRE.encode(federation())  # its own version, whatever is asked for
    assert wire.decode(wire.encode(second)) == second
    old_form, new_form = wire.encode(first), wire.encode(second)
    assert old_form[:10] != new_form[:10]
    mixed = new_form[:10] + b"\0" + old_form[10:]  # version 1 in the form of version 2
    refusal = wire.decode(mixed)
    assert isinstance(refusal, Refusal)
    assert refusal == Refusal(Reason.NOT_CANONICAL, "names version 1 in the form of another one")


def test_schemas_that_were_changed_stay_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`v<N>` holds what a record was up to version N."""
    monkeypatch.setattr(schema, "PROTOCOL", 4)
    for place, name in (("", "today"), ("v1", "first"), ("v3", "later")):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "Report.avsc").write_text(json.dumps({"doc": name}))
    found = [load("Report", protocol, tmp_path)["doc"] for protocol in (1, 2, 3, 4)]
    assert found == ["first", "later", "later", "today"]


def test_every_version_can_be_read_as_todays_record() -> None:
    """What is new in a record has a default, or what was written before it came could not be read."""
    for cls in get_args(Message):
        names = {field["name"]: field for field in load(cls.__name__)["fields"]}
        for protocol in range(1, PROTOCOL):
            before = {field["name"] for field in load(cls.__name__, protocol)["fields"]}
            assert all("default" in names[name] for name in names.keys() - before), cls
    assert "default" in BATTERY
