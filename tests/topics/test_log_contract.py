"""What `fdstream.log.Log` promises, for every log there is: the one in memory and the one on Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from fdstream.errors import TransportError
from fdstream.log import Log, Lost, MemoryBroker, MemoryLog, Record
from fdstream.topics import table
from tests.topics.conftest import SHARDS
from tests.topics.drain import offsets, poll_until, quiet, records

TOPIC = table.updates(0)
Open = Callable[[], Log]


def _memory() -> Open:
    partitions = {spec.name: spec.partitions for spec in table.topic_specs(SHARDS)}
    broker = MemoryBroker(partitions, time.time)
    return lambda: MemoryLog(broker)


@pytest.fixture(params=["memory", "kafka"])
def new_log(request: pytest.FixtureRequest) -> Open:
    """Opens logs of one federation."""
    opened: Open = _memory() if request.param == "memory" else request.getfixturevalue("open_log")
    return opened


def fill(log: Log, count: int, partition: int = 0) -> None:
    for index in range(count):
        log.append(TOPIC, partition, b"value %d" % index, key=b"key %d" % index)
    log.flush()


def test_a_record_comes_back_as_it_was_written(new_log: Open) -> None:
    before = time.time()
    writer, reader = new_log(), new_log()
    writer.append(TOPIC, 2, b"a\x00b" * 300_000, key=b"who")
    writer.flush()
    reader.follow(TOPIC, 2, 0)
    (record,) = records(reader, 1)
    assert record == Record(TOPIC, 2, 0, record.timestamp_seconds, b"a\x00b" * 300_000, b"who")
    assert before - 1 < record.timestamp_seconds < time.time() + 1


def test_empty_values_and_keys_are_records_too(new_log: Open) -> None:
    log = new_log()
    log.append(TOPIC, 0, b"")
    log.follow(TOPIC, 0, 0)
    (record,) = records(log, 1)
    assert (record.value, record.key) == (b"", b"")


def test_each_partition_comes_whole_and_in_order(new_log: Open) -> None:
    writer, reader = new_log(), new_log()
    for partition in range(SHARDS):
        reader.follow(TOPIC, partition, 0)
    for index in range(400):
        writer.append(TOPIC, index % SHARDS, b"%d" % index)
    writer.flush()
    found = records(reader, 400)
    for partition in range(SHARDS):
        mine = [record for record in found if record.partition == partition]
        assert [record.offset for record in mine] == list(range(100))
        assert [int(record.value) for record in mine] == list(range(partition, 400, SHARDS))
    assert quiet(reader)


def test_following_starts_at_its_offset(new_log: Open) -> None:
    log = new_log()
    fill(log, 10)
    log.follow(TOPIC, 0, 7)
    assert offsets(log, 3) == [7, 8, 9]


def test_what_is_appended_later_comes_too(new_log: Open) -> None:
    writer, reader = new_log(), new_log()
    reader.follow(TOPIC, 0, 0)
    assert quiet(reader)
    for index in range(3):
        fill(writer, 1)
        assert offsets(reader, 1) == [index]


def test_following_again_is_a_no_op_unless_it_asks_for_what_was_delivered(new_log: Open) -> None:
    log = new_log()
    fill(log, 10)
    log.follow(TOPIC, 0, 2)
    log.follow(TOPIC, 0, 5)
    assert offsets(log, 8) == list(range(2, 10))
    log.follow(TOPIC, 0, 10)
    log.follow(TOPIC, 0, 50)
    assert quiet(log)
    fill(log, 1)
    assert offsets(log, 1) == [10]


def test_following_back_delivers_again(new_log: Open) -> None:
    log = new_log()
    fill(log, 10)
    log.follow(TOPIC, 0, 0)
    assert offsets(log, 10) == list(range(10))
    log.follow(TOPIC, 0, 3)
    assert offsets(log, 7) == list(range(3, 10))
    log.follow(TOPIC, 0, 9)
    assert offsets(log, 1) == [9]
    assert quiet(log)


def test_following_back_leaves_other_partitions_alone(new_log: Open) -> None:
    log = new_log()
    fill(log, 5, partition=0)
    fill(log, 5, partition=1)
    log.follow(TOPIC, 0, 0)
    log.follow(TOPIC, 1, 0)
    records(log, 10)
    log.follow(TOPIC, 1, 4)
    (record,) = records(log, 1)
    assert (record.partition, record.offset) == (1, 4)
    assert quiet(log)


def test_nothing_comes_of_a_partition_that_was_left(new_log: Open) -> None:
    writer, reader = new_log(), new_log()
    fill(writer, 200)
    fill(writer, 1, partition=1)
    reader.follow(TOPIC, 0, 0)
    poll_until(reader, lambda found: len(found) > 0)
    reader.unfollow(TOPIC, 0)
    reader.follow(TOPIC, 1, 0)
    (record,) = records(reader, 1)
    assert record.partition == 1
    fill(writer, 5)
    assert quiet(reader)


def test_leaving_what_is_not_followed_does_nothing(new_log: Open) -> None:
    log = new_log()
    log.unfollow(TOPIC, 0)
    fill(log, 1)
    assert quiet(log)


def test_a_partition_that_was_left_can_be_followed_anew(new_log: Open) -> None:
    log = new_log()
    fill(log, 10)
    log.follow(TOPIC, 0, 0)
    records(log, 10)
    log.unfollow(TOPIC, 0)
    log.follow(TOPIC, 0, 8)
    assert offsets(log, 2) == [8, 9]


def test_leaving_and_following_without_a_poll_between_counts(new_log: Open) -> None:
    log = new_log()
    fill(log, 10)
    log.follow(TOPIC, 0, 0)
    log.unfollow(TOPIC, 0)
    log.follow(TOPIC, 0, 9)
    assert offsets(log, 1) == [9]
    log.unfollow(TOPIC, 0)
    log.follow(TOPIC, 0, 5)
    log.unfollow(TOPIC, 0)
    assert quiet(log)


def test_acknowledgements_bring_offsets_in_order_and_only_when_asked_for(new_log: Open) -> None:
    log = new_log()
    acked: list[int] = []
    for _ in range(20):
        log.append(TOPIC, 0, b"x", on_ack=acked.append)
    assert acked == []
    log.flush()
    assert acked == list(range(20))


def test_acknowledgements_come_with_poll_too(new_log: Open) -> None:
    log = new_log()
    acked: list[int] = []
    log.append(TOPIC, 3, b"x", on_ack=acked.append)
    poll_until(log, lambda _: bool(acked))
    assert acked == [0]


def test_an_acknowledgement_may_append_and_follow(new_log: Open) -> None:
    log = new_log()

    def then(offset: int) -> None:
        log.append(TOPIC, 1, b"after %d" % offset)
        log.follow(TOPIC, 1, 0)

    log.append(TOPIC, 0, b"x", on_ack=then)
    (record,) = records(log, 1)
    assert (record.partition, record.value) == (1, b"after 0")


def test_end_offsets_lie_past_what_is_acknowledged(new_log: Open) -> None:
    log = new_log()
    assert log.end_offsets(TOPIC) == [0] * SHARDS
    fill(log, 3, partition=1)
    fill(log, 1, partition=3)
    assert log.end_offsets(TOPIC) == [0, 3, 0, 1]
    assert log.end_offsets(table.CONTROL) == [0]


def _delete_before(log: Log, partition: int, offset: int) -> None:
    """Deletion is asynchronous."""
    log.delete_before(TOPIC, partition, offset)
    deadline = time.monotonic() + 30
    while log.start_offsets(TOPIC)[partition] < offset:
        assert time.monotonic() < deadline


def test_start_offsets_follow_deletion_and_ends_do_not(new_log: Open) -> None:
    log = new_log()
    fill(log, 10, partition=1)
    assert log.start_offsets(TOPIC) == [0] * SHARDS
    _delete_before(log, 1, 4)
    assert log.start_offsets(TOPIC) == [0, 4, 0, 0]
    assert log.end_offsets(TOPIC) == [0, 10, 0, 0]


def test_following_what_was_deleted_says_so_and_ends(new_log: Open) -> None:
    log = new_log()
    fill(log, 10)
    _delete_before(log, 0, 5)
    log.follow(TOPIC, 0, 4)
    assert poll_until(log, bool) == [Lost(TOPIC, 0, 4)]
    fill(log, 1)
    assert quiet(log)
    log.follow(TOPIC, 0, 5)
    assert offsets(log, 6) == list(range(5, 11))


def test_deleting_behind_the_position_is_not_noticed(new_log: Open) -> None:
    log = new_log()
    fill(log, 10)
    log.follow(TOPIC, 0, 0)
    records(log, 10)
    _delete_before(log, 0, 10)
    fill(log, 1)
    assert offsets(log, 1) == [10]


def test_appending_to_a_partition_that_does_not_exist_is_an_error(new_log: Open) -> None:
    log = new_log()

    def append() -> None:
        log.append(TOPIC, 99, b"x")
        log.flush()

    with pytest.raises(TransportError, match=r"partition 99 of topic .*updates"):
        append()


def test_polling_for_nothing_ends(new_log: Open) -> None:
    assert new_log().poll(0.01) == []
