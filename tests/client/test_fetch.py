"""A model is read back from the log by whoever wants it, checked, or it is said why that cannot be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fdstream.client.fetch import fetch_model, fetch_version, newest_version
from fdstream.codecs import WHOLE
from fdstream.errors import RemoteError
from fdstream.flat import FlatModel
from fdstream.ledger import Ledger
from fdstream.log import MemoryBroker, MemoryLog
from fdstream.messages import Message, ModelChunk
from fdstream.serde.avro import encode
from fdstream.topics import table
from tests.client.scene import LAYOUT, NONCE, SETTINGS, History, attempt_of, closing, extended, weights_of

TOPIC = table.model(1)


class Archive:
    """A history whose chunks stand in a memory broker."""

    def __init__(self, num_rounds: int = 9, keep_rounds: int = 0) -> None:
        self.history = History(replace(SETTINGS, num_rounds=num_rounds, keep_rounds=keep_rounds))
        self.broker = MemoryBroker({s.name: s.partitions for s in table.topic_specs(2)}, lambda: 1.0)
        self.log = MemoryLog(self.broker)
        self.ledger = Ledger()
        self.write(1)

    def see(self, *messages: Message) -> Ledger:
        for message in messages:
            assert self.ledger.fold(self.history.pages.control(message))
        return self.ledger

    def write(self, version: int) -> None:
        """Put the chunks of a version where the history has them."""
        for entry in self.history.chunks[version]:
            assert isinstance(entry.message, ModelChunk)
            self.append(entry.record.topic, entry.record.partition, encode(entry.message))

    def append(self, topic: str, partition: int, value: bytes) -> None:
        self.broker.append(topic, partition, value, b"")

    def close(self, number: int, *, training: bool = True) -> Ledger:
        """A round passes; the next model is in the log."""
        closed = self.history.closed(number)
        self.write(number + 1)
        opened = self.history.round_opened(number, training=training)
        return self.see(opened, closing(number), closed)

    def fetch(self, version: int = 1) -> FlatModel:
        topic = table.model(version % 2)
        return fetch_model(self.log, LAYOUT, topic, self.history.models[version], WHOLE)


def assert_is(model: FlatModel, version: int) -> None:
    tensors = model.tensors()
    for name, array in weights_of(version).items():
        np.testing.assert_array_equal(tensors[name], array, strict=True)


# One model


def test_a_model_is_read_from_where_it_is_named() -> None:
    archive = Archive()
    archive.history.publish(3)
    archive.write(3)
    assert_is(archive.fetch(1), 1)
    for partition, model in enumerate(archive.history.models[3]):
        archive.log.delete_before({(TOPIC, partition): model.start})
    assert_is(archive.fetch(3), 3)


def test_noise_between_the_chunks_is_passed_over() -> None:
    archive = Archive()
    archive.broker.partitions[TOPIC, 0].clear()
    ours = [entry.message for entry in archive.history.chunks[1] if entry.record.partition == 0]
    for chunk in ours:
        assert isinstance(chunk, ModelChunk)
        archive.append(TOPIC, 0, b"garbage")
        archive.append(TOPIC, 0, encode(replace(chunk, attempt=b"z" * 16, data=bytes(16))))
        archive.append(TOPIC, 0, encode(replace(chunk, part=1, data=bytes(16))))
        archive.append(TOPIC, 0, encode(extended(1, 1)))
        archive.append(TOPIC, 0, encode(chunk))
        archive.append(TOPIC, 0, encode(replace(chunk, data=bytes(16))))
    assert_is(archive.fetch(), 1)


def test_afterwards_nothing_of_the_model_is_followed() -> None:
    archive = Archive()
    archive.fetch()
    archive.write(1)
    assert archive.log.poll(0) == []


def test_other_topics_that_the_log_follows_are_left_as_they_are() -> None:
    archive = Archive()
    archive.log.follow(table.model(0), 0, 0)
    archive.log.follow(table.CONTROL, 0, 0)
    chunk = ModelChunk(NONCE, attempt_of(1), 1, 0, 0, bytes(16))  # right but for its topic
    archive.append(table.model(0), 0, encode(chunk))
    archive.append(table.CONTROL, 0, b"anything")
    assert_is(archive.fetch(), 1)
    archive.append(table.CONTROL, 0, b"more")
    assert [item.topic for item in archive.log.poll(0)] == [table.CONTROL]


def test_a_model_that_was_deleted_is_an_error_that_says_where_it_was() -> None:
    archive = Archive()
    archive.log.delete_before({(TOPIC, 1): 1})
    with pytest.raises(RemoteError, match=r"round-1\.model\[1\] begins after offset 0\. .*--keep-rounds"):
        archive.fetch()
    archive.write(1)
    assert archive.log.poll(0) == []


def test_a_damaged_model_is_an_error() -> None:
    archive = Archive()
    first = archive.history.chunks[1][0].message
    assert isinstance(first, ModelChunk)
    archive.broker.partitions[TOPIC, 0].clear()
    archive.append(TOPIC, 0, encode(replace(first, data=bytes(15))))
    with pytest.raises(RemoteError, match="shard 0 of the global model is damaged"):
        archive.fetch()


# Versions


def test_there_is_no_model_before_a_server_opened_the_federation() -> None:
    with pytest.raises(RemoteError, match="no server has opened it"):
        newest_version(Ledger())


def test_the_newest_version_counts_the_training_rounds_that_closed() -> None:
    archive = Archive(num_rounds=2)
    assert newest_version(archive.see(archive.history.opened)) == 1
    assert newest_version(archive.close(1)) == 2
    assert newest_version(archive.see(archive.history.round_opened(2))) == 2
    archive.history.publish(3)
    assert newest_version(archive.see(closing(2), archive.history.closed(2))) == 3
    assert newest_version(archive.close(3, training=False)) == 3


def test_every_version_that_the_log_holds_can_be_fetched() -> None:
    archive = Archive()
    archive.see(archive.history.opened)
    assert_is(fetch_version(archive.log, archive.ledger, 1), 1)
    for number in (1, 2, 3):
        archive.close(number)
        for version in range(1, number + 2):
            assert_is(fetch_version(archive.log, archive.ledger, version), version)


@pytest.mark.parametrize("version", [0, 4, 100])
def test_a_version_that_is_not_there_is_an_error_that_names_the_newest(version: int) -> None:
    archive = Archive()
    archive.see(archive.history.opened)
    archive.close(1)
    archive.close(2)
    words = rf"no model after round {version - 1}: the newest is after round 2$"
    with pytest.raises(RemoteError, match=words):
        fetch_version(archive.log, archive.ledger, version)


def test_versions_that_a_federation_does_not_keep_are_forgotten() -> None:
    archive = Archive(keep_rounds=1)
    archive.see(archive.history.opened)
    for number in range(1, 9):
        archive.close(number)
    with pytest.raises(RemoteError, match=r"no model after round 0: the newest is after round 8$"):
        fetch_version(archive.log, archive.ledger, 1)
    assert_is(fetch_version(archive.log, archive.ledger, 9), 9)
