"""One consumer with manual assignment, for `Follower`.

No consumer group, no commits. librdkafka fetches ahead in its own threads into a bounded queue; changes of
what is read are applied together, at the next `poll`. Topics are named as on the broker.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from fdstream.errors import TransportError
from fdstream.topics.handles import (
    LOST_SECONDS,
    UNKNOWN,
    Weather,
    abandon,
    answers,
    is_permanent,
    make_consumer,
    sentence,
)

Place = tuple[str, int]

_BATCH = 64
_METADATA_TIMEOUT_SECONDS = 2.0
_WATERMARK_TIMEOUT_SECONDS = 10.0


class Reader:
    """Delivers what librdkafka has of the places that are read, errors and ends of partitions too."""

    def __init__(self, settings: Mapping[str, str], weather: Weather) -> None:
        self._weather = weather
        self._consumer: Consumer = make_consumer(dict(settings), weather)
        self._assigned: set[Place] = set()
        self._wanted: set[Place] = set()
        self._starting: dict[Place, int] = {}
        self._known_topics: set[str] = set()
        self._silent_seconds = 0.0  # waited, here or elsewhere, since anything came

    @property
    def busy(self) -> bool:
        """Whether there is anything to poll for."""
        return bool(self._wanted or self._assigned)

    @property
    def places(self) -> list[Place]:
        """What is read, from the next poll at the latest."""
        return list(self._wanted)

    def reads(self, place: Place) -> bool:
        """Whether the place is read, from the next poll at the latest."""
        return place in self._wanted

    def start(self, place: Place, offset: int) -> None:
        """Read the place from `offset` on, whatever was read of it before."""
        self._wanted.add(place)
        self._starting[place] = offset

    def stop(self, place: Place) -> None:
        """Nothing of the place is delivered from now on."""
        self._wanted.discard(place)
        self._starting.pop(place, None)

    def discover(self, topic: str) -> None:
        """Ask for the topic's leaders now: left to itself librdkafka takes up to a second.

        The question queues behind a fetch that lies at the broker. Errors: TransportError where it is denied.
        """
        if topic in self._known_topics:
            return
        self._known_topics.add(topic)
        error = self._topic_error(topic)
        if error is not None and is_permanent(error):
            raise TransportError(sentence(error, f"read topic {topic}"))

    def exists(self, topic: str) -> bool:
        """Whether the cluster has the topic, as far as it answers in time."""
        error = self._topic_error(topic)
        return error is None or error.code() not in UNKNOWN

    def _topic_error(self, topic: str) -> KafkaError | None:
        try:
            found = self._consumer.list_topics(topic, timeout=_METADATA_TIMEOUT_SECONDS).topics[topic]
        except KafkaException as error:
            self._weather.notice(error.args[0])
            return None
        topic_error: KafkaError | None = found.error
        return topic_error

    def poll(self, timeout_seconds: float) -> list[Message]:
        """What there is, after waiting for the first of it. Errors: TransportError."""
        self._apply()
        first = self._consumer.poll(timeout_seconds)
        self._weather.check()
        if first is None:
            return []
        messages = (first, *self._consumer.consume(_BATCH, 0))
        found = [message for message in messages if self._is_of_a_place(message)]
        if found:
            self._silent_seconds = 0.0
        return found

    def is_lost(self, waited_seconds: float) -> bool:
        """Whether nothing came for long and it reaches no broker: it will not by itself any more.

        `waited_seconds` have passed in waiting for records since the last time, for its own or another reader's: who
        does not wait, because it trains, cannot say what came.
        """
        self._silent_seconds += waited_seconds
        if self._silent_seconds < LOST_SECONDS or not self._wanted:
            return False
        self._silent_seconds = 0.0
        return not answers(self._consumer, next(iter(self._wanted))[0])

    def abandon(self) -> None:
        """Instead of `close` for a reader that is lost."""
        handles = [self._consumer]
        self._weather.give_up(self._consumer)
        del self._consumer
        abandon(handles)

    def bounds(self, place: Place) -> tuple[int, int]:
        """The place's first offset and the one past its last. Errors: KafkaException."""
        found: tuple[int, int] = self._consumer.get_watermark_offsets(
            TopicPartition(*place), timeout=_WATERMARK_TIMEOUT_SECONDS
        )
        return found

    def close(self) -> None:
        """Release the connections."""
        self._consumer.close()
        self._weather.give_up(self._consumer)

    def _apply(self) -> None:
        """Bring the assignment to what is wanted.

        A place that starts anew is unassigned first: then librdkafka drops what it fetched before.
        """
        self._unassign(
            [place for place in self._assigned if place in self._starting or place not in self._wanted]
        )
        if self._starting:
            starts = [TopicPartition(*place, offset) for place, offset in self._starting.items()]
            self._consumer.incremental_assign(starts)
            self._assigned.update(self._starting)
            self._starting.clear()

    def _unassign(self, places: Iterable[Place]) -> None:
        gone = [TopicPartition(*place) for place in places]
        if gone:
            self._consumer.incremental_unassign(gone)
            self._assigned.difference_update(places)

    def _is_of_a_place(self, message: Message) -> bool:
        if message.topic() is not None:
            return True
        error = message.error()
        # Every librdkafka consumer looks for its group's coordinator; a reader needs none and no right to it.
        if error is not None and error.code() != KafkaError.GROUP_AUTHORIZATION_FAILED:
            self._weather.notice(error)
            self._weather.check()
        return False
