"""`Writer`: nothing appended is lost, whatever a producer says or keeps to itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, Message, Producer

from fdstream.errors import TransportError
from fdstream.topics import table, writer
from fdstream.topics.admin import Admin
from fdstream.topics.handles import Weather
from fdstream.topics.kafka_log import KafkaLog
from fdstream.topics.writer import Writer
from kafka_cluster import Cluster
from tests.topics.drain import poll_until, records

TOPIC = table.updates(0)
Delivered = Callable[[KafkaError | None, Message], None]


class Scripted:
    """A producer that does what the test says; `kept` are records that were neither acknowledged nor refused."""

    def __init__(self) -> None:
        self.kept: list[tuple[Delivered, str, int, bytes, bytes | None]] = []
        self.room = 1000
        self.when_polled: Callable[[], object] = lambda: None

    def produce(
        self, topic: str, value: bytes, key: bytes | None, partition: int, on_delivery: Delivered
    ) -> None:
        if len(self.kept) >= self.room:
            raise BufferError
        self.kept.append((on_delivery, topic, partition, value, key))

    def acknowledge(self, offset: int | None, count: int = 1) -> None:
        for _ in range(count):
            on_delivery, topic, partition, value, key = self.kept.pop(0)
            record = Message(topic=topic, partition=partition, value=value, key=key)
            if offset is not None:
                record = Message(topic=topic, partition=partition, offset=offset, value=value, key=key)
            on_delivery(None, record)

    def refuse(self, code: int) -> None:
        on_delivery, topic, partition, value, key = self.kept.pop(0)
        on_delivery(KafkaError(code), Message(topic=topic, partition=partition, value=value, key=key))

    def purge(self) -> None:
        while self.kept:
            self.refuse(KafkaError._PURGE_QUEUE if len(self.kept) % 2 else KafkaError._PURGE_INFLIGHT)

    def __len__(self) -> int:
        return len(self.kept)

    def poll(self, timeout_seconds: float) -> int:
        del timeout_seconds
        self.when_polled()
        return 0

    def flush(self, timeout_seconds: float) -> int:
        del timeout_seconds
        return len(self.kept)

    @property
    def values(self) -> list[bytes]:
        return [value for _, _, _, value, _ in self.kept]


class Scene:
    """A writer, the producers it made, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.producers: list[Scripted] = []
        self.now_seconds = 1000.0
        self.acked: list[int] = []
        self.writer = Writer(self._make, Weather("nowhere"))
        monkeypatch.setattr(writer, "time", SimpleNamespace(monotonic=lambda: self.now_seconds))

    def _make(self) -> Producer:
        self.producers.append(Scripted())
        return self.producers[-1]  # type: ignore[return-value]

    def append(self, value: bytes, partition: int = 0, *, droppable: bool = False) -> bool:
        return self.writer.append("t", partition, value, b"k", self.acked.append, droppable=droppable)

    def wait(self, seconds: float) -> None:
        """So much time passes, and the writer is asked."""
        self.now_seconds += seconds
        self.writer.settle()


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(monkeypatch)


def test_an_acknowledgement_is_heard_once_when_the_writer_is_asked(scene: Scene) -> None:
    scene.append(b"a")
    scene.producers[0].acknowledge(7)
    assert (scene.acked, scene.writer.awaited) == ([], 1)
    assert scene.writer.settle()
    assert not scene.writer.settle()
    assert (scene.acked, scene.writer.awaited) == ([7], 0)


def test_a_producer_that_owes_nothing_is_asked_now_and_then(scene: Scene) -> None:
    asked: list[float] = []
    scene.append(b"a")
    scene.producers[0].when_polled = lambda: asked.append(scene.now_seconds)
    for _ in range(5):
        scene.wait(0.1)
    assert len(asked) == 5, "while it owes something, at every settling"
    scene.producers[0].acknowledge(3)
    asked.clear()
    for _ in range(100):
        scene.wait(0.05)
    assert 15 <= len(asked) <= 20, "five seconds"
    asked.clear()
    scene.writer.close()
    assert len(asked) == 1, "its last word"


def test_what_is_acknowledged_without_an_offset_is_appended_again(scene: Scene) -> None:
    """It may be nowhere: a partition that is being made can take a producer's second request and not its first."""
    scene.append(b"a")
    scene.producers[0].acknowledge(None)
    scene.writer.settle()
    assert (scene.producers[0].values, scene.acked) == ([b"a"], [])
    scene.producers[0].acknowledge(3)
    scene.writer.settle()
    assert scene.acked == [3]


def test_what_was_on_its_way_when_a_topic_went_is_appended_again_and_told_of_then(scene: Scene) -> None:
    """As librdkafka answers: first that it has forgotten the partition, then that there is none."""
    scene.append(b"a")
    scene.producers[0].refuse(KafkaError._DESTROY)
    scene.writer.settle()
    assert scene.producers[0].values == [b"a"]
    scene.producers[0].refuse(KafkaError._UNKNOWN_PARTITION)
    with pytest.raises(TransportError, match="Was the federation deleted"):
        scene.writer.settle()


def test_what_cannot_be_delivered_is_an_error_from_then_on(scene: Scene) -> None:
    scene.append(b"a")
    scene.producers[0].refuse(KafkaError.MSG_SIZE_TOO_LARGE)
    for call in (scene.writer.settle, scene.writer.flush, lambda: scene.append(b"b")):
        with pytest.raises(TransportError, match="append to partition 0 of topic t: the record is too large"):
            call()


def test_a_producer_that_acknowledges_nothing_for_a_minute_is_replaced_and_nothing_is_lost(
    scene: Scene,
) -> None:
    values = [b"%d" % index for index in range(5)]
    for value in values:
        scene.append(value)
    scene.wait(59)
    assert len(scene.producers) == 1
    scene.wait(2)
    old, new = scene.producers[0], scene.producers[1]
    assert (old.values, new.values) == ([], values)
    new.acknowledge(11, count=5)
    scene.writer.settle()
    assert (scene.acked, scene.writer.awaited) == ([11] * 5, 0)


def test_a_partition_that_goes_on_does_not_hide_one_that_is_stuck(scene: Scene) -> None:
    scene.append(b"stuck", partition=1)
    for _ in range(5):
        scene.wait(10)
        scene.producers[0].kept.reverse()
        scene.append(b"moves", partition=0)
        scene.producers[0].kept.reverse()
        scene.producers[0].acknowledge(1)
    assert len(scene.producers) == 1
    scene.wait(11)
    assert scene.producers[1].values == [b"stuck"]


def test_a_slow_partition_is_not_a_stuck_one_and_no_record_on_its_way_is_no_silence(scene: Scene) -> None:
    for value in (b"a", b"b", b"c"):
        scene.append(value)
    for _ in range(3):
        scene.wait(50)
        scene.producers[0].acknowledge(1)
    scene.wait(1000)
    scene.append(b"d")
    scene.wait(50)
    assert len(scene.producers) == 1


def test_what_is_owed_waits_for_room_in_the_new_producer(scene: Scene) -> None:
    for value in (b"a", b"b", b"c"):
        scene.append(value)
    scene.writer._make = lambda: _narrow(scene)
    scene.wait(61)
    new = scene.producers[1]
    for offset, value in enumerate((b"a", b"b", b"c")):
        assert new.values == [value]
        new.acknowledge(offset)
        scene.writer.settle()
    scene.writer.settle()
    assert scene.acked == [0, 1, 2]


def test_who_waits_for_room_in_a_stuck_producer_gets_it_in_a_new_one_behind_what_is_owed(
    scene: Scene,
) -> None:
    scene.append(b"a")
    scene.producers[0].room = 1
    scene.producers[0].when_polled = lambda: setattr(scene, "now_seconds", scene.now_seconds + 10)
    assert scene.append(b"b")
    assert scene.producers[1].values == [b"a", b"b"]


def test_what_is_owed_comes_before_what_is_new(scene: Scene) -> None:
    scene.append(b"a")
    scene.producers[0].acknowledge(None)
    assert not scene.append(b"b", droppable=True)
    assert scene.append(b"b")
    assert scene.producers[0].values == [b"a", b"b"]


def _narrow(scene: Scene) -> Producer:
    made = scene._make()
    made.room = 1  # type: ignore[attr-defined]
    return made


def test_a_droppable_record_waits_for_no_room(scene: Scene) -> None:
    assert scene.append(b"a", droppable=True)
    scene.producers[0].room = 1
    assert not scene.append(b"b", droppable=True)
    assert scene.writer.awaited == 1


def test_new_producers_during_an_outage_lose_nothing_and_keep_the_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """On a real broker that stands still: what was on its way may be there twice, and nothing is missing."""
    with Cluster(data_dir=tmp_path / "kafka") as cluster, Admin(cluster.bootstrap, settings={}) as admin:
        admin.create_topics(name, 1, slots=1)
        log = KafkaLog(cluster.bootstrap, name, client_id="test", settings={})
        made: list[Producer] = []
        make = log._writer._make

        def make_and_tell() -> Producer:
            made.append(make())
            return made[-1]

        log._writer._make = make_and_tell
        acked: list[int] = []
        log.append(TOPIC, 0, b"0", on_ack=acked.append)
        log.flush()
        cluster.pause_node(0)
        monkeypatch.setattr(writer, "LOST_SECONDS", 1.0)
        for index in range(1, 30):
            log.append(TOPIC, 0, b"%d" % index, on_ack=acked.append)
        poll_until(log, lambda _: len(made) >= 3)
        monkeypatch.setattr(writer, "LOST_SECONDS", 60.0)
        cluster.resume_node(0)
        log.flush()
        assert len(acked) == 30
        end = log.end_offsets(TOPIC)[0]
        log.follow(TOPIC, 0, 0)
        found = [int(record.value) for record in records(log, end)]
        log.close()
    assert list(dict.fromkeys(found)) == list(range(30))
