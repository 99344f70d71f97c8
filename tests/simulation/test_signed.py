"""Signed federations among forgers: what no trusted key signed moves nothing, whoever trusts whom and when.

Every server starts with another list of trusted clients and reads new ones in the middle of rounds; an intruder
writes forged, replayed and unsigned records to every topic. Each round must be what the oracle makes of the cohort in
the log, and every cohort must be of the clients' own reports.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from random import Random
from typing import Any

import pytest

from fdstream import signatures
from fdstream.messages import (
    FederationFinished,
    FederationOpened,
    Message,
    Refusal,
    Report,
    RoundClosed,
    RoundClosing,
    RoundOpened,
    ShardResult,
    ShardVerdict,
)
from fdstream.serde.avro import encode
from fdstream.server.opening import Proposal
from fdstream.topics import table
from fdstream.trust import Pins, Trust
from tests.signing import ADA, BOB, MALLORY, SERVER, key
from tests.simulation import test_simulation as calm
from tests.simulation.seeds import ALL
from tests.simulation.test_hostile import Replay, check_round
from tests.simulation.world import Chaos, Identities, World

SEEDS = ALL // 40
BLOCK = 10
OTHER_SERVER, CYD, EVE = key(11), key(4), key(5)
CLIENT_KEYS = {"ada": ADA, "bob": BOB, "cyd": CYD, "eve": EVE}
SERVER_KEYS = (SERVER.public, OTHER_SERVER.public)
TRUSTED = {name: CLIENT_KEYS[name].public for name in ("ada", "bob", "cyd")}
LISTS = [
    Trust(TRUSTED),
    Trust({name: TRUSTED[name] for name in ("ada", "cyd")}),
    Trust(TRUSTED | {"bob": key(12).public}),
    Trust({}),
]
CHAOS = Chaos(
    kill=0.003, sleep=0.002, rebalance=0.006, duplicate=0.05, intrude=0.03, new_list=0.01, turns=1500
)
STRANGE = b"s" * 16


def forge(random: Random, message: Message) -> Message:
    """A record as an attacker would want it."""
    match message:
        case Report():
            return random.choice(
                [
                    message,
                    replace(message, num_examples=message.num_examples + 1),
                    replace(message, client=random.choice(["ada", "bob", "cyd"])),
                    replace(message, attempt=random.randbytes(16)),
                    replace(message, failure="I give up"),
                ]
            )
        case RoundOpened():
            changed = replace(message, sampling_nonce=random.randbytes(16), training=not message.training)
            return random.choice([changed, replace(changed, round=message.round + 1)])
        case RoundClosing():
            return replace(
                message, accepted=message.accepted[:1], ordinal=message.ordinal + random.randrange(2)
            )
        case RoundClosed() | ShardVerdict() | ShardResult():
            changed_id = {"excluded": ()} if isinstance(message, ShardVerdict) else {}
            return replace(message, round=message.round + random.randrange(2), **changed_id)  # type: ignore[arg-type]
        case FederationOpened():
            return replace(message, nonce=STRANGE, server_keys=(MALLORY.public,))
    return message


def unsigned(message: Any, **changes: Any) -> bytes:
    return encode(replace(message, signature=None, **changes))


def signed_by_nobody_trusted(random: Random, message: Message, genuine: bytes) -> bytes:
    """Unsigned, signed by a stranger or a client, or with a signature from elsewhere under a server's name."""
    value = unsigned(message)
    thieves = [MALLORY, EVE] if isinstance(message, Report) else [MALLORY, EVE, ADA]
    stolen = random.choice(thieves).sign(value)
    spliced = stolen[:-97] + genuine[-97:] if stolen[:-97] != genuine[:-97] else value
    renamed = stolen[:-96] + SERVER.public + stolen[-64:]
    return random.choice([value, stolen, spliced, renamed])


def of_another_federation(message: Message) -> bytes:
    """What its own writer signed, in a federation with another nonce."""
    by = CLIENT_KEYS[message.client] if isinstance(message, Report) else SERVER
    return by.sign(unsigned(message, nonce=STRANGE))


def intrude(world: World) -> None:
    """Write something in somebody's name: replayed, of another federation, or forged."""
    random = world.random
    topic = random.choice([table.CONTROL, table.CONTROL, table.SHARDS, table.reports(0), table.reports(1)])
    places = [place for place, found in world.broker.partitions.items() if place[0] == topic and found]
    if not places:
        return
    place = random.choice(places)
    entry = world.entry(*place, random.randrange(len(world.broker.partitions[place])))
    message = entry.message
    if isinstance(message, Refusal) or not hasattr(message, "signature"):
        return
    kind = random.random()
    if kind < 0.25:
        value = entry.record.value
    elif kind < 0.35 and getattr(message, "client", "") in ("", *CLIENT_KEYS):
        value = of_another_federation(message)
    elif kind < 0.45:
        place, value = (table.CONTROL, 0), by_nobody(random, world)
    else:
        value = signed_by_nobody_trusted(random, forge(random, message), entry.record.value)
    if place[0] == topic and isinstance(message, Report):
        place = (table.reports(random.randrange(table.SLOTS)), 0)
    world.broker.append(*place, value, b"")


def by_nobody(random: Random, world: World) -> bytes:
    """An end that fits the moment, if only it were signed."""
    ledger = random.choice(world.servers).core.ledger
    nonce = ledger.opened.nonce if ledger.opened else STRANGE
    end = FederationFinished(nonce, max(ledger.control_offset, 0), 1, True, "because I say so")
    return random.choice([encode(end), MALLORY.sign(encode(end)), ADA.sign(encode(end))])


def world(seed: int) -> World:
    settings = calm.settings(
        min_clients=2, max_clients=2 + seed % 2, deadline_seconds=8.0, signed_reports=True
    )
    servers = {"server-0": SERVER, "server-1": OTHER_SERVER}
    return World(
        seed,
        servers=2,
        clients=list(CLIENT_KEYS),
        proposal=lambda _: Proposal(
            calm.layout(), calm.initial_weights(), settings, {}, federation="mine", server_keys=SERVER_KEYS
        ),
        work=calm.honest,
        shards=calm.SHARDS,
        chaos=CHAOS,
        identities=Identities(servers | CLIENT_KEYS, LISTS, Pins("mine", frozenset(SERVER_KEYS))),
        intrude=intrude,
    )


@pytest.fixture(autouse=True)
def checked_once(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whether a signature fits is a function of bytes; here six processes ask."""
    remembered = lru_cache(maxsize=None)(signatures.is_genuine)
    for module in ("fdstream.ledger", "fdstream.fitting"):
        monkeypatch.setattr(f"{module}.is_genuine", remembered)
    yield
    remembered.cache_clear()


def is_servers(world: World) -> Any:
    """Says of a message whether a server signed it; looks at the bytes anew."""
    genuine = {
        id(world.entry(*place, offset).message): signatures.is_genuine(record.value)
        for place, records in world.broker.partitions.items()
        if place[0] in (table.CONTROL, table.SHARDS)
        for offset, record in enumerate(records)
    }

    def check(message: Message) -> bool:
        signature = getattr(message, "signature", None)
        ours = getattr(message, "nonce", None) == world.servers[0].core.ledger.federation.nonce
        return signature is not None and signature.key in SERVER_KEYS and genuine[id(message)] and ours

    return check


@pytest.mark.parametrize("block", range(SEEDS // BLOCK))
def test_every_round_is_made_of_trusted_clients_own_reports(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        simulated = world(seed)
        simulated.run()
        replay = Replay(simulated, is_servers(simulated))
        assert sorted(replay.closed) == list(range(1, calm.ROUNDS + 2)), f"seed {seed}"
        for process in (*simulated.servers, *simulated.clients):
            ledger = process.core.ledger
            assert ledger.closed_record is not None
            assert ledger.closed_record.model_sha256 == replay.closed[calm.ROUNDS + 1].model_sha256, (
                f"seed {seed}"
            )
            assert ledger.finished is not None
            assert not ledger.finished.failed
        for number in range(1, calm.ROUNDS + 1):
            check_round(replay, number, f"seed {seed}, round {number}")
            for report in replay.cohort(number):
                assert report.signature is not None
                assert report.signature.key == TRUSTED[report.client], f"seed {seed}, round {number}"


def test_the_intruder_writes_much_and_clients_hear_why_they_are_refused() -> None:
    told: set[tuple[str, str]] = set()
    for seed in range(BLOCK):
        simulated = world(seed)
        simulated.run()
        for tell in simulated.told:
            if tell.name in ("rejected", "report refused"):
                told.add((tell.name, tell.facts["reason"]))
    assert ("report refused", "of a client that is not trusted") in told
    assert told >= {
        ("rejected", reason)
        for reason in (
            "not signed",
            "not signed by a server",
            "its signature does not fit",
            "signed with another key than this client's",
            "of a client that is not trusted",
            "of another federation",
        )
    }
