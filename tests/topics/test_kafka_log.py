"""`KafkaLog` beyond the contract of logs: refusals, back-pressure, threads, what it leaves alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from fdstream import interrupts
from fdstream.errors import RemoteError, TransportError, UsageError
from fdstream.layout import DEFAULT_CHUNK_BYTES
from fdstream.log import Record
from fdstream.topics import follower, kafka_log, questions, table, turns
from fdstream.topics.admin import Admin
from fdstream.topics.handles import GIVEN_UP
from fdstream.topics.kafka_log import KafkaLog
from fdstream.topics.reader import Reader
from fdstream.topics.settings import CALM_WAIT_MS, SHARED_LINGER_MS
from kafka_cluster import Cluster
from tests.topics.conftest import OpenLog
from tests.topics.drain import DEADLINE_SECONDS, offsets, poll_until, quiet, records

TOPIC = table.updates(0)
PATIENCE_SECONDS = 30
NOBODY = "127.0.0.1:9"  # the discard port: nothing listens


@pytest.fixture
def raw(kafka: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka})


def test_a_chunk_of_the_default_size_passes_and_a_larger_record_names_the_limit(open_log: OpenLog) -> None:
    log = open_log()
    log.append(TOPIC, 0, bytes(DEFAULT_CHUNK_BYTES + 1000))
    log.flush()
    with pytest.raises(
        TransportError, match=r"1100000 bytes .* too large .*chunk-bytes.*max\.message\.bytes"
    ):
        log.append(TOPIC, 0, bytes(1_100_000))
    log.append(TOPIC, 0, b"small")
    log.flush()
    assert log.end_offsets(TOPIC)[0] == 2


def test_what_the_broker_refuses_is_raised_from_then_on(
    open_log: OpenLog, federation: str, raw: AdminClient
) -> None:
    name = table.full_name(federation, "narrow")
    raw.create_topics([NewTopic(name, 1, 1, config={"max.message.bytes": "1000"})])[name].result()
    log = open_log()
    acked: list[int] = []
    log.append("narrow", 0, bytes(5000), on_ack=acked.append)
    for call in (log.flush, lambda: log.poll(0), lambda: log.append(TOPIC, 0, b"x")):
        with pytest.raises(TransportError, match=r"narrow: the record is too large .*max\.message\.bytes"):
            call()
    assert acked == []


def test_a_missing_topic_is_named(open_log: OpenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(questions, "HEARSAY_SECONDS", 0.1)
    log = open_log(topic_metadata_propagation_max_ms="500")
    log.append("nonsense", 0, b"x")
    with pytest.raises(TransportError, match=r"topic fdstream\.test-\w+\.nonsense: it does not exist"):
        log.flush()
    with pytest.raises(TransportError, match=r"topic .*nonsense2: it does not exist"):
        open_log().end_offsets("nonsense2")


def test_a_missing_partition_is_named(open_log: OpenLog) -> None:
    log = open_log()
    log.append(TOPIC, 99, b"x")
    with pytest.raises(TransportError, match=r"partition 99 of topic .*updates: it does not exist"):
        log.flush()


def test_nothing_here_creates_a_topic(open_log: OpenLog, federation: str, raw: AdminClient) -> None:
    log = open_log(topic_metadata_propagation_max_ms="500")
    log.follow("unborn", 0, 0)
    assert quiet(log)
    assert table.full_name(federation, "unborn") not in raw.list_topics(timeout=10).topics


def test_a_topic_that_is_not_there_yet_is_waited_for_and_one_that_is_gone_is_not(
    open_log: OpenLog, federation: str, raw: AdminClient
) -> None:
    reader, name = open_log(topic_metadata_propagation_max_ms="500"), table.full_name(federation, "late")
    reader.follow("late", 0, 0)
    assert quiet(reader)
    raw.create_topics([NewTopic(name, 1, 1)])[name].result()
    writer = open_log()
    writer.append("late", 0, b"here")
    assert records(reader, 1)[0].value == b"here"
    raw.delete_topics([name])[name].result()
    with pytest.raises(TransportError, match=r"late does not exist any more. Was the federation deleted"):
        poll_until(reader, lambda _: False)


def test_a_leader_that_has_less_than_was_read_is_asked_again(open_log: OpenLog) -> None:
    """It may have been voted out without hearing of it; the one that has the rest answers soon."""
    log = open_log()
    log.append(TOPIC, 0, b"0")
    log.follow(TOPIC, 0, 3)
    assert quiet(log)
    for value in (b"1", b"2", b"3"):
        log.append(TOPIC, 0, value)
    assert records(log, 1)[0].value == b"3"


def test_following_past_the_end_is_a_log_that_lost_records(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "BEYOND_SECONDS", 0.2)
    log = open_log()
    log.append(TOPIC, 0, b"x")
    log.flush()
    log.follow(TOPIC, 0, 1)
    assert quiet(log)
    log.unfollow(TOPIC, 0)
    log.follow(TOPIC, 0, 7)
    with pytest.raises(RemoteError, match=r"ends at offset 1, before offset 7 .* made again"):
        poll_until(log, lambda _: False)


@pytest.mark.parametrize("outcome", ["commit", "abort", "open"])
def test_a_foreign_transaction_neither_hides_records_nor_the_end(
    kafka: str, open_log: OpenLog, federation: str, outcome: str
) -> None:
    transactor = Producer({"bootstrap.servers": kafka, "transactional.id": f"{federation}-{outcome}"})
    transactor.init_transactions()
    transactor.begin_transaction()
    transactor.produce(table.full_name(federation, TOPIC), b"foreign", partition=0)
    transactor.flush()
    reader, writer = open_log(), open_log()
    reader.follow(TOPIC, 0, 0)
    assert records(reader, 1)[0].value == b"foreign"
    if outcome == "open":
        writer.append(TOPIC, 0, b"ours")
        assert records(reader, 1)[0].offset == 1
        transactor.abort_transaction()
        return
    if outcome == "commit":
        transactor.commit_transaction()
    else:
        transactor.abort_transaction()
    (end,) = records(reader, 1)
    assert (end.offset, end.value, end.timestamp_seconds) == (1, b"", 0.0)
    assert reader.end_offsets(TOPIC)[0] == 2
    writer.append(TOPIC, 0, b"ours")
    assert offsets(reader, 1) == [2]


def test_a_full_queue_makes_append_wait_instead_of_growing(open_log: OpenLog) -> None:
    log = open_log(queue_buffering_max_kbytes="2048", queue_buffering_max_messages="10")
    acked: list[int] = []
    for _ in range(100):
        log.append(TOPIC, 0, bytes(100_000), on_ack=acked.append)
    assert acked == []
    log.flush()
    assert acked == list(range(100))


@pytest.fixture
def full(name: str) -> Iterator[KafkaLog]:
    """A log whose queue is full and whose broker is away."""
    log = KafkaLog(NOBODY, name, client_id="test", settings={"queue.buffering.max.messages": "1"})
    assert log.append(TOPIC, 0, b"x")
    yield log
    log.close()


def test_what_may_be_dropped_waits_for_no_room(full: KafkaLog) -> None:
    assert not full.append(TOPIC, 0, b"x", droppable=True)


@pytest.mark.parametrize(
    "wait", [lambda log: log.append(TOPIC, 0, b"x"), KafkaLog.flush], ids=["append", "flush"]
)
def test_who_waits_for_a_broker_that_is_away_can_be_stopped(
    full: KafkaLog, wait: Callable[[KafkaLog], object]
) -> None:
    stop = threading.Event()

    def work() -> None:
        with interrupts.heeding(stop):
            wait(full)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(work)
        assert not futures.wait([waiting], 0.5).done
        stop.set()
        with pytest.raises(interrupts.Stopped):
            waiting.result(PATIENCE_SECONDS)


def test_appending_from_another_thread_is_allowed_and_acknowledged_in_ours(open_log: OpenLog) -> None:
    log = open_log()
    threads: list[int] = []
    acked: list[int] = []

    def beat() -> None:
        for _ in range(200):
            log.append(table.MEMBERS, 0, b"alive")

    def on_ack(offset: int) -> None:
        threads.append(threading.get_ident())
        acked.append(offset)

    beating = threading.Thread(target=beat)
    beating.start()
    for _ in range(200):
        log.append(TOPIC, 0, b"x", on_ack=on_ack)
        log.poll(0)
    beating.join()
    log.flush()
    assert acked == list(range(200))
    assert set(threads) == {threading.get_ident()}
    assert log.end_offsets(table.MEMBERS) == [200]


def test_an_unreachable_broker_is_waited_for_and_logged_once(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    log = KafkaLog(NOBODY, name, client_id="test", settings={"reconnect.backoff.max.ms": "100"})
    log.follow(table.CONTROL, 0, 0)
    log.append(table.CONTROL, 0, b"x")
    assert log.poll(1.0) == []
    log.close()
    troubles = [record.message for record in caplog.records if record.name == "fdstream.log"]
    assert len(troubles) == 1
    assert NOBODY in troubles[0]
    assert not _loud_librdkafka_lines(caplog)


def _loud_librdkafka_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [record for record in caplog.records if record.name == "fdstream.librdkafka"]
    return [record.message for record in lines if record.levelname != "DEBUG"]


def test_settings_that_cannot_be_used_are_named(kafka: str, name: str) -> None:
    with pytest.raises(UsageError, match=r"'acks' cannot be changed"):
        KafkaLog(kafka, name, client_id="test", settings={"acks": "1"})
    log = KafkaLog(kafka, name, client_id="test", settings={"no.such.thing": "1"})
    with pytest.raises(UsageError, match=r"no\.such\.thing"):
        log.append(TOPIC, 0, b"x")


def test_a_deletion_that_is_refused_is_logged_and_survived(
    open_log: OpenLog, raw: AdminClient, federation: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Records of a compacted topic cannot be deleted."""
    compacted = NewTopic(table.full_name(federation, "kept"), 1, config={"cleanup.policy": "compact"})
    for future in raw.create_topics([compacted]).values():
        future.result()
    log = open_log()
    log.append("kept", 0, b"x", key=b"k")
    log.flush()
    log.delete_before({("kept", 0): 1})
    poll_until(log, lambda _: "cannot be deleted" in caplog.text)
    log.append("kept", 0, b"y", key=b"k")
    log.flush()


def test_who_looks_calmly_asks_a_few_times_a_second_however_often_something_comes(
    kafka: str, federation: str, open_log: OpenLog
) -> None:
    asked: dict[str, int] = {}

    def hear(text: str) -> None:
        found = json.loads(text)
        asked[found["name"]] = sum(broker["req"].get("Fetch", 0) for broker in found["brokers"].values())

    often, count = {"statistics.interval.ms": "50"}, 200
    writer = open_log()
    log = KafkaLog(kafka, federation, client_id="test", settings=often, statistics=hear, calm=True)
    for topic in (table.CONTROL, TOPIC):
        log.follow(topic, 0, 0)
    began, found = time.monotonic(), list(log.poll(0.1))
    for index in range(count):
        for topic in (table.CONTROL, TOPIC):
            writer.append(topic, 0, b"%d" % index)
        writer.flush()
        found += log.poll(0.005)
    found += poll_until(log, lambda more: len(found) + len(more) >= 2 * count)
    log.close()
    seconds = time.monotonic() - began
    assert seconds > 2 * CALM_WAIT_MS / 1000
    assert 0 < sum(asked.values()) <= 3 + seconds / (CALM_WAIT_MS / 1000)
    for topic in (table.CONTROL, TOPIC):
        assert [item.offset for item in found if item.topic == topic] == list(range(count))


def test_handles_that_are_given_up_say_so_as_their_last_word(kafka: str, federation: str) -> None:
    words: dict[str, dict[str, Any]] = {}

    def hear(text: str) -> None:
        found = json.loads(text)
        words[found["name"]] = found

    often = {"statistics.interval.ms": "50"}
    log = KafkaLog(kafka, federation, client_id="test", settings=often, statistics=hear)
    log.follow(TOPIC, 0, 0)
    log.append(TOPIC, 0, b"x")
    poll_until(log, lambda _: {word["type"] for word in words.values()} == {"producer", "consumer"})
    assert not any(GIVEN_UP in word for word in words.values())
    log.close()
    assert all(word[GIVEN_UP] and word["brokers"] for word in words.values())


def soonest_ack_seconds(log: KafkaLog) -> float:
    """Of many records, one after the other: how long the quickest took."""
    return min(ack_seconds(log) for _ in range(50))


def ack_seconds(log: KafkaLog) -> float:
    acked: list[float] = []
    began_seconds = time.monotonic()
    log.append(TOPIC, 0, b"x", on_ack=lambda _: acked.append(time.monotonic()))
    poll_until(log, lambda _: bool(acked))
    return acked[0] - began_seconds


def test_records_wait_for_others_only_where_many_clients_share_a_log(kafka: str, federation: str) -> None:
    shared = KafkaLog(kafka, federation, client_id="test", settings={}, shared=True)
    alone = KafkaLog(kafka, federation, client_id="test", settings={})
    with closing(shared), closing(alone):
        linger_seconds = SHARED_LINGER_MS / 1000
        assert soonest_ack_seconds(alone) < linger_seconds <= soonest_ack_seconds(shared)


def test_logs_join_no_consumer_group(open_log: OpenLog, raw: AdminClient) -> None:
    log = open_log()
    log.append(TOPIC, 0, b"x")
    log.follow(TOPIC, 0, 0)
    records(log, 1)
    found = raw.list_consumer_groups(request_timeout=10).result().valid
    assert "fdstream.reader" not in {group.group_id for group in found}


def test_federations_do_not_see_each_other(kafka: str, open_log: OpenLog, name: str, admin: Admin) -> None:
    other = f"{name}2"
    admin.create_topics(other, 1)
    theirs = KafkaLog(kafka, other, client_id="test", settings={})
    theirs.append(table.CONTROL, 0, b"theirs")
    theirs.flush()
    theirs.close()
    log = open_log()
    log.follow(table.CONTROL, 0, 0)
    assert quiet(log)


def leader_of(cluster: Cluster, topic: str) -> int:
    """Of its partition 0; a broker hears of a new topic, and of its leader, soon but not at once."""
    admin, deadline = (
        AdminClient({"bootstrap.servers": cluster.bootstrap}),
        time.monotonic() + DEADLINE_SECONDS,
    )
    while time.monotonic() < deadline:
        found = admin.list_topics(timeout=10).topics.get(topic)
        if found is not None and found.partitions and found.partitions[0].leader > 0:
            return int(found.partitions[0].leader)
        admin.poll(0.1)
    raise AssertionError(f"no broker leads {topic}")


def test_a_brokers_death_loses_and_doubles_nothing(kafka3: Cluster, name: str) -> None:
    """The broker that dies leads the partition; both ends wait for the election and go on."""
    with Admin(kafka3.bootstrap, settings={}) as admin:
        admin.create_topics(name, 1, slots=1)
    leader = leader_of(kafka3, table.full_name(name, TOPIC))
    writer = KafkaLog(kafka3.bootstrap, name, client_id="test", settings={})
    reader = KafkaLog(kafka3.bootstrap, name, client_id="test", settings={})
    acked: list[int] = []
    for index in range(300):
        if index == 100:
            writer.flush()
            reader.follow(TOPIC, 0, 0)
            records(reader, 100)
            kafka3.kill_node(leader - 1)
        writer.append(TOPIC, 0, b"%d" % index, on_ack=acked.append)
    writer.flush()
    assert acked == list(range(300))
    assert writer.end_offsets(TOPIC) == [300]
    assert [int(record.value) for record in records(reader, 200)] == list(range(100, 300))
    reader.follow(TOPIC, 0, 0)
    assert [int(record.value) for record in records(reader, 300)] == list(range(300))
    writer.close()
    reader.close()


# Turns


class _Clock:
    """Time that passes where it is said to."""

    def __init__(self) -> None:
        self.now_seconds = 0.0

    def monotonic(self) -> float:
        return self.now_seconds


class _Follower:
    """So many readers that have nothing; a look takes some time beside the wait."""

    def __init__(self, clock: _Clock, readers: int, looking_seconds: float) -> None:
        self.readers = [object()] * readers
        self.asked: list[float] = []
        self._clock = clock
        self._looking_seconds = looking_seconds

    def poll(self, seconds: float) -> list[Record]:
        self.asked.append(seconds)
        self._clock.now_seconds += seconds + self._looking_seconds
        return []

    def close(self) -> None: ...


def _waits(
    monkeypatch: pytest.MonkeyPatch, *, readers: int, looking_seconds: float, timeout_seconds: float
) -> list[float]:
    """How long a log without news waits on its reader, time after time."""
    clock = _Clock()
    log = KafkaLog(NOBODY, "turns", client_id="test", settings={})
    follower = _Follower(clock, readers, looking_seconds)
    monkeypatch.setattr(log, "_follower", follower)
    monkeypatch.setattr(kafka_log, "time", clock)
    assert log.poll(timeout_seconds) == []
    log.close()
    return follower.asked


def test_one_reader_is_waited_on_as_long_as_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _waits(monkeypatch, readers=1, looking_seconds=0.0, timeout_seconds=0.7) == pytest.approx(
        [0.7, 0.0]
    )


def test_two_are_waited_on_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *others = _waits(monkeypatch, readers=2, looking_seconds=0.0, timeout_seconds=0.1)
    assert len(others) >= 19
    assert {first, *others[:-2]} == {turns.SHORTEST_SECONDS}


def test_turns_grow_where_looking_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = _waits(monkeypatch, readers=2, looking_seconds=0.008, timeout_seconds=20.0)
    assert asked[0] == turns.SHORTEST_SECONDS
    assert asked[-10] == pytest.approx(turns.TIMES_LOOKING * 0.008, rel=0.01)


def test_a_poll_whose_time_runs_out_does_not_spin(open_log: OpenLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka waits for whole milliseconds: who asks for the rest of one again and again keeps a core busy."""
    log = open_log()
    log.follow(TOPIC, 0, 0)
    assert log.poll(0.3) == []
    looks: list[float] = []
    poll = Reader.poll

    def counted(reader: Reader, timeout_seconds: float) -> Any:
        looks.append(timeout_seconds)
        return poll(reader, timeout_seconds)

    monkeypatch.setattr(Reader, "poll", counted)
    for _ in range(5):
        assert log.poll(0.0505) == []
    assert 5 <= len(looks) <= 20
