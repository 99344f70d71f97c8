"""What is particular to the log in memory; what it shares with Kafka is in `topics/test_log_contract.py`."""

from __future__ import annotations

import pytest

from fdstream.errors import TransportError
from fdstream.log import Lost, MemoryBroker, MemoryLog, Record


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def broker(clock: Clock) -> MemoryBroker:
    return MemoryBroker({"a": 2, "b": 1}, clock)


def test_records_are_stamped_by_the_brokers_clock_when_they_are_appended(
    broker: MemoryBroker, clock: Clock
) -> None:
    log = MemoryLog(broker)
    log.append("a", 1, b"one", key=b"k")
    clock.seconds = 250.5
    log.append("a", 1, b"two")
    log.follow("a", 1, 0)
    clock.seconds = 999.0
    assert log.poll(0) == [Record("a", 1, 0, 100.0, b"one", b"k"), Record("a", 1, 1, 250.5, b"two", b"")]


def test_processes_share_the_partitions_and_nothing_else(broker: MemoryBroker) -> None:
    one, two = MemoryLog(broker), MemoryLog(broker)
    acked: list[int] = []
    one.append("a", 0, b"x", on_ack=acked.append)
    one.follow("a", 0, 0)
    two.flush()
    assert two.poll(0) == []
    assert acked == []
    assert two.end_offsets("a") == [1, 0]
    assert [item.offset for item in one.poll(0)] == [0]
    assert acked == [0]


def test_a_record_is_what_the_bytes_were_when_it_was_appended(broker: MemoryBroker) -> None:
    log, data = MemoryLog(broker), bytearray(b"before")
    log.append("b", 0, memoryview(data))  # type: ignore[arg-type]  # what a producer that copies would allow
    data[:] = b"after!"
    log.follow("b", 0, 0)
    (record,) = log.poll(0)
    assert isinstance(record, Record)
    assert record.value == b"before"


@pytest.mark.parametrize(("topic", "partition"), [("a", 2), ("a", -1), ("c", 0)])
def test_what_is_not_there_cannot_be_written_or_followed(
    broker: MemoryBroker, topic: str, partition: int
) -> None:
    log = MemoryLog(broker)
    with pytest.raises(TransportError, match=f"no partition {partition} of topic '{topic}'"):
        log.append(topic, partition, b"x")
    with pytest.raises(TransportError, match=f"no partition {partition} of topic '{topic}'"):
        log.follow(topic, partition, 0)
    assert log.poll(0) == []


def test_deletion_never_goes_back(broker: MemoryBroker) -> None:
    log = MemoryLog(broker)
    for _ in range(5):
        log.append("a", 0, b"x")
    log.delete_before({("a", 0): 4})
    log.delete_before({("a", 0): 2})
    assert log.start_offsets("a") == [4, 0]


def test_one_lost_partition_does_not_hold_up_the_others(broker: MemoryBroker) -> None:
    log = MemoryLog(broker)
    for partition in (0, 1):
        log.append("a", partition, b"x")
        log.append("a", partition, b"y")
        log.follow("a", partition, 0)
    log.delete_before({("a", 0): 1})
    lost, *found = log.poll(0)
    assert lost == Lost("a", 0, 0)
    assert [(item.partition, item.offset) for item in found] == [(1, 0), (1, 1)]


def test_acknowledgements_within_acknowledgements_come_in_the_same_flush(broker: MemoryBroker) -> None:
    log = MemoryLog(broker)
    acked: list[str] = []

    def first(offset: int) -> None:
        acked.append(f"first {offset}")
        log.append("b", 0, b"y", on_ack=lambda later: acked.append(f"then {later}"))

    log.append("a", 0, b"x", on_ack=first)
    log.flush()
    assert acked == ["first 0", "then 0"]


def test_a_closed_log_follows_nothing(broker: MemoryBroker) -> None:
    log = MemoryLog(broker)
    log.follow("a", 0, 0)
    log.append("a", 0, b"x")
    log.close()
    assert log.poll(0) == []
