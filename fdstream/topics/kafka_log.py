"""The log on a real Kafka: a producer, a follower and an administrator's handle, each made when needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from functools import cache, partial

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from fdstream import interrupts
from fdstream.log import Lost, OnAck, Record
from fdstream.topics import table
from fdstream.topics.follower import Follower
from fdstream.topics.handles import Weather, logger, make_producer
from fdstream.topics.metadata import partition_counts
from fdstream.topics.presence import Presence
from fdstream.topics.questions import FOR_EVER, Questions, may_pass
from fdstream.topics.reader import Reader
from fdstream.topics.settings import (
    CALM_BYTES,
    CALM_WAIT_MS,
    SHARED_LINGER_MS,
    admin_settings,
    producer_settings,
    reader_settings,
)
from fdstream.topics.turns import Turns
from fdstream.topics.writer import Writer

_LONGEST_WAIT_SECONDS = 1.0
_OFFSETS_TIMEOUT_SECONDS = 2.0


class KafkaLog:
    """`fdstream.log.Log` for one federation.

    `append` may be called from several threads, the rest from one. A followed offset past the end of its
    partition (the topic was made again, or records were lost) raises RemoteError from `poll`. `poll` returns
    early, perhaps empty, when it has called an `on_ack`. A record that cannot be delivered raises
    TransportError from then on. `statistics` hears what librdkafka says of its handles, as JSON, in the thread that
    polls or appends. Topics that it `needs` must be there as long as it is polled, whether it uses them or not. A
    `calm` log is for who only looks: it asks each broker a few times a second, however often something comes, and so
    delivers it that much later. A `shared` one carries many clients, who append at about the same time: their records
    share requests, and each waits up to 5 ms for others.

    Errors: UsageError for settings that cannot be used; TransportError and RemoteError as above.
    """

    def __init__(
        self,
        bootstrap: str,
        federation: str,
        *,
        client_id: str,
        settings: Mapping[str, str],
        statistics: Callable[[str], None] | None = None,
        needs: Iterable[str] = (),
        calm: bool = False,
        shared: bool = False,
    ) -> None:
        self._bootstrap = bootstrap
        self._prefix = table.full_name(federation, "")
        self._client_id = client_id
        self._settings = dict(settings)
        self._linger_ms = SHARED_LINGER_MS if shared else 0
        self._weather = Weather(bootstrap, statistics)
        self._follower = self._calm_follower() if calm else self._prompt_follower()
        self._writer = Writer(self._make_producer, self._weather)
        self._questions = Questions(admin_settings(bootstrap, client_id, settings), self._weather)
        self._presence = Presence(self._questions, (self._prefix + topic for topic in needs))
        self._partitions: dict[str, int] = {}
        self._turns = Turns()
        producer_settings(bootstrap, client_id, self._settings)

    # Appending

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes,
        *,
        key: bytes = b"",
        on_ack: OnAck | None = None,
        droppable: bool = False,
    ) -> bool:
        """See `Log.append`."""
        return self._writer.append(self._prefix + topic, partition, value, key, on_ack, droppable=droppable)

    def flush(self) -> None:
        """See `Log.flush`."""
        self._writer.flush()

    # Reading

    def follow(self, topic: str, partition: int, offset: int) -> None:
        """See `Log.follow`."""
        self._follower.follow(topic, partition, offset)

    def unfollow(self, topic: str, partition: int) -> None:
        """See `Log.unfollow`."""
        self._follower.unfollow(topic, partition)

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        """See `Log.poll`."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            interrupts.check()
            self._presence.look()
            began_seconds = time.monotonic()
            called = self._writer.settle()
            remaining = 0.0 if called else max(0.0, deadline - began_seconds)
            is_awaited = self._writer.awaited > 0
            wait_seconds = _waitable(min(remaining, self._longest_wait_seconds(is_awaited=is_awaited)))
            found = self._wait(wait_seconds, is_awaited=is_awaited)
            if found or wait_seconds == 0.0:
                return found
            self._turns.note(time.monotonic() - began_seconds - wait_seconds)

    def _longest_wait_seconds(self, *, is_awaited: bool) -> float:
        """A turn, where another handle has something to say too."""
        takes_turns = is_awaited or len(self._follower.readers) > 1
        return self._turns.seconds if takes_turns else _LONGEST_WAIT_SECONDS

    def _wait(self, seconds: float, *, is_awaited: bool) -> list[Record | Lost]:
        """Wait on one handle: for acknowledgements before records, as whoever waits for one can go on only then."""
        follows = bool(self._follower.readers)
        if is_awaited:
            found = self._follower.poll(0.0) if follows else []
            if not found:
                self._writer.wait(seconds)
            return found
        if follows:
            return self._follower.poll(seconds)
        time.sleep(seconds)
        return []

    # Offsets

    def end_offsets(self, topic: str) -> list[int]:
        """See `Log.end_offsets`. Waits through elections and outages, like `poll`."""
        return self._offsets(topic, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def start_offsets(self, topic: str) -> list[int]:
        """See `Log.start_offsets`. Waits like `end_offsets`."""
        return self._offsets(topic, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def _offsets(self, topic: str, where: OffsetSpec) -> list[int]:
        """One request to each leader, all at once, on connections of its own."""
        name = self._prefix + topic

        def look_up(admin: AdminClient) -> list[int]:
            places = [TopicPartition(name, index) for index in range(self._partition_count(name))]
            self._questions.find_leaders([name])
            asked = dict.fromkeys(places, where)
            futures = admin.list_offsets(asked, request_timeout=_OFFSETS_TIMEOUT_SECONDS)
            offsets = [futures[place].result().offset for place in places]
            if min(offsets) < 0:  # librdkafka's answer, without an error, for a leader that it cannot reach
                raise KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE))
            return offsets

        what = f"look up offsets of topic {name}"
        return self._questions.ask(what, look_up, patience_seconds=FOR_EVER, is_there=True)

    def _partition_count(self, name: str) -> int:
        """Partitions never change in number while a federation lives."""
        if name not in self._partitions:
            count = partition_counts(self._questions.handle, [name])[name]
            if count is None:
                raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
            self._partitions[name] = count
        return self._partitions[name]

    def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """See `Log.delete_before`. What fails for a moment is made good by the deletion after the next round."""
        places = [
            TopicPartition(self._prefix + topic, partition, offset)
            for (topic, partition), offset in offsets.items()
        ]
        try:
            self._questions.find_leaders({place.topic for place in places})
        except KafkaException as error:
            self._weather.notice(error.args[0])
            return
        for future in self._questions.handle.delete_records(places).values():
            future.add_done_callback(_log_refusal)

    # Handles

    def close(self) -> None:
        """See `Log.close`."""
        self._follower.close()
        self._writer.close()
        self._questions.close()

    def _make_producer(self) -> Producer:
        settings = producer_settings(self._bootstrap, self._client_id, self._settings, self._linger_ms)
        return make_producer(settings, self._weather)

    def _prompt_follower(self) -> Follower:
        return Follower(self._make_reader, self._weather, self._prefix)

    def _calm_follower(self) -> Follower:
        make = partial(self._make_reader, enough_bytes=CALM_BYTES)
        return Follower(make, self._weather, self._prefix, first_wait_ms=CALM_WAIT_MS, rest_wait_ms=None)

    def _make_reader(self, wait_ms: int, enough_bytes: int = 1) -> Reader:
        settings = reader_settings(self._bootstrap, self._client_id, self._settings, wait_ms, enough_bytes)
        return Reader(settings, self._weather)


def _waitable(seconds: float) -> float:
    """How long librdkafka waits if told `seconds`: it knows whole milliseconds, and less than one is none."""
    return int(1000 * seconds) / 1000


def _log_refusal(future: Future[object]) -> None:
    """Deletion only saves disk: where it is not granted, retention does the work, and one line says so."""
    error = future.exception()
    if not isinstance(error, KafkaException):
        return
    if may_pass(error.args[0]):
        logger.debug("old records were not deleted this time: %s", error.args[0].str())
    else:
        _warn_of_refusal(error.args[0].str())


@cache
def _warn_of_refusal(reason: str) -> None:
    logger.warning(
        "old records cannot be deleted (%s) and stay until the topics' retention ends. "
        "Grant the servers Delete on the federation's topics, as `fdstream topics acls` prints.",
        reason,
    )
