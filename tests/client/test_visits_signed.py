"""Visits in a federation of signed reports: what others write in a client's name is not the client's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from fdstream.client.visitor import (
    ALREADY_REPORTED,
    FINISHED,
    NO_ROUND_OPEN,
    REPORTED,
    Visit,
    Visitor,
    Watch,
)
from fdstream.errors import RemoteError, UsageError
from fdstream.heartbeats import Heartbeats
from fdstream.messages import Report
from fdstream.serde.avro import encode
from fdstream.signatures import SigningKey
from fdstream.topics import table
from fdstream.trust import Pins, Trust
from tests.client.hosted import A_LONG_TIME, Host, HostedLog
from tests.client.test_connection_visits import app
from tests.signing import ADA, BOB, MALLORY, SERVER, forged, key, signed
from tests.simulation.seeds import ALL

CYD = key(4)
KEYS = {"ada": ADA, "bob": BOB, "cyd": CYD}
TRUST = Trust({name: each.public for name, each in KEYS.items()})
PINS = Pins("mine", frozenset({SERVER.public}))
SEEDS = ALL // 100


class Functions:
    """Instances of a function in a federation of three clients, all of which every round needs."""

    def __init__(self, **settings: int) -> None:
        wanted: dict[str, Any] = {"min_clients": 3, "max_clients": 3, **settings}
        self.host = Host(key=SERVER, trust=TRUST, **wanted)
        self.heartbeats = Heartbeats(A_LONG_TIME)

    def instance(self, pins: Pins = PINS) -> Visitor:
        return Visitor(HostedLog(self.host), self.heartbeats, {}, {}, pins=pins)

    def visit(self, visitor: Visitor, client: str, by: SigningKey | None = None) -> Visit:
        return visitor.visit(client, app, Watch(), by or KEYS[client])

    def until_round(self, number: int) -> None:
        while self.host.server.ledger.round < number:
            self.host.turn()

    def report(self, client: str) -> Report:
        """What somebody who knows the round might write in a client's name."""
        ledger = self.host.server.ledger
        entry = ledger.round_entry
        assert entry is not None
        digests = (bytes(16),) * 2 if ledger.round_opened.training else ()
        nonce, place = ledger.federation.nonce, (ledger.round, entry.record.offset)
        return Report(nonce, client, b"an intruder's id", *place, 5, {}, 0, {}, digests)

    def write(self, *values: bytes) -> None:
        topic = table.reports(self.host.server.ledger.round % table.SLOTS)
        for value in values:
            self.host.broker.append(topic, 0, value, b"")


def forgeries(report: Report) -> Iterable[bytes]:
    """Of a report in ada's name: unsigned, by a stranger, by another client, and with her key above a wrong hand."""
    yield encode(report)
    yield signed(report, MALLORY)
    yield signed(report, BOB)
    yield forged(report, ADA, MALLORY)


@pytest.mark.parametrize("failure", [None, "I give up"])
def test_no_forged_report_makes_a_client_one_that_has_answered(failure: str | None) -> None:
    functions = Functions()
    functions.until_round(1)
    made = functions.report("ada")
    functions.write(*forgeries(replace(made, failure=failure, digests=() if failure else made.digests)))
    visitor = functions.instance()
    assert functions.visit(visitor, "ada").outcome == REPORTED
    assert functions.visit(functions.instance(), "ada").outcome == ALREADY_REPORTED
    assert functions.visit(visitor, "ada").outcome == ALREADY_REPORTED


def test_a_copy_of_its_own_report_uses_up_nothing() -> None:
    functions = Functions()
    functions.until_round(1)
    visitor = functions.instance()
    assert functions.visit(visitor, "ada").outcome == REPORTED
    topic = table.reports(1)
    (genuine,) = [record.value for record in functions.host.broker.partitions[topic, 0]]
    functions.write(genuine, genuine, genuine)
    session = visitor._connection.session
    assert functions.visit(visitor, "ada").outcome == ALREADY_REPORTED
    assert (session._parts["ada"].tries, session._parts["ada"].report) == (1, 0)


def test_one_connection_serves_clients_with_a_key_each() -> None:
    functions = Functions(num_rounds=1)
    functions.until_round(1)
    visitor = functions.instance()
    for client in KEYS:
        assert functions.visit(visitor, client).outcome == REPORTED
    signers = {
        report.client: report.signature.key for report in functions.host.reports(1) if report.signature
    }
    assert signers == TRUST.keys
    functions.until_round(2)


def test_who_signs_with_a_key_that_is_not_trusted_hears_why_it_was_refused() -> None:
    functions = Functions(min_clients=1, max_clients=1)
    functions.until_round(1)
    visitor = functions.instance()
    assert functions.visit(visitor, "ada", MALLORY).outcome == REPORTED
    assert functions.visit(visitor, "ada").outcome == REPORTED
    while not functions.host.server.ledger.closing:
        functions.host.turn()


def test_without_a_key_nothing_is_trained_in_vain() -> None:
    functions = Functions()
    functions.until_round(1)
    with pytest.raises(UsageError, match="takes signed reports only: make a key with `fdstream keys new`"):
        functions.instance().visit("ada", app, Watch())
    assert functions.host.reports(1) == []


def test_a_federation_of_other_servers_is_not_taken_part_in() -> None:
    functions = Functions()
    functions.until_round(1)
    with pytest.raises(RemoteError, match="not with a server key that is trusted here"):
        functions.visit(functions.instance(Pins("mine", frozenset({MALLORY.public}))), "ada")
    assert functions.host.reports(1) == []


def intrude(functions: Functions, random: Random) -> None:
    """Forge a report in ada's name, or write once more what somebody has written."""
    if not functions.host.server.ledger.asks_for_reports:
        return
    made = replace(functions.report("ada"), attempt=random.randbytes(16))
    written = functions.host.broker.partitions[table.reports(made.round % table.SLOTS), 0]
    functions.write(random.choice([*forgeries(made), *(record.value for record in written)]))


def final_model(functions: Functions) -> bytes:
    closed = functions.host.server.ledger.closed_record
    assert closed is not None
    return closed.model_sha256


def play(random: Random, *, intruder: bool) -> Functions:
    """Whoever is invoked, on whichever instance, until the federation has ended; each reports once a round."""
    functions = Functions()
    instances = [functions.instance() for _ in range(2)]
    reported: set[tuple[str, int]] = set()
    while instances:
        functions.host.turn()
        if intruder and random.random() < 0.5:
            intrude(functions, random)
        index, client = random.randrange(len(instances)), random.choice(list(KEYS))
        visit = functions.visit(instances[index], client)
        assert visit.outcome in (REPORTED, ALREADY_REPORTED, NO_ROUND_OPEN, FINISHED), visit
        answered = (client, visit.round)
        if visit.outcome == REPORTED:
            assert answered not in reported
            reported.add(answered)
        assert (visit.outcome in (REPORTED, ALREADY_REPORTED)) <= (answered in reported), visit
        if visit.outcome == FINISHED:
            instances.pop(index).close()
        elif random.random() < 0.2:
            instances[index] = functions.instance()
    assert reported == {(client, number) for client in KEYS for number in (1, 2, 3)}
    return functions


def test_among_forgers_every_client_reports_once_a_round_and_the_model_is_the_same() -> None:
    expected = final_model(play(Random(0), intruder=False))
    for seed in range(SEEDS):
        assert final_model(play(Random(seed), intruder=True)) == expected, f"seed {seed}"
