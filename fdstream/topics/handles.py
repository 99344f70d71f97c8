"""librdkafka handles: making them, and turning what they say into errors or one line in the log.

librdkafka reconnects and retries by itself, so most of its errors are weather: they are logged once and gone
when the next record or acknowledgement passes. A few never pass by waiting: those raise. This file knows no
topics and no federation.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from fdstream.errors import TransportError, UsageError

logger = logging.getLogger("fdstream.log")
librdkafka_logger = logging.getLogger("fdstream.librdkafka")

DENIED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "this principal may not use the topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "this principal may not use the consumer group",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "this principal may not do this on the cluster",
}
_SIGN_IN = (KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED)
_MEMBERSHIP = {
    KafkaError.INVALID_SESSION_TIMEOUT: "Choose --kafka session.timeout.ms within what the broker allows.",
    KafkaError.INCONSISTENT_GROUP_PROTOCOL: "Is something else in the servers' consumer group? Stop it.",
}
_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE, KafkaError.INVALID_MSG_SIZE)
UNKNOWN = (
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError._UNKNOWN_PARTITION,
    KafkaError.UNKNOWN_TOPIC_ID,
)

# As long as librdkafka lets a request take: a slow link is no lost broker.
LOST_SECONDS = 60.0
_ANSWER_SECONDS = 5.0

_STATISTICS_INTERVAL = "statistics.interval.ms"
STATISTICS_MS = "5000"
GIVEN_UP = "given_up"

_ELECTIONS = (  # what a new topic and a restarted broker answer for a moment; it passes by itself
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.FENCED_LEADER_EPOCH,
)
_LONG_ELECTIONS = 5  # so many errors in a row are more than a moment


def is_permanent(error: KafkaError) -> bool:
    """Whether waiting cannot help: fatal to the handle, credentials or membership refused, not authorised."""
    return error.fatal() or error.code() in (*DENIED, *_SIGN_IN, *_MEMBERSHIP)


def sentence(error: KafkaError, what: str) -> str:
    """What happened, to what, and what to do; `what` continues "cannot …"."""
    code = error.code()
    if code in DENIED:
        return f"cannot {what}: {DENIED[code]}. Grant what `fdstream topics acls` prints."
    if code in _SIGN_IN:
        return f"cannot {what}: the broker refused to sign in ({error.str()}). Check the sasl.* settings."
    if code in _TOO_LARGE:
        return (
            f"cannot {what}: the record is too large ({error.str()}). Lower --chunk-bytes, or raise "
            "max.message.bytes of the topic and --kafka message.max.bytes."
        )
    if code in _MEMBERSHIP:
        return f"cannot {what}: {error.str()}. {_MEMBERSHIP[code]}"
    if code in UNKNOWN:
        return f"cannot {what}: it does not exist (any more). Was the federation deleted? ({error.str()})"
    return f"cannot {what}: {error.str()}."


class _Voice:
    """What one handle says of itself every few seconds; it has a last word when the handle is given up."""

    def __init__(self, heard: Callable[[str], None]) -> None:
        self._heard = heard
        self._last: str | None = None
        self._ended = False

    def say(self, text: str) -> None:
        if not self._ended:
            self._last = text
            self._heard(text)

    def end(self) -> None:
        self._ended = True
        if self._last is not None:
            self._heard(f'{self._last.rstrip().removesuffix("}")}, "{GIVEN_UP}": true}}')


class Weather:
    """The errors of one handle's connection. Passing trouble is logged once until it is over.

    `statistics`, if given, hears what producers and consumers say of themselves every few seconds. When one is given
    up its last word is said again, with the field `GIVEN_UP`.
    """

    def __init__(self, bootstrap: str, statistics: Callable[[str], None] | None = None) -> None:
        self._bootstrap = bootstrap
        self.statistics = statistics
        self._voices: dict[int, _Voice] = {}  # by the handle's identity
        self._troubled = False
        self._elections = 0  # errors of elections since something passed
        self._permanent: KafkaError | None = None
        self.last = ""
        self.misses_a_topic = False  # librdkafka does not say which

    def notice(self, error: KafkaError) -> None:
        """librdkafka's error callback."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            return  # says no more than the error of each broker, which comes too
        self.last = error.str()
        self.misses_a_topic |= error.code() in UNKNOWN
        if is_permanent(error):
            self._permanent = error
            return
        self._elections += error.code() in _ELECTIONS
        if error.code() in _ELECTIONS and self._elections < _LONG_ELECTIONS:
            logger.debug("leaders change at %s: %s", self._bootstrap, error.str())
        elif not self._troubled:
            self._troubled = True
            logger.warning("trouble with the broker at %s, waiting: %s", self._bootstrap, error.str())

    def clear(self) -> None:
        """Something passed: the trouble is over."""
        self._elections = 0
        if self._troubled:
            self._troubled = False
            logger.warning("the broker at %s answers again", self._bootstrap)

    def listen(self, handle: object, voice: _Voice) -> None:
        """Know whose voice it is."""
        self._voices[id(handle)] = voice

    def give_up(self, handle: object) -> None:
        """The handle is used no more."""
        voice = self._voices.pop(id(handle), None)
        if voice is not None:
            voice.end()

    def check(self) -> None:
        """Errors: TransportError where waiting cannot help."""
        if self._permanent is not None:
            raise TransportError(sentence(self._permanent, f"use the broker at {self._bootstrap}"))


class _Chatter:
    """What librdkafka logs, as detail for debugging: whatever matters in it also comes as an error."""

    def log(self, level: int, message: str, *args: object) -> None:
        librdkafka_logger.log(min(level, logging.DEBUG), message, *args)


def _refuse(error: KafkaException) -> NoReturn:
    raise UsageError(f"librdkafka refuses the Kafka settings: {error.args[0].str().strip()}.") from None


def _make(kind: Callable[..., Any], settings: Mapping[str, Any], weather: Weather) -> Any:
    try:
        return kind({**settings, "error_cb": weather.notice}, logger=_Chatter())
    except KafkaException as error:
        _refuse(error)


def _make_speaking(kind: Callable[..., Any], settings: Mapping[str, str], weather: Weather) -> Any:
    if weather.statistics is None:
        return _make(kind, settings, weather)
    voice = _Voice(weather.statistics)
    handle = _make(kind, {_STATISTICS_INTERVAL: STATISTICS_MS, **settings, "stats_cb": voice.say}, weather)
    weather.listen(handle, voice)
    return handle


def make_producer(settings: Mapping[str, str], weather: Weather) -> Producer:
    """Errors: UsageError where librdkafka refuses a setting; it names the property."""
    producer: Producer = _make_speaking(Producer, settings, weather)
    return producer


def make_consumer(settings: Mapping[str, str], weather: Weather) -> Consumer:
    """Errors: UsageError where librdkafka refuses a setting; it names the property."""
    consumer: Consumer = _make_speaking(Consumer, settings, weather)
    return consumer


def make_admin(settings: dict[str, str], weather: Weather) -> AdminClient:
    """Errors: UsageError where librdkafka refuses a setting; it names the property."""
    admin: AdminClient = _make(AdminClient, settings, weather)
    return admin


def answers(handle: Consumer, topic: str) -> bool:
    """Whether a handle that heard nothing for `LOST_SECONDS` still has a broker, asked about a topic."""
    try:
        handle.list_topics(topic, timeout=_ANSWER_SECONDS)
    except KafkaException as error:
        logger.debug("a handle has lost its brokers (%s): a new one", error.args[0].str())
        return False
    return True


def abandon(handles: list[Any]) -> None:
    """Give up handles that have lost their brokers; their end may take long, so nobody waits for it."""
    threading.Thread(target=handles.clear, name="fdstream-abandoned", daemon=True).start()
