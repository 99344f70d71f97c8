"""A chronicle folds a whole federation, live or long after, and says what has changed."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from fdstream.dashboard import chronicle as chronicle_module
from fdstream.dashboard.document import changes
from fdstream.dashboard.reader import TOPICS, Reader
from fdstream.events import Tick
from fdstream.log import Lost, MemoryBroker, MemoryLog, Record
from fdstream.messages import Rejected, Report
from fdstream.serde.avro import decode, encode
from fdstream.server import coordinator
from fdstream.topics import table
from tests.dashboard.stage import CalmLog, Stage, read

CLIENTS = ("ada", "bob", "cyd")


def by(key: str, found: list[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {each[key]: each for each in found}


def whole(stage: Stage) -> dict[str, Any]:
    return changes(read(stage.broker).chronicle, 0, name="mine")


def finished(**settings: Any) -> Stage:
    stage = Stage(*CLIENTS, **settings)
    with stage:
        stage.to_the_end()
    return stage


def test_a_finished_federation_is_told_from_its_log() -> None:
    document = whole(finished(num_rounds=4, keep_rounds=0))
    federation = document["federation"]
    assert (federation["name"], federation["phase"], federation["round"]) == ("mine", "finished", 5)
    assert federation["finished"]["rounds"] == 4
    rounds = document["rounds"]
    assert [(each["number"], each["training"], each["rows"]) for each in rounds] == [
        *((number, True, "kept") for number in range(1, 5)),
        (5, False, "kept"),
    ]
    for each in rounds[:4]:
        assert (each["reported"], each["cohort"], each["train"]) == (3, 3, {"loss": 0.5})
        assert [phase for phase, *_ in each["phases"]] == ["collecting", "comparing", "publishing", "sealing"]
        assert each["phases"][0][1] == each["opened"]
        assert each["phases"][-1][2] == each["closed"]
        assert each["traffic"] == {"received": 192, "sent": 192, "read": 192, "published": 64}
        assert len(each["model"]) == 64
    assert rounds[4]["evaluate"] == {"accuracy": 0.75}
    assert {(number, client) for number, client, *_ in document["rows"]} == {
        (number, client) for number in range(1, 6) for client in CLIENTS
    }
    parties = by("name", document["parties"])
    assert {name: parties[name]["state"] for name in CLIENTS} == dict.fromkeys(CLIENTS, "reported")
    assert (parties["ada"]["reports"], parties["ada"]["sent"], parties["ada"]["received"]) == (5, 256, 320)
    assert [(event["kind"], event["count"]) for event in document["events"]] == [("joined", 3), ("left", 3)]


def test_of_rounds_whose_reports_are_deleted_the_sums_remain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator, "KEPT_SECONDS", 0.0)
    stage = finished(num_rounds=6, keep_rounds=2)
    assert stage.broker.starts[table.reports(1), 0] > 0  # else there is nothing to see here
    rounds = by("number", whole(stage)["rounds"])
    assert (rounds[1]["rows"], rounds[6]["rows"]) == ("deleted", "kept")
    assert rounds[1]["train"] == rounds[6]["train"]
    assert rounds[1]["traffic"] == rounds[6]["traffic"]  # from the cohort's size
    assert rounds[1]["phases"][0][0] == "collecting"


def test_reading_one_record_at_a_time_in_any_order_tells_the_same() -> None:
    class Slow(CalmLog):
        """Delivers one record at a time, control last."""

        def __init__(self, broker: MemoryBroker) -> None:
            super().__init__(broker)
            self.in_hand: list[Record | Lost] = []

        def poll(self, timeout_seconds: float) -> list[Record | Lost]:
            if not self.in_hand:
                found = super().poll(timeout_seconds)
                self.in_hand = sorted(found, key=lambda item: (item.topic == table.CONTROL, item.topic))
            return [self.in_hand.pop(0)] if self.in_hand else []

    stage = finished(num_rounds=5, keep_rounds=0)
    slow = Reader(Slow(stage.broker))
    slow.catch_up()
    expected, found = whole(stage), changes(slow.chronicle, 0, name="mine")
    for document in (expected, found):
        del document["revision"], document["now"]
        document["rows"].sort(key=str)
        document["parties"].sort(key=str)
    assert found == expected


class ControlLast(CalmLog):
    """Of what comes together, `control` comes last."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.followed = 0

    def follow(self, topic: str, partition: int, offset: int) -> None:
        self.followed += 1
        super().follow(topic, partition, offset)

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        return sorted(super().poll(timeout_seconds), key=lambda item: item.topic == table.CONTROL)


def test_reports_that_come_before_their_rounds_are_not_read_twice() -> None:
    with Stage(*CLIENTS, num_rounds=9, keep_rounds=0) as stage:
        log = ControlLast(stage.broker)
        reader = Reader(log)
        reader.catch_up()
        followed = log.followed
        for _ in range(3):
            for _ in range(3):  # both slots anew
                stage.run_round()
            reader.catch_up()
        assert log.followed == followed
        rows = [row for row in changes(reader.chronicle, 0)["rows"] if row[0] < 10]
    assert {(number, client) for number, client, *_ in rows} == {
        (number, client) for number in range(1, 10) for client in CLIENTS
    }
    assert {outcome for _, _, _, _, outcome, *_ in rows} == {"reported"}


def test_who_names_a_round_that_never_comes_holds_others_up_for_a_moment_only() -> None:
    with Stage(*CLIENTS) as stage:
        reader = read(stage.broker)
        stage.report()
        topic = table.reports(table.slot_of(1, table.SLOTS))
        honest = decode(stage.broker.partitions[topic, 0][0].value)
        assert isinstance(honest, Report)
        liar = replace(honest, client="eve", round_offset=1 << 40)
        MemoryLog(stage.broker).append(topic, 0, encode(liar))
        stage.report(2)
        reader.turn(1.0)
        chronicle = reader.chronicle
        assert len(chronicle.rounds[1].rows) == 1
        chronicle.step(Tick(chronicle.now_seconds + chronicle_module.MAX_HELD_SECONDS))
        rows = chronicle.rounds[1].rows
    assert {name: row.outcome for name, row in rows.items()} == dict.fromkeys(CLIENTS, "reported") | {
        "eve": "refused"
    }


def test_a_round_can_be_seen_while_it_runs() -> None:
    with Stage(*CLIENTS) as stage:
        reader = read(stage.broker)
        assert reader.chronicle.ledger.round == 0
        stage.report()
        reader.catch_up()
        document = changes(reader.chronicle, 0)
        assert document["federation"]["phase"] == "collecting"
        states = sorted(party["state"] for party in document["parties"])
        assert states == ["reported", "waiting", "waiting"]
        assert document["rounds"][0]["phases"] == [["collecting", document["rounds"][0]["opened"], None]]


def test_changes_laid_over_each_other_make_the_whole() -> None:
    with Stage(*CLIENTS, keep_rounds=0) as stage:
        reader = read(stage.broker)
        since = 0
        rounds: dict[int, Any] = {}
        rows: dict[tuple[int, str], Any] = {}
        parties: dict[str, Any] = {}
        for _ in range(3 * len(CLIENTS)):
            stage.report()
            reader.catch_up()
            change = changes(reader.chronicle, since)
            since = change["revision"]
            rounds |= by("number", change["rounds"])
            parties |= by("name", change["parties"])
            rows |= {(number, client): row for number, client, *row in change["rows"]}
        document = changes(reader.chronicle, 0)
        assert rounds == by("number", document["rounds"])
        assert parties == by("name", document["parties"])
        assert rows == {(number, client): row for number, client, *row in document["rows"]}
        nothing = changes(reader.chronicle, since)
        assert not any(nothing[key] for key in ("rounds", "rows", "parties", "events", "global"))
        assert "federation" not in nothing
        json.dumps(document, allow_nan=False)


def test_a_client_that_fails_shows_why_and_may_do_better() -> None:
    with Stage(*CLIENTS, min_clients=2) as stage:
        stage.fail("the sensor is unplugged")
        stage.report(2)
        reader = read(stage.broker)
        party = next(p for p in reader.chronicle.parties.by_name.values() if p.reason)
        assert (party.state, party.reason, party.reason_round) == (
            "refused",
            "it failed: the sensor is unplugged",
            1,
        )


def test_silence_and_goodbye_are_told_apart_and_returning_too() -> None:
    with Stage(*CLIENTS) as stage:
        stage.beat("dee", "training", period="0.2")
        reader = read(stage.broker)
        chronicle = reader.chronicle
        assert chronicle.parties.by_name["dee"].state == "training"
        chronicle.step(Tick(time.time() + 3))
        chronicle.refresh()
        assert chronicle.parties.by_name["dee"].state == "gone"
        stage.beat("dee", "waiting")
        reader.catch_up()
        stage.beat("dee", "gone")
        reader.catch_up()
        of_dee = [event.kind for event in chronicle.events.recent if event.names == ["dee"]]
        assert of_dee == ["vanished", "came back", "left"]


def rejected(stage: Stage, sender: str, detail: str = "has 12 bytes") -> None:
    record = Rejected(table.updates(1), 0, 5, sender, "truncated", detail)
    MemoryLog(stage.broker).append(table.REJECTED, 0, encode(record))


def test_refused_records_are_counted_and_tied_to_who_sent_them() -> None:
    with Stage(*CLIENTS, min_clients=2) as stage:
        stage.report(2)
        reader = read(stage.broker)
        (row,) = [r for r in reader.chronicle.rounds[1].rows.values() if r.offset == 0]
        rejected(stage, row.attempt)  # an attempt that a report names
        rejected(stage, "mallory")
        rejected(stage, "ab" * 16)  # an attempt that nobody has named
        reader.catch_up()
        found = changes(reader.chronicle, 0)["refused"]
        assert (found["total"], found["reasons"]) == (3, {"truncated": 3})
        assert [each["client"] for each in found["records"]] == [row.client, "mallory", "ab" * 16]
        parties = reader.chronicle.parties.by_name
        assert parties["mallory"].state == "refused"
        assert parties["mallory"].reason == "truncated: has 12 bytes"
        assert parties[row.client].state == "reported"


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronicle_module, "MAX_ROWS", 9)
    monkeypatch.setattr(chronicle_module, "MAX_ROUNDS", 5)
    with Stage(*CLIENTS, num_rounds=9, keep_rounds=0) as stage:
        reader = read(stage.broker)
        for _ in range(9):
            stage.run_round()
            reader.catch_up()
        document = changes(reader.chronicle, 0)
    rounds = by("number", document["rounds"])
    assert len(rounds) == 5
    first = rounds[document["first_round"]]
    assert first["number"] == min(rounds) > 1
    assert first["rows"] == "dropped"
    assert (first["reported"], first["spread"]["train"]["loss"]) == (3, [0.5] * 5)
    assert len({number for number, *_ in document["rows"]}) < len(rounds)


def test_what_is_deleted_under_a_slow_reader_is_passed_over() -> None:
    stage = finished()
    reader = Reader(CalmLog(stage.broker))
    end = len(stage.broker.partitions[table.MEMBERS, 0])
    MemoryLog(stage.broker).delete_before({(table.MEMBERS, 0): end - 1})
    reader.catch_up()
    assert reader.chronicle.positions[table.MEMBERS, 0] == end
    assert reader.chronicle.lost == set()


def test_only_small_topics_are_read_and_nothing_is_written() -> None:
    bulk = {
        table.model(0),
        table.model(1),
        table.state(0),
        table.state(1),
        table.updates(0),
        table.updates(1),
    }
    assert not bulk & set(TOPICS)
    stage = finished()
    before = {place: len(records) for place, records in stage.broker.partitions.items()}
    log = CalmLog(stage.broker)
    Reader(log).catch_up()
    assert {topic for topic, _ in log.positions} == {table.CONTROL, *TOPICS}
    assert {place: len(records) for place, records in stage.broker.partitions.items()} == before
