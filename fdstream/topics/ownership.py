"""Which shards this server owns: the assignment of a Kafka consumer group, and nothing but the assignment.

The group is subscribed to the topic `shards` but reads nothing through it: every assigned partition is paused and
no offset is committed. The classic protocol with cooperative-sticky assignment moves as few shards as it can;
librdkafka's session time-out decides how soon a killed member's shards move on.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from confluent_kafka import Consumer, TopicPartition

from fdstream.errors import TransportError
from fdstream.topics import table
from fdstream.topics.handles import (
    LOST_SECONDS,
    Weather,
    abandon,
    answers,
    is_permanent,
    make_consumer,
    sentence,
)
from fdstream.topics.settings import member_settings

_POLL_SECONDS = 0.1


def group_name(federation: str) -> str:
    """The consumer group of the federation's servers."""
    return f"{table.PREFIX}.{federation}"


class GroupOwnership:
    """A membership, from construction to `close`; kept alive by a thread of its own, however long a fold takes.

    A context manager. Errors: UsageError for settings that cannot be used.
    """

    def __init__(
        self, bootstrap: str, federation: str, *, client_id: str, settings: Mapping[str, str]
    ) -> None:
        self._group = group_name(federation)
        self._weather = Weather(bootstrap)
        self._settings = member_settings(bootstrap, client_id, settings, self._group)
        self._topic = table.full_name(federation, table.SHARDS)
        self._consumer = self._join()
        self._awaits_shards = True
        self._silent_seconds = 0.0  # waited since this member joined, lost its shards, or was looked after
        self._lock = threading.Lock()
        self._shards: frozenset[int] | None = None  # None until the first assignment
        self._told: frozenset[int] | None = None
        self._failure: TransportError | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fdstream-ownership", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def poll(self) -> frozenset[int] | None:
        """The shards owned now, where that changed since the last call; else None. Never waits.

        None also until the group has assigned any for the first time, which may be an empty set.

        Errors: TransportError where the group cannot be used.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            changed = self._shards != self._told
            self._told = self._shards
            return self._shards if changed else None

    def close(self) -> None:
        """Leave the group, so that the others take over at once."""
        self._closing.set()
        self._thread.join()

    def _join(self) -> Consumer:
        consumer = make_consumer(self._settings, self._weather)
        consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )
        return consumer

    # In the thread

    def _run(self) -> None:
        try:
            while not self._closing.is_set():
                self._turn()
        except TransportError as error:
            with self._lock:
                self._failure = error
        finally:
            self._consumer.close()

    def _turn(self) -> None:
        began_seconds = time.monotonic()
        message = self._consumer.poll(_POLL_SECONDS)
        self._silent_seconds += time.monotonic() - began_seconds
        self._weather.check()
        if self._silent_seconds > LOST_SECONDS:
            self._make_sure_of_the_broker()
        error = None if message is None else message.error()
        if error is None:
            return
        if is_permanent(error):
            raise TransportError(sentence(error, f"share shards in the consumer group {self._group}"))
        self._weather.notice(error)

    def _make_sure_of_the_broker(self) -> None:
        """A member reads nothing, so silence says nothing.

        One that has lost its brokers, or gets no shards again after it lost them, joins anew as another.
        """
        self._silent_seconds = 0.0
        if self._awaits_shards or not answers(self._consumer, self._topic):
            handles = [self._consumer]
            self._consumer = self._join()
            self._awaits_shards = True
            if self._shards is not None:
                self._set(frozenset())
            abandon(handles)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # An explicit offset, as none is committed; it is never read from.
        consumer.incremental_assign([TopicPartition(each.topic, each.partition, 0) for each in partitions])
        consumer.pause(partitions)
        self._weather.clear()
        self._awaits_shards = False
        self._set((self._shards or frozenset()) | {each.partition for each in partitions})

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        self._set((self._shards or frozenset()) - {each.partition for each in partitions})

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The group gave this member up; it should get shards again by itself."""
        self._awaits_shards = True
        self._silent_seconds = 0.0
        self._on_revoke(consumer, partitions)

    def _set(self, shards: frozenset[int]) -> None:
        with self._lock:
            self._shards = shards
