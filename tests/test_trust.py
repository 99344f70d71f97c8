"""Who is trusted: pins stop a process, a trust list refuses reports, and both say what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdstream.errors import RemoteError, UsageError
from fdstream.messages import FederationOpened
from fdstream.serde.avro import decode
from fdstream.trust import ANYBODY, NO_PINS, Pins, Trust
from tests.server.records import federation, report
from tests.signing import ADA, BOB, MALLORY, SERVER, signed

PINS = Pins("mine", frozenset({SERVER.public, BOB.public}))
OPENED = replace(federation(), federation="mine", server_keys=(SERVER.public,))


def read(opened: FederationOpened, by: object = SERVER) -> FederationOpened:
    message = decode(signed(opened, by))  # type: ignore[arg-type]
    assert isinstance(message, FederationOpened)
    return message


def test_a_federation_of_pinned_servers_is_taken_part_in() -> None:
    PINS.check(read(OPENED))


def test_without_pins_any_federation_is() -> None:
    for opened in (read(OPENED), read(OPENED, MALLORY), federation()):
        NO_PINS.check(opened)


@pytest.mark.parametrize(
    ("opened", "words"),
    [
        (federation(), "is not signed, and not with a server key"),
        (read(OPENED, MALLORY), f"is signed with the key {MALLORY.public.hex()}"),
        (read(replace(OPENED, server_keys=())), "is signed with the key"),
        (read(replace(OPENED, federation="theirs")), "hold a copy of federation 'theirs'"),
    ],
)
def test_any_other_is_not(opened: FederationOpened, words: str) -> None:
    with pytest.raises(RemoteError, match=words):
        PINS.check(opened)


def test_a_server_has_a_list_where_the_federation_wants_one_and_else_none() -> None:
    wants = federation(signed_reports=True)
    ANYBODY.check(federation())
    Trust({}).check(wants)
    with pytest.raises(UsageError, match="say with --trust who they are"):
        ANYBODY.check(wants)
    with pytest.raises(UsageError, match="leave --trust out"):
        Trust({}).check(federation())


def test_a_report_is_taken_of_a_known_client_with_its_own_key() -> None:
    trust = Trust({"ada": ADA.public})
    by_ada = decode(signed(report("ada"), ADA))
    assert trust.refusal(by_ada) is None  # type: ignore[arg-type]
    by_bob = decode(signed(report("ada"), BOB))
    assert trust.refusal(by_bob) == "signed with another key than this client's"  # type: ignore[arg-type]
    assert trust.refusal(report("ada")) == "signed with another key than this client's"
    assert trust.refusal(report("eve")) == "of a client that is not trusted"
    assert ANYBODY.refusal(report("eve")) is None
