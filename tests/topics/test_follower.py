"""`Follower`: its hand-over between readers, and against its model with whatever is followed in any order."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from fdstream.errors import TransportError
from fdstream.log import Lost, Record
from fdstream.topics import follower, reader, table
from fdstream.topics.follower import Follower
from fdstream.topics.handles import LOST_SECONDS, Weather
from fdstream.topics.kafka_log import KafkaLog
from fdstream.topics.reader import Place, Reader
from fdstream.topics.settings import TAIL_WAIT_MS, reader_settings
from tests.topics.clock import Clock
from tests.topics.conftest import SHARDS, OpenLog
from tests.topics.drain import DEADLINE_SECONDS, poll_until

TOPIC = table.updates(0)
STEPS = 400


class _Followed:
    """A follower and the readers it made, by how long they wait."""

    def __init__(self, bootstrap: str, federation: str) -> None:
        weather = Weather(bootstrap)
        self.made: dict[int, Reader] = {}
        self.count = 0

        def make_reader(wait_ms: int) -> Reader:
            self.count += 1
            self.made[wait_ms] = Reader(reader_settings(bootstrap, "test", {}, wait_ms), weather)
            return self.made[wait_ms]

        self.prefix = table.full_name(federation, "")
        self.follower = Follower(make_reader, weather, self.prefix)

    def reading(self, place: Place) -> list[Reader]:
        """Who reads the place."""
        return [each for each in self.made.values() if each.reads(place)]

    def poll_until(self, condition: Callable[[int], bool]) -> list[Record | Lost]:
        found: list[Record | Lost] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition(len(found)):
            assert time.monotonic() < deadline
            found.extend(self.follower.poll(0.01))
        return found

    def rest(self) -> None:
        """Until every followed partition is on the reader with the long wait, and on that alone."""
        self.poll_until(lambda _: self.follower.readers == [self.made.get(TAIL_WAIT_MS)])


@pytest.fixture
def followed(kafka: str, federation: str) -> Iterator[_Followed]:
    followed = _Followed(kafka, federation)
    yield followed
    followed.follower.close()


def test_at_rest_partitions_lie_on_the_reader_with_the_long_wait_and_stay_there(
    followed: _Followed, open_log: OpenLog
) -> None:
    for partition in range(SHARDS):
        followed.follower.follow(TOPIC, partition, 0)
    followed.rest()
    writer = open_log()
    for partition in range(SHARDS):
        writer.append(TOPIC, partition, b"x")
    followed.poll_until(lambda count: count >= SHARDS)
    assert followed.follower.readers == [followed.made[TAIL_WAIT_MS]]


def test_readers_that_have_lost_their_brokers_are_replaced_without_holes_or_doubles(
    followed: _Followed, open_log: OpenLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LOST_SECONDS", 0.05)
    answering = True
    monkeypatch.setattr(reader, "answers", lambda *_: answering)
    writer = open_log()
    for partition in range(SHARDS):
        followed.follower.follow(TOPIC, partition, 0)
    found: list[Record | Lost] = []
    for index in range(20):
        for partition in range(SHARDS):
            writer.append(TOPIC, partition, b"%d" % index)
        writer.flush()
        made, answering = followed.count, False
        found += followed.poll_until(lambda _, made=made: followed.count > made)  # type: ignore[misc]
        answering = True  # a new reader may take longer than this to reach the broker
    found += followed.poll_until(lambda count: len(found) + count >= 20 * SHARDS)
    for partition in range(SHARDS):
        values = [item.value for item in found if isinstance(item, Record) and item.partition == partition]
        assert values == [b"%d" % index for index in range(20)]


def test_a_reader_that_hears_nothing_but_has_a_broker_is_kept(
    followed: _Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(handle: Consumer, topic: str) -> bool:
        del handle
        asked.append(topic)
        return True

    followed.follower.follow(TOPIC, 0, 0)
    followed.rest()
    monkeypatch.setattr(reader, "LOST_SECONDS", 0.05)
    monkeypatch.setattr(reader, "answers", ask)
    followed.poll_until(lambda _: len(asked) >= 3)
    assert followed.count == 2


def test_a_newly_followed_partition_does_not_wait_for_those_at_rest(
    followed: _Followed, open_log: OpenLog
) -> None:
    """With one consumer it would wait for the fetch that lies at the broker, up to 500 ms."""
    writer = open_log()
    writer.append(TOPIC, 0, b"x")
    writer.flush()
    followed.follower.follow(table.CONTROL, 0, 0)
    waits = []
    for _ in range(5):
        followed.rest()
        before = time.perf_counter()
        followed.follower.follow(TOPIC, 0, 0)
        followed.poll_until(bool)
        waits.append(time.perf_counter() - before)
        followed.follower.unfollow(TOPIC, 0)
    assert sorted(waits)[2] < TAIL_WAIT_MS / 1000 / 3


def test_where_much_comes_at_a_hand_over_one_reader_alone_goes_on(
    followed: _Followed, open_log: OpenLog
) -> None:
    """Two would fetch all of it, which the network and the broker pay for."""
    place, size_bytes, count = (followed.prefix + TOPIC, 0), follower.BULK_BYTES, 100
    followed.follower.follow(TOPIC, 0, 0)
    followed.poll_until(lambda _: len(followed.follower.readers) == 2)
    writer = open_log()
    for _ in range(count):
        writer.append(TOPIC, 0, bytes(size_bytes))
    writer.flush()
    seen = 0
    while seen < count:
        seen += len(followed.follower.poll(0.01))
        assert seen == 0 or len(followed.reading(place)) == 1
    for _ in range(10):  # each is at the end, so that each would be read by both
        writer.append(TOPIC, 0, bytes(size_bytes))
        writer.flush()
        followed.poll_until(bool)
        assert len(followed.reading(place)) == 1
    followed.rest()


class _Writer:
    """Appends to every partition until stopped; `ends` lie at or below the partitions' ends."""

    def __init__(self, log: KafkaLog, seed: int) -> None:
        self.ends = [0] * SHARDS
        self._log = log
        self._random = random.Random(seed)
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(self._random.choice((0.0, 0.001, 0.01))):
            counts = [self._random.choice((0, 1, 8)) for _ in range(SHARDS)]
            for partition, count in enumerate(counts):
                for index in range(count):
                    self._log.append(TOPIC, partition, b"%d" % (self.ends[partition] + index))
            self._log.flush()
            self.ends = [end + count for end, count in zip(self.ends, counts, strict=True)]

    @contextmanager
    def writing(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            thread.join()


class _Model:
    """The next offset of each followed partition, by the words of `Log.follow`."""

    def __init__(self) -> None:
        self.positions: dict[int, int] = {}

    def follow(self, partition: int, offset: int) -> None:
        self.positions[partition] = min(self.positions.get(partition, offset), offset)

    def expect(self, item: object) -> None:
        assert isinstance(item, Record)
        assert item.offset == self.positions[item.partition]
        assert int(item.value) == item.offset
        self.positions[item.partition] += 1


def _step(log: KafkaLog, model: _Model, writer: _Writer, chance: random.Random) -> None:
    partition = chance.randrange(SHARDS)
    match chance.choice(("follow", "follow", "unfollow", "poll", "poll", "poll")):
        case "follow":
            offset = chance.randint(0, writer.ends[partition])
            log.follow(TOPIC, partition, offset)
            model.follow(partition, offset)
        case "unfollow":
            log.unfollow(TOPIC, partition)
            model.positions.pop(partition, None)
        case _:
            for item in log.poll(chance.choice((0.0, 0.001, 0.02, 0.2))):
                model.expect(item)


@pytest.mark.parametrize(("seed", "bulk_bytes"), [(0, follower.BULK_BYTES), (1, 1), (2, 20)])
def test_every_partition_is_delivered_without_holes_or_doubles_from_where_it_was_followed(
    open_log: OpenLog, monkeypatch: pytest.MonkeyPatch, seed: int, bulk_bytes: int
) -> None:
    monkeypatch.setattr(follower, "BULK_BYTES", bulk_bytes)
    monkeypatch.setattr(follower, "QUIET_SECONDS", 0.05)
    log, model, writer = open_log(), _Model(), _Writer(open_log(), seed)
    chance = random.Random(seed)
    with writer.writing():
        for _ in range(STEPS):
            _step(log, model, writer, chance)
    for partition in range(SHARDS):
        model.follow(partition, writer.ends[partition])
        log.follow(TOPIC, partition, model.positions[partition])
    missing = sum(end - model.positions[partition] for partition, end in enumerate(writer.ends))
    for item in poll_until(log, lambda found: len(found) >= missing):
        model.expect(item)
    assert [model.positions[partition] for partition in range(SHARDS)] == writer.ends


class _Speaker:
    """Stands for a reader to which librdkafka says these things, one a poll."""

    busy = True

    def __init__(self, *said: Message) -> None:
        self._said = list(said)

    def start(self, place: Place, offset: int) -> None: ...

    def discover(self, topic: str) -> None: ...

    def reads(self, place: Place) -> bool:
        del place
        return True

    def exists(self, topic: str) -> bool:
        del topic
        return True

    def poll(self, timeout_seconds: float) -> list[Message]:
        del timeout_seconds
        return [self._said.pop(0)]

    def is_lost(self, waited_seconds: float) -> bool:
        del waited_seconds
        return False


def of_the_topic(code: int) -> Message:
    return Message(topic=f"p.{TOPIC}", error=KafkaError(code))


def follower_that_hears(*said: Message) -> Follower:
    follower = Follower(lambda _: _Speaker(*said), Weather("b:1"), "p.")  # type: ignore[arg-type, return-value]
    follower.follow(TOPIC, 0, 0)
    return follower


def test_an_error_of_a_whole_topic_that_may_pass_is_waited_out() -> None:
    assert of_the_topic(KafkaError.UNKNOWN_TOPIC_OR_PART).partition() is None
    said = (
        of_the_topic(code) for code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.LEADER_NOT_AVAILABLE)
    )
    record = Message(topic=f"p.{TOPIC}", partition=0, offset=0, value=b"x", timestamp=(1, 1000))
    follower = follower_that_hears(*said, record)
    assert [follower.poll(0) for _ in range(3)] == [[], [], [Record(TOPIC, 0, 0, 1.0, b"x")]]


def test_an_error_of_a_whole_topic_that_stays_is_raised() -> None:
    follower = follower_that_hears(of_the_topic(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(TransportError, match=r"cannot read topic p\.round-0\.updates"):
        follower.poll(0)


class _Consumer:
    """Stands for librdkafka's: its partition ends at 0, once, and nothing comes. It reaches brokers, or none."""

    def __init__(self, clock: Clock, *, ends: bool, reaches_brokers: bool) -> None:
        self._clock = clock
        self._ends = ends
        self._reaches_brokers = reaches_brokers

    def incremental_assign(self, places: list[TopicPartition]) -> None: ...

    def incremental_unassign(self, places: list[TopicPartition]) -> None: ...

    def poll(self, timeout_seconds: float) -> Message | None:
        self._clock.now_seconds += timeout_seconds
        if self._ends:
            self._ends = False
            return Message(f"p.{TOPIC}", 0, 0, error=KafkaError(KafkaError._PARTITION_EOF))
        return None

    def consume(self, count: int, timeout_seconds: float) -> list[Message]:
        del count, timeout_seconds
        return []

    def list_topics(self, topic: str, timeout: float) -> SimpleNamespace:
        del timeout
        if not self._reaches_brokers:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None)})


def test_a_reader_that_is_lost_does_not_hide_behind_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first of two is waited on: the silence counts for both."""
    clock, made = Clock(), list[_Consumer]()
    began_seconds = clock.now_seconds

    def make_consumer(*_: object) -> _Consumer:
        made.append(_Consumer(clock, ends=not made, reaches_brokers=len(made) != 1))
        return made[-1]

    monkeypatch.setattr(follower, "time", clock)
    monkeypatch.setattr(reader, "make_consumer", make_consumer)
    weather = Weather("b:1")
    follows = Follower(lambda _: Reader({}, weather), weather, "p.")
    follows.follow(TOPIC, 0, 0)
    while len(made) < 3:
        assert follows.poll(0.5) == []
        assert clock.now_seconds < began_seconds + follower.QUIET_SECONDS + LOST_SECONDS + 5
    assert clock.now_seconds >= began_seconds + LOST_SECONDS
