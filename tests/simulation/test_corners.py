"""Corners that dice reach too seldom: each one interleaving, written out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np

from fdstream.client.session import Session, is_sampled
from fdstream.digests import chunk_digest, shard_digest
from fdstream.driver import Driver
from fdstream.events import Append, Effects, Entry, Follow, Tick, Unfollow
from fdstream.layout import TensorSpec
from fdstream.ledger import NO_PREVIOUS
from fdstream.log import MemoryLog, Record
from fdstream.messages import (
    Exclusion,
    FederationOpened,
    Message,
    ModelChunk,
    Report,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    Settings,
    ShardModel,
    ShardVerdict,
    UpdateChunk,
)
from fdstream.serde.avro import decode, encode
from fdstream.server.opening import Proposal
from fdstream.server.server import Server
from fdstream.topics import table
from tests.simulation import test_simulation as calm
from tests.simulation.world import Chaos, World

NONCE = b"n" * 16
CLIENTS = ["ada", "bob"]
DATA = np.zeros(4, np.float32).tobytes()
DIGEST = shard_digest([chunk_digest(DATA)])
NO_STATE = shard_digest([])
TENSOR = TensorSpec("w", "float32", (8,))  # two chunks of 16 bytes


class Bench:
    """One core, and a log whose partitions it is given in the order of the test."""

    def __init__(self, core: Server | Session) -> None:
        self.core = core
        self.positions: dict[tuple[str, int], int] = {}
        self.records: dict[tuple[str, int], list[Record]] = {}
        self.written: list[Message] = []

    def put(self, topic: str, message: Message, partition: int = 0) -> None:
        records = self.records.setdefault((topic, partition), [])
        records.append(Record(topic, partition, len(records), 1000.0, encode(message)))

    def perform(self, effects: Effects) -> None:
        for effect in effects:
            match effect:
                case Follow(topic, partition, offset):
                    place = (topic, partition)
                    self.positions[place] = min(offset, self.positions.get(place, offset))
                case Unfollow(topic, partition):
                    self.positions.pop((topic, partition), None)
                case Append():
                    self.written.append(effect.message)

    def feed(self, *topics: str) -> None:
        """Deliver what there is of the topics, or of all."""
        places = [place for place in self.records if not topics or place[0] in topics]
        while due := [p for p in places if self.positions.get(p, 1 << 60) < len(self.records[p])]:
            record = self.records[due[0]][self.positions[due[0]]]
            self.positions[due[0]] += 1
            self.perform(self.core.step(Entry(record, decode(record.value))))


def world(**changes: object) -> World:
    settings = calm.settings(**({"min_clients": 2, "max_clients": 2} | changes))
    return World(
        0,
        servers=1,
        clients=CLIENTS,
        proposal=lambda _: Proposal(calm.layout(), calm.initial_weights(), settings, {}),
        work=calm.honest,
        shards=calm.SHARDS,
        chaos=Chaos(turns=0),
    )


def move_until(simulated: World, condition: Callable[[Server], bool]) -> None:
    for _ in range(50_000):
        core = simulated.servers[0].core
        assert isinstance(core, Server)
        if condition(core):
            return
        simulated.turn += 1
        simulated._move(simulated.random.choice([*simulated.servers, *simulated.clients]))
    raise AssertionError(simulated._state())


def test_a_client_that_starts_late_gets_the_model_though_older_ones_are_deleted() -> None:
    """It reads all of `control` at once, and has followed what is deleted before it hears of the current round."""
    simulated = world(num_rounds=8)
    broker = simulated.broker
    move_until(simulated, lambda server: server.ledger.round == 5 and broker.starts[table.model(1), 0] > 0)
    session = Session(["ada"], lambda: bytes(16))
    driver = Driver(session, MemoryLog(broker), tell=lambda _: None, monotonic=lambda: 0.0)
    driver.begin()
    for _ in range(10):
        driver.turn(0.0)
    assert session.due() == ["ada"]


def test_a_server_started_after_the_deadline_reads_the_reports_before_it_judges() -> None:
    simulated = world(
        num_rounds=1, max_clients=3, max_extensions=0, deadline_seconds=1e3, final_evaluation=False
    )
    move_until(simulated, lambda server: server.book is not None and len(server.book.reports) == 2)
    simulated.now += 2000.0
    simulated.servers[0] = simulated._server("server-0")
    simulated._rebalance()
    simulated.run(at_most=40_000)
    finished = simulated.servers[0].core.ledger.finished
    assert finished is not None
    assert not finished.failed, finished.reason


def report(client: str, attempt: bytes) -> Report:
    return Report(NONCE, client, attempt, 1, 1, 1, {}, 0, {}, (DIGEST, DIGEST))


def test_an_owner_that_hears_of_verdicts_after_the_next_closing_reads_on() -> None:
    """It dropped what lay beyond the first end, and is never seen collecting again."""
    bench = Bench(Server(control_end=0, new_id=lambda: bytes(16)))
    settings = Settings(1, 2, 2, 1e6, 100, 1.0, "fedavg", 2, 0, final_evaluation=False)
    model = tuple(ShardModel(b"m" * 16, 0, DIGEST, 0, NO_STATE) for _ in range(2))
    bench.put(table.CONTROL, FederationOpened(NONCE, (TENSOR,), 16, 2, 2, settings, {}, model))
    bench.put(table.CONTROL, RoundOpened(NONCE, 1, True, model, (0, 0), 0, (0, 0), bytes(16), bytes(32)))
    bench.put(table.CONTROL, RoundClosing(NONCE, 1, 1, (0, 1), (2, 2)))
    bench.put(table.CONTROL, RoundExtended(NONCE, 1, 1, 1.0, (0,)))
    bench.put(table.CONTROL, RoundClosing(NONCE, 1, 2, (1, 2), (3, 3)))
    bench.put(table.model(1), ModelChunk(NONCE, b"m" * 16, 1, 0, 1, DATA), 1)
    for client in ("ada", "bob", "cyd"):
        attempt = client[:1].encode() * 16
        bench.put(table.updates(1), UpdateChunk(NONCE, attempt, 1, 1, 1, DATA), 1)
        bench.put(table.reports(1), report(client, attempt))
    bench.put(table.SHARDS, ShardVerdict(NONCE, 1, 1, 0, (Exclusion(0, "bad"),)))
    bench.put(table.SHARDS, ShardVerdict(NONCE, 1, 1, 1, ()), 1)
    bench.perform(bench.core.begin())
    assert isinstance(bench.core, Server)
    bench.perform(bench.core.assign({1}))
    bench.feed(table.CONTROL)
    bench.feed(table.reports(1), table.model(1), table.updates(1))
    bench.feed(table.SHARDS)
    bench.perform(bench.core.step(Tick(1000.0)))
    bench.feed()
    assert ShardVerdict(NONCE, 1, 2, 1, ()) in bench.written


def test_chunks_that_came_early_for_a_round_sat_out_do_not_pass_for_those_of_another_slot() -> None:
    session = Session(["ada"], lambda: bytes(16))
    bench = Bench(session)
    nonces = [bytes([number]) * 16 for number in range(64)]
    asked, not_asked = (
        next(n for n in nonces if is_sampled(n, "ada", 0.5) is want) for want in (True, False)
    )
    settings = Settings(9, 1, 2, 1e6, 100, 0.5, "fedavg", 2, 0, final_evaluation=False)
    digest = shard_digest([chunk_digest(DATA)] * 2)

    def model(number: int, start: int) -> tuple[ShardModel, ...]:
        return (ShardModel(bytes([number]) * 16, start, digest, 0, NO_STATE),)

    def opened(number: int, start: int, sampling_nonce: bytes) -> RoundOpened:
        closed_value = bench.records[table.CONTROL, 0][-1].value
        previous = NO_PREVIOUS if number == 1 else hashlib.sha256(closed_value).digest()
        return RoundOpened(NONCE, number, True, model(number, start), (0,), 0, (0,), sampling_nonce, previous)

    def chunks(number: int) -> None:
        for index in range(2):
            chunk = ModelChunk(NONCE, bytes([number]) * 16, number, 0, index, DATA)
            bench.put(table.model(number % 2), chunk)

    def closed(number: int, start: int) -> RoundClosed:
        return RoundClosed(NONCE, number, 1, 1, 1, {}, {}, model(number + 1, start), bytes(32))

    bench.put(table.CONTROL, FederationOpened(NONCE, (TENSOR,), 16, 1, 2, settings, {}, model(1, 0)))
    bench.put(table.CONTROL, opened(1, 0, asked))
    bench.perform(session.begin())
    bench.feed()  # asked, but round 1 is over before its model is here
    chunks(1)
    chunks(2)
    bench.put(table.CONTROL, closed(1, 0))
    bench.put(table.CONTROL, opened(2, 0, not_asked))
    bench.feed()
    chunks(3)
    bench.feed()  # kept for round 3, which asks others
    bench.put(table.CONTROL, closed(2, 2))
    bench.put(table.CONTROL, opened(3, 2, not_asked))
    chunks(4)
    bench.put(table.CONTROL, closed(3, 2))
    bench.put(table.CONTROL, opened(4, 2, asked))
    bench.feed()
    assert session.due() == ["ada"]
