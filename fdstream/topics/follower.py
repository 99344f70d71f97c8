"""Which partitions are followed and how far each has been delivered, on two readers.

Why two: a consumer has one fetch at a time under way to each broker. Where nothing is new it lies there for
`fetch.wait.max.ms`, and a newly followed partition waits for it. A long wait makes every change of what is
followed slow, a short one makes a hundred idle clients a load. So a partition starts on the *burst* reader,
which waits briefly; a while after it has come to its end it starts on the *tail* reader too, which waits long; and
with the first sign of it there it stops on the burst reader. Each reader delivers without holes from the position at
its start, so what either delivers past the position is next in line, and the rest is a double. Where much comes both
would fetch all of it: then it stops on the tail reader, and the while begins anew at the end.

Who is in no hurry has one reader for everything, which waits as long as is said, and no hand-over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from fdstream.errors import RemoteError, TransportError
from fdstream.log import Lost, Record
from fdstream.topics.handles import Weather, is_permanent, logger, sentence
from fdstream.topics.presence import gone
from fdstream.topics.reader import Place, Reader
from fdstream.topics.settings import BURST_WAIT_MS, TAIL_WAIT_MS

# A partition between brokers, or one that stood still, leaves two leaders for as long as it lasts and a little more.
BEYOND_SECONDS = 60.0
# So much since the last end is bulk. Small records may come ever so often: their place goes over.
BULK_BYTES = 64 * 1024
QUIET_SECONDS = 1.0
_OUT_OF_RANGE = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)


class Follower:
    """Delivers followed partitions in order, each offset once per `follow`. `prefix` is that of the topics.

    `first_wait_ms` is that of the reader that takes partitions up, `rest_wait_ms` of that which has them at rest:
    None where they stay with the first.

    For every offset that holds no readable record (a transaction's marker, a compacted record) a record with an
    empty value and time 0 stands, so that whoever counts offsets, or waits for an end offset, gets there.
    """

    def __init__(
        self,
        make_reader: Callable[[int], Reader],
        weather: Weather,
        prefix: str,
        *,
        first_wait_ms: int = BURST_WAIT_MS,
        rest_wait_ms: int | None = TAIL_WAIT_MS,
    ) -> None:
        self._make_burst = partial(make_reader, first_wait_ms)
        self._make_tail = None if rest_wait_ms is None else partial(make_reader, rest_wait_ms)
        self._weather = weather
        self._prefix = prefix
        self._burst: Reader | None = None
        self._tail: Reader | None = None
        self._positions: dict[Place, int] = {}
        self._burst_bytes: dict[Place, int] = {}  # that came there since the place was last at its end
        self._waiting: dict[Place, float] = {}  # at their end, and when to hand them over; monotonic seconds
        self._beyond_since: dict[
            Place, float
        ] = {}  # when a leader first said that it has less; monotonic seconds
        self._seen_topics: set[str] = set()

    @property
    def readers(self) -> list[Reader]:
        """Those with something to poll for."""
        return [reader for reader in (self._burst, self._tail) if reader is not None and reader.busy]

    def follow(self, topic: str, partition: int, offset: int) -> None:
        """See `fdstream.log.Log.follow`."""
        place = (self._prefix + topic, partition)
        position = self._positions.get(place)
        if position is None or position > offset:
            self._positions[place] = offset
            self._start(place)

    def unfollow(self, topic: str, partition: int) -> None:
        """See `fdstream.log.Log.unfollow`."""
        self._leave((self._prefix + topic, partition))

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        """See `fdstream.log.Log.poll`. Waits on one reader alone. Errors: TransportError, RemoteError."""
        found: list[Record | Lost] = []
        began_seconds = time.monotonic()
        self._hand_over_the_quiet()
        for reader in self.readers:
            for message in reader.poll(0.0 if found else timeout_seconds):
                self._take(reader, message, found)
            timeout_seconds = 0.0
            if self._weather.misses_a_topic:
                self._check_topics(reader)
        waited_seconds = time.monotonic() - began_seconds
        for reader in self.readers:
            if reader.is_lost(waited_seconds):
                self._replace(reader)
        if found:
            self._weather.clear()
        return found

    def close(self) -> None:
        """Release the connections."""
        for reader in (self._burst, self._tail):
            if reader is not None:
                reader.close()
        self._burst = self._tail = None

    def _replace(self, lost: Reader) -> None:
        """Go on from the same positions with a new reader."""
        make = self._make_burst if lost is self._burst else self._make_tail
        assert make is not None
        fresh = make()
        for place in lost.places:
            fresh.start(place, self._positions[place])
        if lost is self._burst:
            self._burst = fresh
        else:
            self._tail = fresh
        lost.abandon()

    # The hand-over

    def _start(self, place: Place) -> None:
        if self._burst is None:
            self._burst = self._make_burst()
        if self._tail is not None:
            self._tail.stop(place)
        self._burst_bytes.pop(place, None)
        self._waiting.pop(place, None)
        self._burst.discover(place[0])
        self._burst.start(place, self._positions[place])

    def _hand_over_the_quiet(self) -> None:
        now_seconds = time.monotonic()
        for place in [place for place, due in self._waiting.items() if due <= now_seconds]:
            del self._waiting[place]
            assert self._make_tail is not None
            if self._tail is None:
                self._tail = self._make_tail()
            if not self._tail.reads(place):
                self._tail.start(place, self._positions[place])

    def _on_burst(self, place: Place, size_bytes: int) -> None:
        """So much has come on the burst reader."""
        self._burst_bytes[place] = self._burst_bytes.get(place, 0) + size_bytes
        if self._burst_bytes[place] < BULK_BYTES:
            return
        self._waiting.pop(place, None)
        if self._tail is not None:
            self._tail.stop(place)

    def _leave(self, place: Place) -> None:
        self._positions.pop(place, None)
        self._burst_bytes.pop(place, None)
        self._waiting.pop(place, None)
        for reader in (self._burst, self._tail):
            if reader is not None:
                reader.stop(place)

    # What comes in

    def _take(self, reader: Reader, message: Message, found: list[Record | Lost]) -> None:
        topic, partition, offset, error = (
            message.topic(),
            message.partition(),
            message.offset(),
            message.error(),
        )
        assert topic is not None
        if partition is None:  # librdkafka speaks of the whole topic
            assert error is not None
            self._on_trouble(error, f"read topic {topic}")
            return
        place = (topic, partition)
        if place not in self._positions or not reader.reads(place):
            return
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._on_error(place, error, found)
            return
        assert offset is not None
        self._seen_topics.add(topic)
        if reader is self._tail and self._burst is not None:
            self._burst.stop(place)
        if offset >= self._positions[place]:
            self._beyond_since.pop(place, None)
        if error is not None:
            self._on_end(reader, place, offset, found)
        elif offset >= self._positions[place]:
            self._fill(place, offset, found)
            self._deliver(self._record(message, place, offset), reader, place, found)

    def _deliver(self, record: Record, reader: Reader, place: Place, found: list[Record | Lost]) -> None:
        found.append(record)
        self._positions[place] = record.offset + 1
        if reader is self._burst:
            self._on_burst(place, len(record.value))

    def _named(self, place: Place) -> Place:
        return place[0].removeprefix(self._prefix), place[1]

    def _record(self, message: Message, place: Place, offset: int) -> Record:
        seconds = message.timestamp()[1] / 1000
        return Record(*self._named(place), offset, seconds, message.value() or b"", message.key() or b"")

    def _on_end(self, reader: Reader, place: Place, end: int, found: list[Record | Lost]) -> None:
        self._fill(place, end, found)
        if reader is self._tail or self._make_tail is None:
            return
        if self._burst_bytes.pop(place, 0) >= BULK_BYTES or place not in self._waiting:
            self._waiting[place] = time.monotonic() + QUIET_SECONDS

    def _fill(self, place: Place, end: int, found: list[Record | Lost]) -> None:
        for offset in range(self._positions[place], end):
            found.append(Record(*self._named(place), offset, 0.0, b""))
        self._positions[place] = max(end, self._positions[place])

    def _on_error(self, place: Place, error: KafkaError, found: list[Record | Lost]) -> None:
        if error.code() in _OUT_OF_RANGE:
            self._on_out_of_range(place, found)
        else:
            self._on_trouble(error, f"read partition {place[1]} of topic {place[0]}")

    def _on_trouble(self, error: KafkaError, what: str) -> None:
        if is_permanent(error):
            raise TransportError(sentence(error, what))
        self._weather.notice(error)

    def _check_topics(self, reader: Reader) -> None:
        """A topic that does not exist yet is waited for; one that was there and is gone is not."""
        self._weather.misses_a_topic = False
        for topic in {topic for topic, _ in self._positions} & self._seen_topics:
            if not reader.exists(topic):
                raise gone(topic)

    def _on_out_of_range(self, place: Place, found: list[Record | Lost]) -> None:
        position = self._positions[place]
        self._start(place)
        assert self._burst is not None
        try:
            low, high = self._burst.bounds(place)
        except KafkaException as error:
            self._weather.notice(error.args[0])
            return
        if position < low:
            self._leave(place)
            found.append(Lost(*self._named(place), position))
        elif position > high:
            self._on_beyond_end(place, position, high)

    def _on_beyond_end(self, place: Place, position: int, high: int) -> None:
        """The partition has lost records; or a leader that was voted out, and has not heard of it, is answering."""
        since_seconds = self._beyond_since.setdefault(place, time.monotonic())
        if time.monotonic() > since_seconds + BEYOND_SECONDS:
            raise RemoteError(_beyond_end(place, position, high))
        logger.debug("%s[%d] ends at %d, before %d: asking again", *place, high, position)


def _beyond_end(place: Place, position: int, high: int) -> str:
    return (
        f"partition {place[1]} of topic {place[0]} ends at offset {high}, before offset {position} that was "
        "in it: the topic was deleted and made again, or acknowledged records were lost in an unclean leader "
        "election. Delete the federation with `fdstream topics delete` and start it anew."
    )
