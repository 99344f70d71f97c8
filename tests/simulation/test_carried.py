"""A model of one small chunk: its updates travel in their reports, and all that holds elsewhere holds there."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest

from fdstream.codecs import for_dtype
from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import Array, update_dtype
from fdstream.events import Entry
from fdstream.layout import Layout
from fdstream.ledger import MAX_CARRIED_BYTES, Ledger
from fdstream.log import Record
from fdstream.messages import FederationOpened, Report, RoundClosing, ShardModel
from fdstream.server.opening import Proposal
from fdstream.server.server import Server
from fdstream.topics import table
from tests.simulation import test_simulation as calm
from tests.simulation.oracle import fedavg, model_hash
from tests.simulation.seeds import ALL
from tests.simulation.world import Chaos, World

SEEDS = ALL // 20


def initial_weights() -> dict[str, Array]:
    weights = calm.initial_weights()
    del weights["scale"]  # of another dtype: a chunk of its own
    return weights


LAYOUT = Layout.of(initial_weights(), chunk_bytes=1024, shards=calm.SHARDS)


def world(seed: int, chaos: Chaos) -> World:
    def proposal(_: Random) -> Proposal:
        return Proposal(LAYOUT, initial_weights(), calm.settings(), {})

    return World(
        seed,
        servers=3,
        clients=calm.CLIENTS,
        proposal=proposal,
        work=calm.honest,
        shards=calm.SHARDS,
        chaos=chaos,
    )


def expected_hash() -> str:
    weights = initial_weights()
    for number in range(1, calm.ROUNDS + 1):
        weights = fedavg(weights, [calm.trained(weights, client, number) for client in calm.CLIENTS])
    return model_hash(LAYOUT, weights)


def test_every_seed_ends_with_the_oracles_bytes() -> None:
    expected = expected_hash()
    for seed in range(SEEDS):
        simulated = world(seed, calm.CHAOS)
        simulated.run()
        for process in (*simulated.servers, *simulated.clients):
            closed = process.core.ledger.closed_record
            assert closed is not None
            assert closed.model_sha256.hex() == expected, f"seed {seed}: {process.name} ends with other bytes"


def test_a_report_is_the_only_record_of_its_update_and_no_book_keeps_it() -> None:
    simulated = world(1, Chaos(turns=0))
    simulated.run()
    found = [
        simulated.entry(topic, partition, offset).message
        for (topic, partition), records in simulated.broker.partitions.items()
        for offset in range(len(records))
        if topic.startswith("round-") or topic == table.CONTROL
    ]
    reports = [each for each in found if isinstance(each, Report) and each.digests]
    assert len(reports) == calm.ROUNDS * len(calm.CLIENTS)
    nothing = shard_digest(())
    for report in reports:
        assert report.digests == (shard_digest([chunk_digest(report.data)]), nothing, nothing)
    assert not any(simulated.broker.partitions[table.updates(slot), 0] for slot in range(table.SLOTS))
    for closing in (each for each in found if isinstance(each, RoundClosing)):
        assert closing.updates_end == (closing.accepted[-1] + 1, 0, 0)
    for process in simulated.servers:
        assert isinstance(process.core, Server)
        assert process.core.book is not None
        assert not any(report.data for report in process.core.book.reports.values())


@pytest.mark.parametrize(
    ("elements", "codec", "carries"),
    [
        (MAX_CARRIED_BYTES // 4, "full", True),
        (MAX_CARRIED_BYTES // 4 + 1, "full", False),
        (MAX_CARRIED_BYTES // 4 + 1, "bfloat16", True),
        (300_000, "topk:0.01", False),  # two chunks, small as each would be
    ],
)
def test_reports_carry_updates_of_one_chunk_up_to_a_size(elements: int, codec: str, carries: bool) -> None:
    layout = Layout.of({"w": np.zeros(elements, np.float32)}, chunk_bytes=900 * 1024, shards=4)
    nothing = shard_digest(())
    model = (ShardModel(bytes(16), 0, nothing, 0, nothing),) * 4
    settings = calm.settings(codec=codec)
    opened = FederationOpened(bytes(16), layout.tensors, layout.chunk_bytes, 4, 2, settings, {}, model)
    ledger = Ledger()
    ledger.fold(Entry(Record(table.CONTROL, 0, 0, 0.0, b""), opened))
    assert ledger.reports_carry_updates is carries
    assert ledger.updates_topic(3) == (table.reports(1) if carries else table.updates(1))
    (first, *_) = layout.chunks
    travelling = for_dtype(ledger.codec, first.dtype).encoded_bytes(update_dtype(first.dtype), first.size)
    assert not carries or travelling <= MAX_CARRIED_BYTES
