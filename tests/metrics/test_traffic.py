"""What passes a process's logs is in its metrics, by kind of topic and direction."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from fdstream.counted import CountedLog
from fdstream.log import Lost, MemoryBroker, MemoryLog
from fdstream.metrics import definitions as d
from fdstream.metrics.meters import Meters
from fdstream.metrics.traffic import KINDS, Traffic
from fdstream.topics import table
from tests.metrics.scrapes import Scrape

TOPICS = {spec.name: spec.partitions for spec in table.topic_specs(2)}


class Scene:
    """A metered log and the log below it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.broker = MemoryBroker(TOPICS, lambda: 5.0)
        self.plain = MemoryLog(self.broker)
        self.log = CountedLog(self.plain, Traffic(Meters(self.registry, "alpha", "client")).count)

    def counted(self, topic: str, direction: str) -> tuple[float, float]:
        """Records and bytes."""
        found = Scrape(generate_latest(self.registry).decode())
        place = {"topic": topic, "direction": direction}
        return found.value(d.LOG_RECORDS, **place), found.value(d.LOG_BYTES, **place)


def test_what_is_appended_and_delivered_is_counted_by_kind_of_topic() -> None:
    scene, acked = Scene(), list[int]()
    assert scene.log.append("round-0.updates", 1, b"12345", key=b"k", on_ack=acked.append)
    assert scene.log.append("round-1.updates", 0, b"123")
    assert scene.log.append(table.CONTROL, 0, b"1")
    scene.log.flush()
    assert acked == [0]
    assert scene.counted("updates", "out") == (2, 9)
    assert scene.counted("control", "out") == (1, 1)
    assert scene.counted("updates", "in") == (0, 0)
    scene.log.follow("round-0.updates", 1, 0)
    scene.log.follow("round-1.updates", 0, 0)
    assert [record.value for record in scene.log.poll(0) if not isinstance(record, Lost)] == [
        b"12345",
        b"123",
    ]
    assert scene.counted("updates", "in") == (2, 9)
    assert scene.log.poll(0) == []
    scene.log.follow("round-0.updates", 1, 0)
    scene.log.poll(0)
    assert scene.counted("updates", "in") == (3, 15), "what is read again is read"


def test_what_is_lost_or_dropped_is_not_counted() -> None:
    scene = Scene()
    scene.log.append(table.MEMBERS, 0, b"beat")
    scene.log.delete_before({(table.MEMBERS, 0): 1})
    scene.log.follow(table.MEMBERS, 0, 0)
    assert scene.log.poll(0) == [Lost(table.MEMBERS, 0, 0)]
    assert scene.counted("members", "in") == (0, 0)
    scene.plain.append = lambda *_, **__: False  # type: ignore[method-assign]
    assert not scene.log.append(table.MEMBERS, 0, b"beat", droppable=True)
    assert scene.counted("members", "out") == (1, 4)


def test_offsets_are_those_of_the_log() -> None:
    scene = Scene()
    scene.log.append(table.CONTROL, 0, b"1")
    assert (scene.log.end_offsets(table.CONTROL), scene.log.start_offsets(table.CONTROL)) == ([1], [0])
    scene.log.close()


def test_every_topic_has_its_series_from_the_beginning() -> None:
    scene = Scene()
    assert {table.kind(topic) for topic in TOPICS} == set(KINDS)
    for kind in KINDS:
        assert scene.counted(kind, "in") == (0, 0)
