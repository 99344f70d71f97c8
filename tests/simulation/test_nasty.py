"""Random federations, not one: strategies with state, sampling, rings of other sizes, many shards, multiplexing.

Everything that a federation may be set to is drawn from the seed, and the scheduler adds garbage, lagging
partitions, wrong clocks and stragglers. Each round is computed again by the oracle from the chunks in the log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random

import pytest

from fdstream.aggregation.strategies import strategy
from fdstream.client.session import Outcome, Session
from fdstream.codecs import codec, for_dtype, model_codec
from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import Array, payload, update_dtype
from fdstream.layout import ChunkSpec, Layout
from fdstream.messages import (
    FederationOpened,
    Message,
    ModelChunk,
    Refusal,
    Rejected,
    Report,
    RoundClosed,
    RoundClosing,
    RoundOpened,
    Settings,
    ShardModel,
    ShardVerdict,
    UpdateChunk,
)
from fdstream.server.broadcast import Broadcast
from fdstream.server.opening import Proposal
from fdstream.topics import table
from tests.simulation import test_simulation as calm
from tests.simulation.rules import aggregate
from tests.simulation.seeds import ALL
from tests.simulation.test_hostile import HOSTILE, tamper
from tests.simulation.world import Chaos, World

SEEDS = ALL // 40
BLOCK = 10
STRATEGIES = ["fedavg", "fedavg:lr=0.5", "fedavgm", "fedadam", "fedyogi", "fedadagrad"]
CODECS = ["full", "full", "float32", "bfloat16", "float16", "int8", "topk:0.25", "topk:0.5"]
MODEL_CODECS = ["full", "full", "float32", "bfloat16", "float16", "int8"]
GROUPS: list[list[list[str]]] = [
    [["ada"], ["bob"], ["cyd"]],
    [["ada", "bob"], ["cyd"], ["dan"]],
    [["ada"], ["ada"], ["bob"], ["cyd"]],  # two live clients under one name
    [["ada", "bob", "cyd", "dan"], [HOSTILE]],
    [["ada"], ["bob"], ["cyd"], [HOSTILE, "dan"]],
]


@dataclass(frozen=True)
class Scenario:
    """What a seed makes of a federation."""

    settings: Settings
    shards: int
    slots: int
    groups: list[list[str]]
    servers: int
    small: bool  # a model of one chunk, whose updates travel in their reports


def scenario(seed: int) -> Scenario:
    random = Random(f"scenario {seed}")
    groups = random.choice(GROUPS)
    honest = len({name for group in groups for name in group} - {HOSTILE})
    min_clients = random.randint(1, honest)
    settings = calm.settings(
        num_rounds=random.randint(1, 12),
        min_clients=min_clients,
        max_clients=random.randint(min_clients, honest + 1),
        deadline_seconds=random.choice([0.5, 3.0, 8.0, 30.0]),
        max_extensions=100_000,
        fraction=random.choice([1.0, 1.0, 0.6, 0.3]),
        strategy=random.choice(STRATEGIES),
        keep_rounds=random.choice([0, 1, 2, 3]),
        final_evaluation=random.random() < 0.7,
    )
    travel = Random(f"codecs {seed}")
    settings = replace(settings, codec=travel.choice(CODECS), model_codec=travel.choice(MODEL_CODECS))
    shards, slots, servers = random.choice([1, 2, 3, 12]), random.choice([1, 2, 2, 3]), random.randint(1, 3)
    return Scenario(settings, shards, slots, groups, servers, small=Random(f"small {seed}").random() < 0.3)


def work(client: str, session: Session) -> Outcome:
    """Like `calm.honest`; some fail at times."""
    number = session.ledger.round
    if client == "bob" and (number * 7 + len(session.ledger.extensions)) % 5 == 0:
        return Outcome(failure="out of memory")
    return calm.honest(client, session)


def world(seed: int, **changes: object) -> World:
    drawn = replace(scenario(seed), **changes)  # type: ignore[arg-type]
    random = Random(f"chaos {seed}")
    chaos = Chaos(
        kill=random.choice([0.0, 0.004, 0.02]),
        sleep=random.choice([0.0, 0.003]),
        rebalance=random.choice([0.0, 0.01, 0.2]),
        duplicate=random.choice([0.0, 0.05]),
        garbage=random.choice([0.0, 0.02]),
        lag=random.choice([0.0, 0.02]),
        wrong_clock=random.choice([0.0, 0.01]),
        straggle=random.choice([0.0, 0.003]),
        turns=random.choice([300, 1500, 4000]),
    )

    def proposal(dice: Random) -> Proposal:
        weights = calm.initial_weights(dice.randrange(5))
        if drawn.small:
            del weights["scale"]  # of another dtype
        layout = Layout.of(weights, chunk_bytes=1024 if drawn.small else 16, shards=drawn.shards)
        return Proposal(layout, weights, drawn.settings, {}, drawn.slots)

    return World(
        seed,
        servers=drawn.servers,
        clients=drawn.groups,
        proposal=proposal,
        work=work,
        shards=drawn.shards,
        slots=drawn.slots,
        chaos=chaos,
        tamper=tamper,
    )


class Replay:
    """The history of a world as the first record of every key tells it, read by nobody's code but this."""

    def __init__(self, simulated: World) -> None:
        self.world = simulated
        self.opened: dict[int, RoundOpened] = {}
        self.closings: dict[tuple[int, int], RoundClosing] = {}
        self.closed: dict[int, RoundClosed] = {}
        self.verdicts: dict[tuple[int, int, int], ShardVerdict] = {}
        self._read_control()
        self._read_verdicts()

    def _read_control(self) -> None:
        control = [message for _, message in self.messages(table.CONTROL, 0)]
        self.federation = next(message for message in control if isinstance(message, FederationOpened))
        self.layout = Layout(self.federation.tensors, self.federation.chunk_bytes, self.federation.shards)
        settings = self.federation.settings
        self.codec = codec(settings.codec)
        self.broadcast = Broadcast(
            strategy(settings.strategy), model_codec(settings.model_codec), settings.seed
        )
        for message in control:
            if getattr(message, "nonce", None) != self.federation.nonce:
                continue
            match message:
                case RoundOpened():
                    self.opened.setdefault(message.round, message)
                case RoundClosing():
                    self.closings.setdefault((message.round, message.ordinal), message)
                case RoundClosed():
                    self.closed.setdefault(message.round, message)

    def _read_verdicts(self) -> None:
        for shard in range(self.federation.shards):
            for _, message in self.messages(table.SHARDS, shard):
                if isinstance(message, ShardVerdict) and message.nonce == self.federation.nonce:
                    self.verdicts.setdefault((message.round, message.ordinal, shard), message)

    def messages(self, topic: str, partition: int) -> Iterator[tuple[int, Message]]:
        for offset in range(len(self.world.broker.partitions[topic, partition])):
            yield offset, self.world.entry(topic, partition, offset).message  # type: ignore[misc]

    def slot(self, number: int) -> int:
        return number % self.federation.slots

    def cohort(self, number: int) -> list[Report]:
        ordinal = self.closed[number].ordinal
        excluded = {
            exclusion.report
            for shard in self.layout.active_shards
            for exclusion in self.verdicts[number, ordinal, shard].excluded
        }
        reports = dict(self.messages(table.reports(self.slot(number)), 0))
        accepted = [offset for offset in self.closings[number, ordinal].accepted if offset not in excluded]
        return [reports[offset] for offset in accepted]  # type: ignore[misc]

    def update(self, number: int, shard: int, attempt: bytes) -> dict[int, UpdateChunk]:
        """The first chunk of each index that the attempt wrote in the round's part of the log."""
        opened = self.opened[number]
        start = opened.reports_start if self.world_is_small else opened.updates_start[shard]
        sizes = {
            s.index: for_dtype(self.codec, s.dtype).encoded_bytes(update_dtype(s.dtype), s.size)
            for s in self.layout.chunks_of(shard)
        }
        found: dict[int, UpdateChunk] = {}
        for offset, chunk in self.updates(number, shard):
            if isinstance(chunk, UpdateChunk) and offset >= start:  # noqa: SIM102
                if (chunk.attempt, chunk.round) == (attempt, number) and sizes.get(chunk.index) == len(
                    chunk.data
                ):
                    found.setdefault(chunk.index, chunk)
        return found

    def values(self, spec: ChunkSpec, chunks: Mapping[int, UpdateChunk]) -> Array:
        """What readers take a chunk's payload for."""
        travel = for_dtype(self.codec, spec.dtype)
        return travel.decode(chunks[spec.index].data, update_dtype(spec.dtype), spec.size)

    def updates(self, number: int, shard: int) -> Iterator[tuple[int, Message]]:
        """Every chunk of an update in the round's slot; what reports carry as the chunk that it is."""
        if not self.world_is_small:
            yield from self.messages(table.updates(self.slot(number)), shard)
            return
        for offset, report in self.messages(table.reports(self.slot(number)), 0):
            if isinstance(report, Report) and report.num_examples and report.failure is None:
                names = (report.nonce, report.attempt, report.round)
                yield offset, UpdateChunk(*names, 0, report.num_examples, report.data)

    @property
    def world_is_small(self) -> bool:
        return len(self.layout.chunks) == 1

    def model(self, version: int, named: tuple[ShardModel, ...]) -> dict[tuple[int, int], Array]:
        """The parts that a model's records name, by part and index; deleted ones too."""
        found: dict[tuple[int, int], Array] = {}
        for shard in self.layout.active_shards:
            for topic, start in (
                (table.model(self.slot(version)), named[shard].start),
                (table.state(self.slot(version)), named[shard].state_start),
            ):
                for offset, chunk in self.messages(topic, shard):
                    if not isinstance(chunk, ModelChunk) or chunk.attempt != named[shard].attempt:
                        continue
                    assert offset >= start
                    spec = self.layout.chunks[chunk.index]
                    values = self.broadcast.read(spec, chunk.part, chunk.data)
                    found.setdefault((chunk.part, chunk.index), values)
        return found


def check_round(replay: Replay, number: int, where: str) -> None:
    cohort = replay.cohort(number)
    settings = replay.federation.settings
    assert settings.min_clients <= len(cohort) <= settings.max_clients, where
    assert len({report.client for report in cohort}) == len(cohort), where
    num_examples = sum(report.num_examples for report in cohort)
    assert replay.closed[number].num_examples == num_examples, where
    before = replay.model(number, replay.opened[number].model)
    after = replay.model(number + 1, replay.closed[number].model)
    members: list[dict[int, Array]] = [{} for _ in cohort]
    for shard in replay.layout.active_shards:
        updates = [replay.update(number, shard, report.attempt) for report in cohort]
        for report, chunks in zip(cohort, updates, strict=True):
            digests = [chunk_digest(chunk.data) for _, chunk in sorted(chunks.items())]
            assert shard_digest(digests) == report.digests[shard], where
            assert {chunk.num_examples for chunk in chunks.values()} == {report.num_examples}, where
        for member, chunks in zip(members, updates, strict=True):
            member |= {spec.index: replay.values(spec, chunks) for spec in replay.layout.chunks_of(shard)}
    totals, weight = aggregate(settings, members, [report.num_examples for report in cohort])
    for spec in replay.layout.chunks:
        old = tuple(before[part, spec.index] for part in range(replay.broadcast.state_parts + 1))
        new = replay.broadcast.next(spec, old, totals[spec.index], weight, number + 1)
        for part, expected in enumerate(new):
            found = payload(after[part, spec.index]).tobytes()
            assert found == payload(expected).tobytes(), f"{where}, part {part}, chunk {spec.index}"


def check_written_down(replay: Replay, where: str) -> None:
    """What cannot be read in `control` is on `rejected` before two more rounds are open, whoever died meanwhile."""
    rejected = {
        record.offset
        for _, record in replay.messages(table.REJECTED, 0)
        if isinstance(record, Rejected) and (record.topic, record.partition) == (table.CONTROL, 0)
    }
    round_number, unreadable = 0, list[tuple[int, int]]()
    for offset, message in replay.messages(table.CONTROL, 0):
        if isinstance(message, Refusal):
            unreadable.append((round_number, offset))
        elif message == replay.opened.get(round_number + 1):
            round_number += 1
    due = {offset for number, offset in unreadable if number <= round_number - 2}
    assert due <= rejected, where
    assert rejected <= {offset for offset, _ in replay.messages(table.CONTROL, 0)}, where


def check(seed: int, **changes: object) -> None:
    simulated = world(seed, **changes)
    simulated.run(at_most=150_000)
    replay = Replay(simulated)
    settings = replay.federation.settings
    rounds = settings.num_rounds + settings.final_evaluation
    assert sorted(replay.closed) == list(range(1, rounds + 1)), f"seed {seed}"
    for number in range(1, settings.num_rounds + 1):
        check_round(replay, number, f"seed {seed}, round {number}")
    check_written_down(replay, f"seed {seed}")
    for process in (*simulated.servers, *simulated.clients):
        finished = process.core.ledger.finished
        assert finished is not None
        assert not finished.failed, f"seed {seed}"
        closed = process.core.ledger.closed_record
        assert closed is not None
        assert closed.model_sha256 == replay.closed[rounds].model_sha256, f"seed {seed}: {process.name}"
    simulated.wake_zombies(turns=500)
    again = Replay(simulated)
    assert again.closed == replay.closed, f"seed {seed}"


@pytest.mark.parametrize("block", range(SEEDS // BLOCK))
def test_every_federation_is_what_the_oracle_makes_of_its_log(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        check(seed)


def check_giving_up(seed: int) -> None:
    """With few extensions a federation may give up at any instant; then it has for everybody, at the same record."""
    random = Random(f"give up {seed}")
    settings = replace(
        scenario(seed).settings,
        max_extensions=random.randint(0, 3),
        deadline_seconds=random.choice([0.5, 1.0, 2.0, 4.0]),
    )
    simulated = world(seed, settings=settings)
    simulated.run(at_most=150_000)
    simulated.wake_zombies(turns=500)
    replay = Replay(simulated)
    everybody = (*simulated.servers, *simulated.clients, *simulated.zombies)
    caught_up = [
        process.core.ledger
        for process in everybody
        if process.positions.get((table.CONTROL, 0)) == len(simulated.broker.partitions[table.CONTROL, 0])
    ]
    assert {ledger.phase.name for ledger in caught_up} == {"FINISHED"}, f"seed {seed}"
    assert len({ledger.finished for ledger in caught_up}) == 1, f"seed {seed}"
    assert len({ledger.current_model() for ledger in caught_up}) == 1, f"seed {seed}"
    assert len({ledger.round for ledger in caught_up}) == 1, f"seed {seed}"
    finished = caught_up[0].finished
    assert finished is not None
    trained = [number for number, opened in replay.opened.items() if opened.training]
    assert finished.rounds == len([number for number in replay.closed if number in trained]), f"seed {seed}"
    for number in range(1, finished.rounds + 1):
        check_round(replay, number, f"seed {seed}, round {number}")


@pytest.mark.parametrize("block", range(SEEDS // BLOCK))
def test_a_federation_that_gives_up_has_given_up_for_everybody(block: int) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        check_giving_up(seed)
