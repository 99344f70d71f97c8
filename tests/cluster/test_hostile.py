"""Records that should not be there, on every topic, while a federation runs: counted, written down, skipped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from fdstream.events import Entry
from fdstream.messages import (
    FederationFinished,
    FederationOpened,
    Heartbeat,
    Message,
    ModelChunk,
    Rejected,
    Report,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    ShardResult,
    ShardVerdict,
    UpdateChunk,
)
from fdstream.serde.avro import encode
from fdstream.topics import table
from tests.cluster.expected import SHARDS, expected_hash
from tests.cluster.processes import Federation, Gate, Process, hash_of
from tests.cluster.topics import Topics

CLIENTS = ("ada", "bob", "cyd")
ROUNDS = 4
OPTIONS = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)))
GATED_ROUND = 3
Bulk = UpdateChunk | ModelChunk | Report | RoundOpened | ShardVerdict | ShardResult
OVERSIZED_BYTES = 900_000
HEADER_BYTES = 10
STRANGER = bytes(range(16))
UNREADABLE = ("not a record", "unknown schema", "unexpected record", "truncated", "trailing bytes")
UNFIT = ("of another federation", "late", "of no such round")
UNFIT_UPDATES = (
    *UNFIT,
    "of no such chunk",
    "wrong size",
    "duplicate",
    "a value is not finite or beyond the limit",
)
UNFIT_REPORTS = (*UNFIT, "wrong number of digests", "num_examples below 1", "attempt already reported")
TOPICS = {spec.name: spec.partitions for spec in table.topic_specs(SHARDS)}


def garbage(random: Random, good: bytes) -> Iterator[bytes]:
    """Bytes that are no record: empty, short, random, large, and what can become of a good one on the way."""
    yield b""
    yield good[:2]
    yield random.randbytes(40)
    yield random.randbytes(OVERSIZED_BYTES)
    yield good[:HEADER_BYTES] + random.randbytes(20)
    yield good[:HEADER_BYTES] + random.randbytes(OVERSIZED_BYTES)
    yield good[: HEADER_BYTES + 20]
    yield good + b"\x00"
    yield good[:2] + random.randbytes(8) + good[HEADER_BYTES:]


def foreign(message: Bulk) -> Message:
    """The same of another federation's life."""
    return replace(message, nonce=STRANGER)


def elsewhere(topic: str) -> Message:
    """A good record that this topic does not carry."""
    if topic == table.MEMBERS:
        return Rejected("updates", 0, 0, "mallory", "no reason", "")
    return Heartbeat("mallory", "client", "waiting", 1)


def stale_control(opened: FederationOpened, round_one: RoundOpened) -> list[Message]:
    """What a server that slept since round 1, or another coordinator, may still write."""
    nonce, model = opened.nonce, round_one.model
    ends = (0,) * SHARDS
    return [
        opened,
        replace(opened, nonce=STRANGER),
        round_one,
        replace(round_one, sampling_nonce=STRANGER),
        RoundExtended(nonce, 1, 1, 1.0, ()),
        RoundClosing(nonce, 1, 1, (), ends),
        RoundClosing(nonce, 9, 1, (), ends),
        RoundClosed(nonce, 1, 1, 0, 0, {}, {}, model, bytes(32)),
        RoundClosed(nonce, 9, 1, 0, 0, {}, {}, model, bytes(32)),
        replace(round_one, round=9),
        FederationFinished(nonce, 0, 1, True, "because I say so"),
    ]


def stale_work(nonce: bytes, round_one: RoundOpened) -> Iterator[tuple[str, int, Message]]:
    """Verdicts, results and updates of rounds that are over or not there."""
    for shard in range(SHARDS):
        yield table.SHARDS, shard, ShardVerdict(nonce, 1, 1, shard, ())
        yield table.SHARDS, shard, ShardVerdict(nonce, GATED_ROUND, 1, (shard + 1) % SHARDS, ())
        yield table.SHARDS, shard, ShardResult(nonce, 1, 1, shard, round_one.model[0])
        topic = table.updates(table.slot_of(GATED_ROUND, table.SLOTS))
        for number in (1, GATED_ROUND + 6):
            yield topic, shard, UpdateChunk(nonce, STRANGER, number, shard, 1, b"\x00" * 128)
        yield topic, shard, UpdateChunk(nonce, STRANGER, GATED_ROUND, shard, 1, b"\x00" * 7)
        yield topic, shard, UpdateChunk(nonce, STRANGER, GATED_ROUND, 10_000, 1, b"\x00" * 128)
        yield topic, shard, UpdateChunk(nonce, STRANGER, GATED_ROUND, shard, 1, b"\xff" * 128)


def bad_reports(opened: FederationOpened, round_offset: int) -> list[Report]:
    """Reports of the gated round that must not stand, by clients of their own."""
    digests = (bytes(16),) * SHARDS
    good = Report(opened.nonce, "mallory", STRANGER, GATED_ROUND, round_offset, 5, {}, 0, {}, digests)
    return [
        replace(good, nonce=STRANGER),
        replace(good, round=1),
        replace(good, round=GATED_ROUND + 2),
        replace(good, round_offset=round_offset + 1),
        replace(good, digests=digests[1:]),
        replace(good, num_examples=0),
    ]


class Intruder:
    """May write to every topic of the federation, and does."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.log = topics.log
        self.opened = topics.wait(table.CONTROL, FederationOpened, lambda _: True)[0]
        self.round_one = topics.wait_for_round(1)

    def write(self, topic: str, partition: int, message: Message) -> None:
        self.log.append(topic, partition, encode(message))

    def write_everywhere(self, seed: int) -> None:
        """Garbage in every partition, made from a good record of the topic where there is one."""
        for topic, partitions in TOPICS.items():
            entries = self.topics.all_entries(topic)
            good = entries[0].record.value if entries else encode(elsewhere(topic))
            for partition in range(partitions):
                for value in garbage(Random(seed), good):
                    self.log.append(topic, partition, value)
                self.write(topic, partition, elsewhere(topic))
        self.log.flush()

    def repeat_everything(self) -> None:
        """Every record so far once more, as it is and as of another life."""
        for topic in TOPICS:
            for entry in list(self.topics.all_entries(topic)):
                self.repeat(entry)
        self.log.flush()

    def repeat(self, entry: Entry) -> None:
        record, message = entry.record, entry.message
        self.log.append(record.topic, record.partition, record.value)
        if isinstance(message, Bulk):
            self.write(record.topic, record.partition, foreign(message))

    def write_what_is_stale(self, round_offset: int) -> None:
        for message in stale_control(self.opened, self.round_one):
            self.write(table.CONTROL, 0, message)
        for topic, partition, message in stale_work(self.opened.nonce, self.round_one):
            self.write(topic, partition, message)
        for report in bad_reports(self.opened, round_offset):
            self.write(table.reports(table.slot_of(GATED_ROUND, table.SLOTS)), 0, report)
        self.log.flush()


def start(federation: Federation) -> tuple[Gate, list[Process]]:
    """Two servers and three clients, one of whom waits in the gated round."""
    gate = federation.gate()
    gate.open(*(number for number in range(1, ROUNDS + 1) if number != GATED_ROUND))
    clients = federation.clients(*CLIENTS[:-1])
    clients.append(federation.client(CLIENTS[-1], *gate.options()))
    return gate, clients


def round_offset(topics: Topics) -> int:
    """Where the gated round's RoundOpened lies in control."""
    return next(
        entry.record.offset
        for entry in topics.all_entries(table.CONTROL)
        if isinstance(entry.message, RoundOpened) and entry.message.round == GATED_ROUND
    )


def test_bad_records_on_every_topic_change_nothing(federation: Federation) -> None:
    gate, clients = start(federation)
    servers = [federation.server(*OPTIONS, "--keep-rounds", "all") for _ in range(2)]
    with Topics(federation) as topics:
        intruder = Intruder(topics)
        topics.wait_for_reports(GATED_ROUND, len(CLIENTS) - 1)
        intruder.write_everywhere(seed=1)
        intruder.repeat_everything()
        intruder.write_what_is_stale(round_offset(topics))
        gate.open(GATED_ROUND)
        assert {hash_of(server) for server in servers} == {expected_hash([CLIENTS] * ROUNDS)}
        assert [sorted(cohort) for cohort in topics.cohorts(ROUNDS)] == [list(CLIENTS)] * ROUNDS
        assert [client.result()["failed"] for client in clients] == [0] * len(CLIENTS)
        check_rejected(topics)
        check_newcomers(federation)


def check_rejected(topics: Topics) -> None:
    """Every kind of refusal is on `rejected`, with the place of a record that is really there."""
    topics.all_entries(table.REJECTED)
    rejected = topics.messages(table.REJECTED, Rejected)
    ends = {topic: topics.log.end_offsets(topic) for topic in TOPICS}
    assert all(record.offset < ends[record.topic][record.partition] for record in rejected)
    reasons = {(record.topic, record.reason) for record in rejected}
    slot = table.slot_of(GATED_ROUND, table.SLOTS)
    for topic in (table.CONTROL, table.SHARDS, table.updates(slot), table.reports(slot)):
        assert {(topic, reason) for reason in UNREADABLE} <= reasons
    assert {(table.updates(slot), reason) for reason in UNFIT_UPDATES} <= reasons
    assert {(table.reports(slot), reason) for reason in UNFIT_REPORTS} <= reasons


def check_newcomers(federation: Federation) -> None:
    """Who reads the spoilt history from its start gets through it too."""
    again, late = federation.server(), federation.client("late")
    status = federation.run("status", "status", "--json")
    assert hash_of(again) == expected_hash([CLIENTS] * ROUNDS)
    assert late.result()["failed"] == 0
    assert status.result()["model_sha256"] == expected_hash([CLIENTS] * ROUNDS)


def test_a_report_in_another_clients_name_keeps_it_out_of_no_round(federation: Federation) -> None:
    """The forged report is left out for want of chunks, the round is extended, and the real one counts."""
    gate, clients = start(federation)
    server = federation.server(*OPTIONS)
    with Topics(federation) as topics:
        intruder = Intruder(topics)
        topics.wait_for_reports(GATED_ROUND, len(CLIENTS) - 1)
        forged = replace(
            bad_reports(intruder.opened, round_offset(topics))[0],
            nonce=intruder.opened.nonce,
            client=CLIENTS[-1],
        )
        intruder.write(table.reports(table.slot_of(GATED_ROUND, table.SLOTS)), 0, forged)
        topics.wait(table.CONTROL, RoundExtended, lambda extended: extended.round == GATED_ROUND)
        gate.open(GATED_ROUND)
        assert hash_of(server) == expected_hash([CLIENTS] * ROUNDS)
    assert [client.result()["failed"] for client in clients] == [0] * len(CLIENTS)
