"""Questions to the cluster that outlive a broker: asked again while the trouble may pass, each time on a new handle.

Why a new one: librdkafka's handle may go on waiting for a controller or leader that is gone. Knows no topics.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from fdstream import interrupts
from fdstream.errors import TransportError
from fdstream.topics.handles import UNKNOWN, Weather, is_permanent, make_admin, sentence

T = TypeVar("T")

FOR_EVER = float("inf")
# A broker hears of a new topic from the controller: soon, but not at once, and later where it is busy.
HEARSAY_SECONDS = 60.0
_PAUSE_SECONDS = 0.5
_METADATA_TIMEOUT_SECONDS = 2.0
_LEADERS_KNOWN_SECONDS = 300.0  # librdkafka forgets after 900
_REFUSED = (
    KafkaError.POLICY_VIOLATION,
    KafkaError.INVALID_CONFIG,
    KafkaError.INVALID_REQUEST,
    KafkaError.INVALID_PARTITIONS,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_DELETION_DISABLED,
    KafkaError.UNSUPPORTED_VERSION,
    KafkaError._INVALID_ARG,
)


def may_pass(error: KafkaError) -> bool:
    """Whether the same question may be answered a little later."""
    return not (is_permanent(error) or error.code() in (*UNKNOWN, *_REFUSED))


def refusals(futures: Mapping[str, Future[object]], welcome: int) -> dict[str, KafkaError]:
    """Of a question about many: what was refused and why, but for errors of code `welcome`.

    Errors: KafkaException where one of them may pass, so that the question is asked again.
    """
    errors = {name: error for name, future in futures.items() if (error := error_of(future)) is not None}
    for error in errors.values():
        if may_pass(error) and error.code() != welcome:
            raise KafkaException(error)
    return {name: error for name, error in errors.items() if error.code() != welcome}


def error_of(future: Future[Any]) -> KafkaError | None:
    """Why Kafka did not answer, if it did not; waits for the answer."""
    error = future.exception()
    if error is None:
        return None
    if not isinstance(error, KafkaException):
        raise error
    found: KafkaError = error.args[0]
    return found


class Questions:
    """An administrator's handle, made when needed. Errors of `ask`: TransportError."""

    def __init__(self, settings: Mapping[str, str], weather: Weather) -> None:
        self._settings = dict(settings)
        self._weather = weather
        self._lazy: AdminClient | None = None
        self._leaders_found_at: dict[str, float] = {}  # by topic, for this handle

    @property
    def has_handle(self) -> bool:
        return self._lazy is not None

    @property
    def handle(self) -> AdminClient:
        """For what is asked once."""
        if self._lazy is None:
            self._leaders_found_at = {}
            self._lazy = make_admin(self._settings, self._weather)
        return self._lazy

    def find_leaders(self, topics: Iterable[str]) -> None:
        """Let the handle know who leads the partitions of these topics, which exist. Errors: KafkaException.

        To be called before a question that goes to leaders. One that librdkafka (2.16) has to find leaders for
        is worked on by two of its threads at once: it may wait in vain, or crash the process.
        """
        handle, now = self.handle, time.monotonic()
        for topic in topics:
            if now - self._leaders_found_at.get(topic, -FOR_EVER) > _LEADERS_KNOWN_SECONDS:
                handle.list_topics(topic, timeout=_METADATA_TIMEOUT_SECONDS)
                self._leaders_found_at[topic] = now

    def ask(
        self,
        what: str,
        question: Callable[[AdminClient], T],
        *,
        patience_seconds: float,
        is_there: bool = False,
    ) -> T:
        """The answer; while it is a KafkaException that may pass, the question again.

        `what` continues "cannot …" in the error where patience is over or waiting cannot help. A topic that
        `is_there` and that a broker does not know is one that this broker has not heard of yet, for a minute.
        """
        deadline = time.monotonic() + patience_seconds
        unknown_until = FOR_EVER if is_there else 0.0
        while True:
            interrupts.check()
            try:
                answer = question(self.handle)
            except KafkaException as error:
                now, unknown = time.monotonic(), error.args[0].code() in UNKNOWN
                unknown_until = min(unknown_until, now + HEARSAY_SECONDS) if unknown else unknown_until
                passing = now < unknown_until if unknown else may_pass(error.args[0])
                self._endure(error.args[0], what, over=now > deadline or not passing)
            else:
                self._weather.clear()
                return answer

    def close(self) -> None:
        """Release the connections."""
        self._lazy = None

    def _endure(self, error: KafkaError, what: str, *, over: bool) -> None:
        """Wait a moment. Not shorter: whoever asks for the leaders of a new topic too often never hears of them."""
        if over:
            raise TransportError(sentence(error, what)) from None
        if error.code() not in UNKNOWN:  # of which the weather would make a topic that is gone
            self._weather.notice(error)
        self.handle.poll(_PAUSE_SECONDS)
        self._weather.check()
        self._lazy = None
