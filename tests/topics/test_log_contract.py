"""What `fdstream.log.Log` promises, for every log there is: the one in memory and the one on Kafka."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from fdstream.grpc.hub import listening
from fdstream.grpc.local import LocalLog
from fdstream.grpc.store import Store
from fdstream.grpc.stream_log import StreamLog
from fdstream.log import Log, Lost, MemoryBroker, MemoryLog, Record
from fdstream.topics import table
from fdstream.topics.kafka_log import KafkaLog
from fdstream.topics.metadata import partition_counts
from tests.topics.conftest import SHARDS
from tests.topics.drain import offsets, poll_until, quiet, records


@dataclass
class Room:
    """A topic of its own for one test, with `SHARDS` partitions, and logs of its federation."""

    topic: str
    _logs: Iterator[Log]
    owner: Log | None = None  # where only one may delete

    def open(self) -> Log:
        """A log that follows nothing of this topic yet."""
        return next(self._logs)


FEDERATION = f"contract-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def kafka_logs(kafka: str) -> Iterator[list[KafkaLog]]:
    """Two logs for all tests: a producer takes half a second to get its first record out."""
    logs = [KafkaLog(kafka, FEDERATION, client_id="test", settings={}) for _ in range(2)]
    yield logs
    for log in logs:
        log.close()


@pytest.fixture
def kafka_room(kafka: str, kafka_logs: list[KafkaLog]) -> Room:
    topic = f"topic-{uuid.uuid4().hex[:8]}"
    name = table.full_name(FEDERATION, topic)
    raw = AdminClient({"bootstrap.servers": kafka})
    settings = {"message.timestamp.type": "LogAppendTime"}
    raw.create_topics([NewTopic(name, SHARDS, 1, config=settings)])[name].result()
    deadline = time.monotonic() + 30
    while partition_counts(raw, [name])[name] is None:
        assert time.monotonic() < deadline
    return Room(topic, iter(kafka_logs))


def memory_room() -> Room:
    broker = MemoryBroker({"topic": SHARDS}, time.time)
    return Room("topic", iter([MemoryLog(broker), MemoryLog(broker)]))


def local_room() -> Room:
    store = Store({"topic": SHARDS}, time.time)
    return Room("topic", iter([LocalLog(store), LocalLog(store)]))


@pytest.fixture
def stream_room() -> Iterator[Room]:
    store = Store({"topic": SHARDS}, time.time)
    with listening("127.0.0.1:0", FEDERATION, store, {"topic"}) as port:
        logs = [StreamLog(f"127.0.0.1:{port}", FEDERATION) for _ in range(2)]
        yield Room("topic", iter(logs), owner=LocalLog(store))
        for log in logs:
            log.close()


ROOMS = {"memory": memory_room, "local": local_room}


@pytest.fixture(params=["memory", "local", "stream", "kafka"])
def room(request: pytest.FixtureRequest) -> Room:
    make = ROOMS.get(request.param)
    found: Room = make() if make else request.getfixturevalue(f"{request.param}_room")
    return found


def fill(room: Room, log: Log, count: int, partition: int = 0) -> None:
    for index in range(count):
        log.append(room.topic, partition, b"value %d" % index, key=b"key %d" % index)
    log.flush()


def test_a_record_comes_back_as_it_was_written(room: Room) -> None:
    before = time.time()
    writer, reader = room.open(), room.open()
    writer.append(room.topic, 2, b"a\x00b" * 300_000, key=b"who")
    writer.flush()
    reader.follow(room.topic, 2, 0)
    (record,) = records(reader, 1)
    assert record == Record(room.topic, 2, 0, record.timestamp_seconds, b"a\x00b" * 300_000, b"who")
    assert before - 1 < record.timestamp_seconds < time.time() + 1


def test_empty_values_and_keys_are_records_too(room: Room) -> None:
    log = room.open()
    log.append(room.topic, 0, b"")
    log.follow(room.topic, 0, 0)
    (record,) = records(log, 1)
    assert (record.value, record.key) == (b"", b"")


def test_where_there_is_room_a_droppable_record_is_queued_like_any_other(room: Room) -> None:
    writer, reader = room.open(), room.open()
    assert writer.append(room.topic, 0, b"a")
    assert writer.append(room.topic, 0, b"b", droppable=True)
    writer.flush()
    reader.follow(room.topic, 0, 0)
    assert [record.value for record in records(reader, 2)] == [b"a", b"b"]


def test_each_partition_comes_whole_and_in_order(room: Room) -> None:
    writer, reader = room.open(), room.open()
    for partition in range(SHARDS):
        reader.follow(room.topic, partition, 0)
    for index in range(400):
        writer.append(room.topic, index % SHARDS, b"%d" % index)
    writer.flush()
    found = records(reader, 400)
    for partition in range(SHARDS):
        mine = [record for record in found if record.partition == partition]
        assert [record.offset for record in mine] == list(range(100))
        assert [int(record.value) for record in mine] == list(range(partition, 400, SHARDS))
    assert quiet(reader)


def test_following_starts_at_its_offset(room: Room) -> None:
    log = room.open()
    fill(room, log, 10)
    log.follow(room.topic, 0, 7)
    assert offsets(log, 3) == [7, 8, 9]


def test_what_is_appended_later_comes_too(room: Room) -> None:
    writer, reader = room.open(), room.open()
    reader.follow(room.topic, 0, 0)
    assert quiet(reader)
    for index in range(3):
        fill(room, writer, 1)
        assert offsets(reader, 1) == [index]


def test_following_again_is_a_no_op_unless_it_asks_for_what_was_delivered(room: Room) -> None:
    log = room.open()
    fill(room, log, 10)
    log.follow(room.topic, 0, 2)
    log.follow(room.topic, 0, 5)
    assert offsets(log, 8) == list(range(2, 10))
    log.follow(room.topic, 0, 10)
    log.follow(room.topic, 0, 50)
    assert quiet(log)
    fill(room, log, 1)
    assert offsets(log, 1) == [10]


def test_following_back_delivers_again(room: Room) -> None:
    log = room.open()
    fill(room, log, 10)
    log.follow(room.topic, 0, 0)
    assert offsets(log, 10) == list(range(10))
    log.follow(room.topic, 0, 3)
    assert offsets(log, 7) == list(range(3, 10))
    log.follow(room.topic, 0, 9)
    assert offsets(log, 1) == [9]
    assert quiet(log)


def test_following_back_leaves_other_partitions_alone(room: Room) -> None:
    log = room.open()
    fill(room, log, 5, partition=0)
    fill(room, log, 5, partition=1)
    log.follow(room.topic, 0, 0)
    log.follow(room.topic, 1, 0)
    records(log, 10)
    log.follow(room.topic, 1, 4)
    (record,) = records(log, 1)
    assert (record.partition, record.offset) == (1, 4)
    assert quiet(log)


def test_nothing_comes_of_a_partition_that_was_left(room: Room) -> None:
    writer, reader = room.open(), room.open()
    fill(room, writer, 200)
    fill(room, writer, 1, partition=1)
    reader.follow(room.topic, 0, 0)
    poll_until(reader, lambda found: len(found) > 0)
    reader.unfollow(room.topic, 0)
    reader.follow(room.topic, 1, 0)
    (record,) = records(reader, 1)
    assert record.partition == 1
    fill(room, writer, 5)
    assert quiet(reader)


def test_leaving_what_is_not_followed_does_nothing(room: Room) -> None:
    log = room.open()
    log.unfollow(room.topic, 0)
    fill(room, log, 1)
    assert quiet(log)


def test_a_partition_that_was_left_can_be_followed_anew(room: Room) -> None:
    log = room.open()
    fill(room, log, 10)
    log.follow(room.topic, 0, 0)
    records(log, 10)
    log.unfollow(room.topic, 0)
    log.follow(room.topic, 0, 8)
    assert offsets(log, 2) == [8, 9]


def test_leaving_and_following_without_a_poll_between_counts(room: Room) -> None:
    log = room.open()
    fill(room, log, 10)
    log.follow(room.topic, 0, 0)
    log.unfollow(room.topic, 0)
    log.follow(room.topic, 0, 9)
    assert offsets(log, 1) == [9]
    log.unfollow(room.topic, 0)
    log.follow(room.topic, 0, 5)
    log.unfollow(room.topic, 0)
    assert quiet(log)


def test_acknowledgements_bring_offsets_in_order_and_only_when_asked_for(room: Room) -> None:
    log = room.open()
    acked: list[int] = []
    for _ in range(20):
        log.append(room.topic, 0, b"x", on_ack=acked.append)
    assert acked == []
    log.flush()
    assert acked == list(range(20))


def test_acknowledgements_come_with_poll_too(room: Room) -> None:
    log = room.open()
    acked: list[int] = []
    log.append(room.topic, 3, b"x", on_ack=acked.append)
    poll_until(log, lambda _: bool(acked))
    assert acked == [0]


def test_an_acknowledgement_may_append_and_follow(room: Room) -> None:
    log = room.open()

    def then(offset: int) -> None:
        log.append(room.topic, 1, b"after %d" % offset)
        log.follow(room.topic, 1, 0)

    log.append(room.topic, 0, b"x", on_ack=then)
    (record,) = records(log, 1)
    assert (record.partition, record.value) == (1, b"after 0")


def test_end_offsets_lie_past_what_is_acknowledged(room: Room) -> None:
    log = room.open()
    assert log.end_offsets(room.topic) == [0] * SHARDS
    fill(room, log, 3, partition=1)
    fill(room, log, 1, partition=3)
    assert log.end_offsets(room.topic) == [0, 3, 0, 1]


def _delete_before(room: Room, log: Log, partition: int, offset: int) -> None:
    """Deletion is asynchronous."""
    (room.owner or log).delete_before({(room.topic, partition): offset})
    deadline = time.monotonic() + 30
    while log.start_offsets(room.topic)[partition] < offset:
        assert time.monotonic() < deadline


def test_start_offsets_follow_deletion_and_ends_do_not(room: Room) -> None:
    log = room.open()
    fill(room, log, 10, partition=1)
    assert log.start_offsets(room.topic) == [0] * SHARDS
    _delete_before(room, log, 1, 4)
    assert log.start_offsets(room.topic) == [0, 4, 0, 0]
    assert log.end_offsets(room.topic) == [0, 10, 0, 0]


def test_following_what_was_deleted_says_so_and_ends(room: Room) -> None:
    log = room.open()
    fill(room, log, 10)
    _delete_before(room, log, 0, 5)
    log.follow(room.topic, 0, 4)
    assert poll_until(log, bool) == [Lost(room.topic, 0, 4)]
    fill(room, log, 1)
    assert quiet(log)
    log.follow(room.topic, 0, 5)
    assert offsets(log, 6) == list(range(5, 11))


def test_deleting_behind_the_position_is_not_noticed(room: Room) -> None:
    log = room.open()
    fill(room, log, 10)
    log.follow(room.topic, 0, 0)
    records(log, 10)
    _delete_before(room, log, 0, 10)
    fill(room, log, 1)
    assert offsets(log, 1) == [10]


def test_polling_for_nothing_ends(room: Room) -> None:
    assert room.open().poll(0.01) == []
