"""With a hostile client, deadlines and too few reports the cohort depends on the dice; the bytes still may not.

Each round's cohort is read from the log and the round is computed again from the chunks in it, by the oracle.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import payload, update_dtype
from fdstream.messages import (
    Message,
    Report,
    RoundClosed,
    RoundClosing,
    RoundOpened,
    ShardVerdict,
    UpdateChunk,
)
from fdstream.server.opening import Proposal
from fdstream.topics import table
from tests.simulation import test_simulation as calm
from tests.simulation.oracle import fedavg_chunk, read_model
from tests.simulation.seeds import ALL
from tests.simulation.world import Chaos, Drawn, World

SEEDS = ALL // 8
BLOCK = 20
HOSTILE = "mallory"
CHAOS = Chaos(kill=0.003, sleep=0.002, rebalance=0.005, duplicate=0.05, turns=1500)


def spoil(random: Random, drawn: Drawn) -> Drawn:
    """One way to break an update, or a report."""
    index = random.randrange(len(drawn))
    partition, message = drawn[index]
    changed: Message
    match message:
        case UpdateChunk():
            numbers = np.frombuffer(bytes(message.data), np.uint8).copy()
            numbers[random.randrange(numbers.size)] ^= 1 + random.randrange(255)
            nan = np.full(len(message.data) // 4, np.nan, np.float32)
            changed = random.choice(
                [
                    replace(message, data=payload(numbers)),
                    replace(message, data=payload(nan)),
                    replace(message, data=bytes(message.data)[:-1]),
                    replace(message, num_examples=message.num_examples + 1),
                    replace(message, index=message.index + 99),
                    replace(message, round=message.round + 1),
                ]
            )
        case Report():
            changed = random.choice(
                [
                    replace(message, num_examples=message.num_examples + 1),
                    replace(message, digests=message.digests[:-1]),
                    replace(message, attempt=bytes(16)),
                    replace(message, round_offset=message.round_offset + 1),
                    replace(message, nonce=bytes(16)),
                    replace(message, data=message.data[:-1]),
                    replace(message, data=message.data[1:] + b"?" if message.data else b"?"),
                    replace(message, data=b"\xff" * len(message.data)),
                ]
            )
        case _:
            raise AssertionError(f"clients do not write {message}")
    kept = drawn[:index] + drawn[index + 1 :]
    return random.choice(
        [kept, [*kept, (partition, changed)], [*drawn[:index], (partition, changed), *drawn[index + 1 :]]]
    )


def tamper(random: Random, name: str, drawn: Drawn) -> Drawn:
    return spoil(random, drawn) if name == HOSTILE and drawn and random.random() < 0.6 else drawn


def world(seed: int) -> World:
    settings = calm.settings(min_clients=2, max_clients=2 + seed % 2, deadline_seconds=8.0)
    return World(
        seed,
        servers=2,
        clients=["ada", "bob", HOSTILE],
        proposal=lambda _: Proposal(calm.layout(), calm.initial_weights(), settings, {}),
        work=calm.honest,
        shards=calm.SHARDS,
        chaos=CHAOS,
        tamper=tamper,
    )


def messages(simulated: World, topic: str, partition: int) -> list[tuple[int, Message]]:
    """Every record of a partition that can be read, with its offset; deleted ones too."""
    entries = [
        simulated.entry(topic, partition, offset)
        for offset in range(len(simulated.broker.partitions[topic, partition]))
    ]
    return [(entry.record.offset, entry.message) for entry in entries]  # type: ignore[misc]


class Replay:
    """The history of a world, with the first record of every key."""

    def __init__(self, simulated: World, counts: Callable[[Message], bool] = lambda _: True) -> None:
        """`counts` says of a record in control or shards whether it may count at all."""
        self.world = simulated
        self.opened: dict[int, RoundOpened] = {}
        self.closings: dict[tuple[int, int], RoundClosing] = {}
        self.closed: dict[int, RoundClosed] = {}
        self.verdicts: dict[tuple[int, int, int], ShardVerdict] = {}
        for message in filter(counts, (message for _, message in messages(simulated, table.CONTROL, 0))):
            match message:
                case RoundOpened():
                    self.opened.setdefault(message.round, message)
                case RoundClosing():
                    self.closings.setdefault((message.round, message.ordinal), message)
                case RoundClosed():
                    self.closed.setdefault(message.round, message)
        for shard in range(calm.SHARDS):
            for message in filter(
                counts, (message for _, message in messages(simulated, table.SHARDS, shard))
            ):
                if isinstance(message, ShardVerdict):
                    self.verdicts.setdefault((message.round, message.ordinal, shard), message)

    def cohort(self, number: int) -> list[Report]:
        ordinal = self.closed[number].ordinal
        excluded = {
            exclusion.report
            for shard in range(calm.SHARDS)
            for exclusion in self.verdicts[number, ordinal, shard].excluded
        }
        reports = dict(messages(self.world, table.reports(number % table.SLOTS), 0))
        accepted = [offset for offset in self.closings[number, ordinal].accepted if offset not in excluded]
        found = [reports[offset] for offset in accepted]
        assert all(isinstance(report, Report) for report in found)
        return found  # type: ignore[return-value]

    def update(self, number: int, shard: int, attempt: bytes) -> dict[int, UpdateChunk]:
        """The first chunk of each index that the attempt wrote in the round's part of the log."""
        start = self.opened[number].updates_start[shard]
        sizes = {s.index: s.size * update_dtype(s.dtype).itemsize for s in calm.layout().chunks_of(shard)}
        found: dict[int, UpdateChunk] = {}
        for offset, chunk in messages(self.world, table.updates(number % table.SLOTS), shard):
            if not isinstance(chunk, UpdateChunk) or offset < start:
                continue
            fits = sizes.get(chunk.index) == len(chunk.data)
            if fits and (chunk.attempt, chunk.round) == (attempt, number):
                found.setdefault(chunk.index, chunk)
        return found


@pytest.mark.parametrize("block", range(SEEDS // BLOCK))
def test_every_round_is_what_the_oracle_makes_of_its_cohort(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        simulated = world(seed)
        simulated.run()
        replay = Replay(simulated)
        assert sorted(replay.closed) == list(range(1, calm.ROUNDS + 2)), f"seed {seed}"
        for number in range(1, calm.ROUNDS + 1):
            check_round(replay, number, f"seed {seed}, round {number}")


def check_round(replay: Replay, number: int, where: str) -> None:
    layout, cohort = calm.layout(), replay.cohort(number)
    assert len(cohort) >= 2, where
    assert len({report.client for report in cohort}) == len(cohort), where
    before = read_model(replay.world, number, replay.opened[number].model)
    after = read_model(replay.world, number + 1, replay.closed[number].model)
    for shard in layout.active_shards:
        updates = [replay.update(number, shard, report.attempt) for report in cohort]
        for report, chunks in zip(cohort, updates, strict=True):
            digests = [chunk_digest(chunk.data) for _, chunk in sorted(chunks.items())]
            assert shard_digest(digests) == report.digests[shard], (
                f"{where}: {report.client} is not what it reported"
            )
            assert {chunk.num_examples for chunk in chunks.values()} == {report.num_examples}, where
        for spec in layout.chunks_of(shard):
            parts = [
                (chunks[spec.index].data, report.num_examples)
                for chunks, report in zip(updates, cohort, strict=True)
            ]
            expected = fedavg_chunk(spec, before[spec.index], parts)
            assert payload(after[spec.index]).tobytes() == payload(expected).tobytes(), (
                f"{where}, chunk {spec.index}"
            )
