"""Appends records through one librdkafka producer at a time, and hears where they came to lie.

A producer that gets no acknowledgement of a partition for a minute is given up, and what it owed goes through a new
one: librdkafka can lose its brokers for good (docs/decisions/0017). Knows no reading and no federation.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from fdstream import interrupts
from fdstream.errors import TransportError
from fdstream.log import OnAck
from fdstream.topics.handles import LOST_SECONDS, Weather, abandon, logger, sentence

_BACK_PRESSURE_SECONDS = 0.05
_FLUSH_SECONDS = 1.0
_LOOK_SECONDS = (
    0.25  # between looks at a producer that owes nothing but a word of itself, and at whether one is lost
)
# `_DESTROY` is what librdkafka says of a request on its way when it forgets the partition, whatever became of that.
_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._DESTROY)

Place = tuple[str, int]


@dataclass(slots=True)
class _Unacked:
    """Records of one partition on their way."""

    count: int
    since_seconds: float  # the last acknowledgement, or the first append; monotonic


class Writer:
    """`append` may be called from several threads, the rest from one.

    Errors: TransportError for a record that cannot be delivered, from then on; UsageError for settings that
    librdkafka refuses.
    """

    def __init__(self, make: Callable[[], Producer], weather: Weather) -> None:
        self._make = make
        self._weather = weather
        self._lock = threading.Lock()
        self._lazy: Producer | None = None
        self._unacked: dict[Place, _Unacked] = {}
        self._acked: deque[tuple[OnAck, int]] = deque()
        self._again: deque[tuple[OnAck | None, Message]] = deque()  # nobody knows whether they are there
        self._failure: str | None = None
        self._looked_seconds = 0.0
        self.awaited = 0  # records appended with an on_ack that was not called yet

    def append(
        self, topic: str, partition: int, value: bytes, key: bytes, on_ack: OnAck | None, *, droppable: bool
    ) -> bool:
        """See `Log.append`."""
        self.check()
        while self._again or not self._produce(topic, partition, value, key, on_ack):
            if droppable:
                return False
            interrupts.check()
            self.wait(_BACK_PRESSURE_SECONDS)
            self._mend()
        if on_ack is not None:
            self.awaited += 1
        return True

    def flush(self) -> None:
        """See `Log.flush`."""
        while self._lazy is not None and (self._lazy.flush(_FLUSH_SECONDS) or self._again):
            interrupts.check()
            self.settle()
        self.settle()

    def wait(self, timeout_seconds: float) -> None:
        """Hear acknowledgements, for at most this long if there are none yet."""
        if self._lazy is not None:
            self._lazy.poll(timeout_seconds)

    def settle(self) -> bool:
        """Call what waits for acknowledgements that have come; whether there was any."""
        if self._unacked or self._is_time_to_look():
            self.wait(0)
        self._mend()
        called = bool(self._acked)
        while self._acked:
            on_ack, offset = self._acked.popleft()
            self.awaited -= 1
            on_ack(offset)
        return called

    def check(self) -> None:
        """Errors: TransportError for a record that could not be delivered, or a connection lost for good."""
        self._weather.check()
        if self._failure is not None:
            raise TransportError(self._failure)

    def close(self) -> None:
        """Hear the producer's last word and release the connection; records not flushed may be lost."""
        self.wait(0)
        self._weather.give_up(self._lazy)
        self._lazy = None

    # One record

    def _produce(self, topic: str, partition: int, value: bytes, key: bytes, on_ack: OnAck | None) -> bool:
        """Queue it where there is room. What was delivered takes room until its callback was called."""
        with self._lock:
            if self._lazy is None:
                self._lazy = self._make()
            producer, delivered = self._lazy, partial(self._delivered, on_ack)
            try:
                producer.produce(topic, value, key or None, partition, on_delivery=delivered)
            except BufferError:
                pass
            except KafkaException as error:
                what = f"append {len(value)} bytes to partition {partition} of topic {topic}"
                raise TransportError(sentence(error.args[0], what)) from None
            else:
                self._expect((topic, partition))
                return True
        producer.poll(0)
        return False

    def _expect(self, place: Place) -> None:
        unacked = self._unacked.get(place)
        if unacked is None:
            self._unacked[place] = _Unacked(1, time.monotonic())
        else:
            unacked.count += 1

    def _hear(self, place: Place) -> None:
        with self._lock:
            unacked = self._unacked[place]
            unacked.count -= 1
            unacked.since_seconds = time.monotonic()
            if unacked.count == 0:
                del self._unacked[place]

    def _delivered(self, on_ack: OnAck | None, error: KafkaError | None, message: Message) -> None:
        topic, partition, offset = message.topic(), message.partition(), message.offset()
        assert topic is not None
        assert partition is not None
        self._hear((topic, partition))
        if error is not None and error.code() not in _PURGED:
            what = f"append to partition {partition} of topic {topic}"
            self._failure = self._failure or sentence(error, what)
            return
        if error is None:
            self._weather.clear()
        if error is not None or offset is None:
            self._again.append((on_ack, message))
        elif on_ack is not None:
            self._acked.append((on_ack, offset))

    # What went wrong

    def _mend(self) -> None:
        self.check()
        self._look_after_the_producer()
        self._append_again()

    def _append_again(self) -> None:
        """Append again what may not be there: twice is harmless to the protocol, never is not.

        To librdkafka "duplicate sequence number" means that an earlier try succeeded. The broker says it also
        where a partition that is just being made missed the first request and took the second, which was under
        way beside it: then the first record is nowhere.
        """
        while self._again:
            on_ack, message = self._again[0]
            topic, partition = message.topic(), message.partition()
            assert topic is not None
            assert partition is not None
            logger.debug("appending again to partition %d of topic %s", partition, topic)
            if not self._produce(topic, partition, message.value() or b"", message.key() or b"", on_ack):
                return  # the queue is full: at the next settling
            self._again.popleft()

    def _is_time_to_look(self) -> bool:
        return time.monotonic() >= self._looked_seconds + _LOOK_SECONDS

    def _look_after_the_producer(self) -> None:
        if not self._is_time_to_look():
            return
        self._looked_seconds = now_seconds = time.monotonic()
        with self._lock:
            silent_since = min((each.since_seconds for each in self._unacked.values()), default=now_seconds)
            if now_seconds < silent_since + LOST_SECONDS:
                return
            lost = [self._lazy]
            self._lazy = None
        logger.debug("nothing was acknowledged for %g s: a new producer", LOST_SECONDS)
        _hand_back(lost[0])
        self._weather.give_up(lost[0])
        abandon(lost)


def _hand_back(producer: Producer | None) -> None:
    """Let the callbacks have every record that was not acknowledged."""
    assert producer is not None
    producer.purge()
    producer.flush(_FLUSH_SECONDS)
