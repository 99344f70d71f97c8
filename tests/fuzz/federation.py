"""Whole servers and clients on a log in memory, between hostile records on every topic.

All three clients are needed in each round, so the model is known beforehand: whatever strangers write, it ends with
the same bytes. Topics that only servers may write to get what cannot be read, and what is of another federation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from fdstream.messages import PROTOCOL, FederationOpened, Refusal
from fdstream.serde.avro import decode, encode
from fdstream.server.opening import Proposal
from fdstream.topics import table
from tests.fuzz.records import hostile
from tests.serde.vectors import RECORDS
from tests.simulation import test_simulation as calm
from tests.simulation.world import Chaos, World

STRANGER = bytes(range(16))
GOODS = [encode(record) for record in RECORDS]
TURNS = 1500


def harmless(topic: str, value: bytes) -> bytes:
    """What may stand on a topic of the servers: nobody can write a good record there but them."""
    message: Any = decode(value)
    if table_of_clients(topic) or isinstance(message, Refusal):
        return value
    if isinstance(message, FederationOpened):  # another version's can be read, and not be written
        message = replace(message, protocol=PROTOCOL)
    return encode(replace(message, nonce=STRANGER)) if hasattr(message, "nonce") else value


def table_of_clients(topic: str) -> bool:
    return topic.endswith((".updates", ".reports")) or topic in (table.MEMBERS, table.REJECTED)


class Besieged(World):
    """Its garbage is made from what is in the log."""

    def _write_garbage(self) -> None:
        place = self.random.choice(sorted(self.broker.partitions))
        there = self.broker.partitions[place]
        if place[0] == table.CONTROL and not self._is_open():
            return  # who could write there before could open the federation, or seem to be a newer server
        goods = [self.random.choice(there).value] if there and self.random.random() < 0.8 else GOODS
        self.broker.append(*place, harmless(place[0], hostile(self.random, goods)), b"")

    def _is_open(self) -> bool:
        return any(
            isinstance(decode(record.value), FederationOpened)
            for record in self.broker.partitions[table.CONTROL, 0]
        )


def check_federation(seed: int, records: int) -> Counter[str]:
    """Run one among about so many hostile records; how often each reason was given."""
    chaos = Chaos(kill=0.002, rebalance=0.005, garbage=min(1.0, records / TURNS), turns=TURNS)
    besieged = Besieged(
        seed,
        servers=2,
        clients=calm.CLIENTS,
        proposal=lambda _: Proposal(calm.layout(), calm.initial_weights(), calm.settings(), {}),
        work=calm.honest,
        shards=calm.SHARDS,
        chaos=chaos,
    )
    besieged.run(at_most=150_000)
    expected = calm.expected_hash()
    for process in (*besieged.servers, *besieged.clients):
        closed = process.core.ledger.closed_record
        assert closed is not None
        assert closed.model_sha256.hex() == expected, f"seed {seed}: {process.name} ends with other bytes"
    return Counter(str(tell.facts["reason"]) for tell in besieged.told if tell.name == "rejected")
