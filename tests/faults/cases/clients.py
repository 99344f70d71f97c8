"""Clients that die, come twice, come late, or do not write what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import update_dtype
from fdstream.layout import Layout
from fdstream.messages import FederationOpened, Report, RoundClosing, RoundExtended, UpdateChunk
from fdstream.serde.avro import encode
from fdstream.topics import table
from tests.cluster import apps
from tests.cluster.expected import SHARDS
from tests.cluster.processes import CHUNK_BYTES
from tests.faults.account import BEYOND, DUPLICATE, EXCLUDED, LATE, REFUSED
from tests.faults.case import case
from tests.faults.scene import Scene

LAYOUT = Layout.of(apps.initial_weights(0), chunk_bytes=CHUNK_BYTES, shards=SHARDS)
CHUNKS = len(LAYOUT.chunks)  # of an update


def kill_client(when: str, what: str, place: Callable[[Scene, int], int]) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        number = scene.random.randint(1, 3)
        stop = scene.stop(when, what, place(scene, number))
        server = scene.server()
        scene.crowd("ada")
        scene.crowd("bob", gated=True)
        scene.gate.open(*range(1, number))
        doomed = scene.client("cyd", stop=stop)
        scene.wait_for_stop(stop, [doomed]).kill()
        scene.crowd("cyd")
        scene.topics.wait_for_reports(number, 3 if what == "Report" and when == "after" else 2)
        scene.open_gates()
        accounts = scene.end([server])
        twice = accounts.totals[DUPLICATE]
        assert twice == (1 if when == "after" and what == "Report" else 0), accounts.totals

    return play


def in_an_update(scene: Scene, number: int) -> int:
    """After some of its chunks, in this round."""
    return (number - 1) * CHUNKS + scene.random.randint(1, CHUNKS - 1)


def of_the_round(_: Scene, number: int) -> int:
    return number


case("a client killed between chunks, started again", short=True)(
    kill_client("after", "UpdateChunk", in_an_update)
)
case("a client killed between chunks and report, started again")(
    kill_client("before", "Report", of_the_round)
)
case("a client killed right after its report, started again")(kill_client("after", "Report", of_the_round))


@case("two live clients with one id")
def two_of_one_id(scene: Scene) -> None:
    server = scene.server()
    scene.crowd("ada")
    scene.crowd("ada")
    scene.crowd("bob")
    scene.crowd("cyd", gated=True)
    for number in range(1, scene.rounds + 1):
        scene.wait_for_reports(number, 3)
        scene.gate.open(number)
    accounts = scene.end([server])
    assert accounts.totals[DUPLICATE] >= scene.rounds


@case("a client a round behind")
def a_round_behind(scene: Scene) -> None:
    """It stands still before its report on round 1, which it then writes into the next round of that slot."""
    server = scene.server()
    stop = scene.stop("before", "Report")
    late = scene.client("dan", stop=stop)
    scene.crowd("ada")
    scene.crowd("bob")
    scene.crowd("cyd", gated=True)
    scene.wait_for_stop(stop, [late])
    scene.gate.open(1, 2)
    scene.wait_for_reports(3)
    late.resume()
    scene.topics.wait(table.reports(1), Report, lambda report: (report.client, report.round) == ("dan", 1))
    scene.open_gates()
    accounts = scene.end([server])
    assert accounts.totals[LATE] == 1, accounts.totals


class Mallory:
    """Writes the records of a client by hand, in round 1. Its update is zero."""

    def __init__(self, scene: Scene, client: str) -> None:
        self.topics = scene.topics
        self.client = client
        self.attempt = scene.random.randbytes(16)
        self.opened = self.topics.wait(table.CONTROL, FederationOpened, lambda _: True)[0]
        opened = self.topics.wait_for_round(1)
        entries = self.topics.entries(table.CONTROL)
        self.round_offset = next(e.record.offset for e in entries if e.message is opened)
        self.data = {
            spec.index: bytes(spec.size * update_dtype(spec.dtype).itemsize) for spec in LAYOUT.chunks
        }

    def write_chunks(self, indices: Iterable[int], data: bytes | None = None) -> None:
        for index in indices:
            payload = self.data[index] if data is None else data[: len(self.data[index])]
            chunk = UpdateChunk(self.opened.nonce, self.attempt, 1, index, 10, payload)
            self.topics.log.append(table.updates(1), index % SHARDS, encode(chunk))
        self.topics.log.flush()

    def report(self) -> Report:
        digests = tuple(
            shard_digest(chunk_digest(self.data[spec.index]) for spec in LAYOUT.chunks_of(shard))
            for shard in range(SHARDS)
        )
        return Report(
            self.opened.nonce, self.client, self.attempt, 1, self.round_offset, 10, {}, 0, {}, digests
        )

    def write(self, *reports: Report) -> None:
        for report in reports:
            self.topics.log.append(table.reports(1), 0, encode(report))
        self.topics.log.flush()


@case("a client that resends other bytes")
def other_bytes(scene: Scene) -> None:
    """Of every chunk that was written, under its attempt and index, and another report; the first ones count."""
    server = scene.server()
    scene.everybody(gated=True)
    scene.wait_for_reports(1)
    reports = [m for m in scene.topics.messages(table.reports(1), Report) if m.round == 1]
    for report in reports:
        again = Mallory(scene, report.client)
        again.attempt = report.attempt
        again.write_chunks(range(CHUNKS), data=scene.random.randbytes(CHUNK_BYTES))
        again.write(replace(report, num_examples=report.num_examples + 1))
        again.write(replace(report, attempt=scene.random.randbytes(16)))
    scene.open_gates()
    accounts = scene.end([server])
    assert accounts.totals[REFUSED] == len(reports), accounts.totals
    assert accounts.totals[DUPLICATE] == len(reports), accounts.totals


@case("a client whose chunks are not those of its report")
def wrong_digest(scene: Scene) -> None:
    server = scene.server()
    scene.crowd("ada")
    scene.crowd("bob", gated=True)
    scene.gate.open(*range(2, scene.rounds + 1))
    mallory = Mallory(scene, "cyd")
    mallory.write_chunks(range(CHUNKS), data=bytes([64]) * CHUNK_BYTES)
    mallory.write(mallory.report())
    scene.gate.open(1)
    scene.topics.wait(table.CONTROL, RoundExtended, lambda extended: extended.round == 1)
    scene.crowd("cyd")
    accounts = scene.end([server])
    assert accounts.totals[EXCLUDED] == 1, accounts.totals
    assert sorted(accounts.cohorts()[0]) == ["ada", "bob", "cyd"]


@case("a chunk reported as missing, written when the round has closed")
def missing_chunk(scene: Scene) -> None:
    """It comes after the end that RoundClosing names, or after RoundClosed, as the seed decides."""
    scene.options = (*scene.options, "--maxclients", "4")
    server = scene.server()
    scene.crowd("ada")
    scene.crowd("bob")
    scene.crowd("cyd", gated=True)
    missing = scene.random.randrange(CHUNKS)
    mallory = Mallory(scene, "mallory")
    mallory.write_chunks(index for index in range(CHUNKS) if index != missing)
    mallory.write(mallory.report())
    scene.crowd("dan", gated=True)
    scene.wait_for_reports(1, 3)
    scene.gate.open(1)
    if scene.random.random() < 0.5:
        scene.topics.wait(table.CONTROL, RoundClosing, lambda closing: closing.round == 1)
    else:
        scene.topics.wait_for_closed(1)
    mallory.write_chunks([missing])
    scene.open_gates()
    accounts = scene.end([server])
    assert "mallory" not in accounts.cohorts()[0]
    assert accounts.totals[EXCLUDED] == 1, accounts.totals


@case("clients that come before any topic exists")
def early(scene: Scene) -> None:
    first = scene.client("ada")
    scene.crowd("bob")
    scene.crowd("cyd")
    first.wait_for_line("waiting for a server to open federation")
    server = scene.server()
    scene.end([server])
    assert first.result()["reported"] == scene.rounds + 1


@case("more clients than a round takes")
def too_many(scene: Scene) -> None:
    """Who comes after the closing is late, and nobody's report is lost."""
    server = scene.server()
    scene.everybody()
    for client in ("dan", "eve", "fay"):
        scene.crowd(client)
    accounts = scene.end([server])
    assert set(accounts.totals) <= {"in the cohort", BEYOND, LATE, DUPLICATE}
