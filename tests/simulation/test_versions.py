"""A rolling upgrade: servers and clients of two versions in one federation, killed and started again as either."""

from __future__ import annotations

from random import Random

from fdstream.messages import Refusal, Report
from fdstream.serde.avro import WIRE
from fdstream.server.opening import Proposal
from fdstream.topics import table
from tests.newer import NEWER, NewerReport, newer
from tests.simulation import test_simulation as calm
from tests.simulation.world import Chaos, Drawn, World

SEEDS = 40
CHAOS = Chaos(kill=0.004, sleep=0.002, rebalance=0.01, duplicate=0.05, intrude=0.01, turns=1500)
UPGRADED = {"server-1": NEWER, "bob": NEWER, "cyd": NEWER}


def full_battery(_: Random, name: str, drawn: Drawn) -> Drawn:
    """An upgraded client fills the new field in."""
    if name not in UPGRADED:
        return drawn
    return [(place, newer(each) if isinstance(each, Report) else each) for place, each in drawn]


def write_ahead(world: World) -> None:
    """Somebody writes a report in the newer form into the older federation."""
    topic = table.reports(world.random.randrange(table.SLOTS))
    for record in world.broker.partitions[topic, 0][-1:]:
        message = WIRE.decode(record.value)
        if isinstance(message, Report):
            world.broker.append(topic, 0, NEWER.encode(newer(message), 2), b"")


def test_an_upgrade_in_mid_federation_changes_no_byte() -> None:
    expected = calm.expected_hash()
    saw_newer = saw_ahead = False
    for seed in range(SEEDS):
        world = World(
            seed,
            servers=2,
            clients=calm.CLIENTS,
            proposal=lambda _: Proposal(calm.layout(), calm.initial_weights(), calm.settings(), {}),
            work=calm.honest,
            shards=calm.SHARDS,
            chaos=CHAOS,
            tamper=full_battery,
            intrude=write_ahead,
            wires=UPGRADED,
        )
        world.run()
        for process in (*world.servers, *world.clients):
            closed = process.core.ledger.closed_record
            assert closed is not None
            assert closed.model_sha256.hex() == expected, f"seed {seed}: {process.name}"
        read = [entry.message for (topic, *_), entry in world.entries.items() if topic in REPORTS]
        saw_newer |= any(isinstance(message, NewerReport) for message in read)
        saw_ahead |= any(isinstance(message, Refusal) for message in read)
        assert all(message.battery is None for message in read if isinstance(message, NewerReport))
    assert saw_newer
    assert saw_ahead


REPORTS = {table.reports(slot) for slot in range(table.SLOTS)}
