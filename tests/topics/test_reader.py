"""`Reader`: what it delivers of the places that are read, and nothing of the others."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, Message

from fdstream.topics import table
from fdstream.topics.handles import Weather
from fdstream.topics.reader import Place, Reader
from fdstream.topics.settings import BURST_WAIT_MS, reader_settings
from tests.topics.conftest import OpenLog
from tests.topics.drain import DEADLINE_SECONDS

TOPIC = table.updates(0)


@pytest.fixture
def reader(kafka: str) -> Iterator[Reader]:
    reader = Reader(reader_settings(kafka, "test", {}, BURST_WAIT_MS), Weather(kafka))
    yield reader
    reader.close()


@pytest.fixture
def place(open_log: OpenLog, federation: str) -> Place:
    """A partition that holds ten records."""
    log = open_log()
    for index in range(10):
        log.append(TOPIC, 0, b"%d" % index)
    log.flush()
    return table.full_name(federation, TOPIC), 0


def _to_the_end(reader: Reader) -> list[Message]:
    """What comes up to the sign that a partition has ended, which is the last."""
    found: list[Message] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not found or found[-1].error() is None:
        assert time.monotonic() < deadline
        found.extend(reader.poll(0.1))
    return found


def test_a_place_is_delivered_from_its_start_to_the_sign_of_its_end(reader: Reader, place: Place) -> None:
    reader.start(place, 4)
    *messages, end = _to_the_end(reader)
    assert [message.offset() for message in messages] == list(range(4, 10))
    error = end.error()
    assert error is not None
    assert (error.code(), end.offset()) == (KafkaError._PARTITION_EOF, 10)


def test_starting_again_forgets_what_was_fetched_before(reader: Reader, place: Place) -> None:
    for start in (0, 7, 2, 9, 0):
        reader.start(place, start)
        offsets = [message.offset() for message in _to_the_end(reader)]
        assert offsets == list(range(start, 11))
        reader.start(place, 1)
        reader.poll(0.05)


def test_a_reader_is_busy_until_what_it_left_is_unassigned(reader: Reader, place: Place) -> None:
    assert not reader.busy
    reader.start(place, 0)
    assert (reader.busy, reader.reads(place)) == (True, True)
    reader.poll(0)
    reader.stop(place)
    assert (reader.busy, reader.reads(place)) == (True, False)
    assert reader.poll(0) == []
    assert not reader.busy


def test_bounds_and_existence_are_the_brokers(reader: Reader, place: Place) -> None:
    assert reader.bounds(place) == (0, 10)
    assert reader.exists(place[0])
    assert not reader.exists(f"{place[0]}.not")
