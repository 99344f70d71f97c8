"""Whether the topics that a process needs are still there, whatever it reads and writes just now.

Who reads a topic, or appends to it, hears that it is gone. Who waits for the word of others does not: those others
have heard it, and ended. So every process asks now and then: one metadata request for all its topics, on the handle
that it asks for offsets, and nobody waits for the answer. Fleets are large: who has no such handle keeps none for
this, and those that start at the same moment do not ask at the same. Knows no federation.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future

from confluent_kafka.admin import TopicDescription  # type: ignore[attr-defined]

from fdstream.errors import TransportError
from fdstream.topics import questions
from fdstream.topics.handles import UNKNOWN, logger
from fdstream.topics.metadata import ask_for_topics
from fdstream.topics.questions import Questions, error_of

LOOK_SECONDS = 60.0  # the first look comes within them
_CONFIRM_SECONDS = 5.0  # between looks while a topic is missing

Answers = Mapping[str, Future[TopicDescription]]


def gone(topic: str) -> TransportError:
    """The sentence for a topic that was there."""
    return TransportError(f"topic {topic} does not exist any more. Was the federation deleted?")


class Presence:
    """Of these topics, as far as they were ever seen: a federation may do without some.

    Each has an id: one of the same name with another was made in its place. Brokers hear of topics at different
    times, and a restarted one is behind: a topic is gone where no answer of a minute knew it.
    """

    def __init__(self, asked: Questions, topics: Iterable[str]) -> None:
        self._questions = asked
        self._topics = list(topics)
        self._ids: dict[str, str] = {}
        self._missing_since: dict[str, float] = {}  # monotonic seconds
        self._answers: Answers = {}
        self._made_handle = False  # for a look
        self._due_seconds = time.monotonic() + random.uniform(0.0, LOOK_SECONDS)

    def look(self) -> None:
        """Ask when it is time, judge what was answered; waits for nothing. Errors: TransportError."""
        if self._answers and all(answer.done() for answer in self._answers.values()):
            answers, self._answers = self._answers, {}
            self._judge(answers)
        elif self._topics and not self._answers and time.monotonic() >= self._due_seconds:
            self._made_handle |= not self._questions.has_handle
            self._answers = ask_for_topics(self._questions.handle, self._topics)

    def _judge(self, answers: Answers) -> None:
        for topic, answer in answers.items():
            error = error_of(answer)
            if error is None:
                self._found(topic, str(answer.result().topic_id))
            elif error.code() in UNKNOWN:
                self._missed(topic)
            else:  # of a broker, and of rights: whoever uses the topic speaks of them
                logger.debug("whether topic %s exists is not known: %s", topic, error.str())
        if self._made_handle or all(map(error_of, answers.values())):
            self._made_handle = False
            self._questions.close()  # a handle may never find its brokers again
        pause_seconds = min(_CONFIRM_SECONDS, LOOK_SECONDS) if self._missing_since else LOOK_SECONDS
        self._due_seconds = time.monotonic() + pause_seconds

    def _found(self, topic: str, topic_id: str) -> None:
        self._missing_since.pop(topic, None)
        if topic not in self._ids:
            logger.debug("topic %s is there", topic)
        if self._ids.setdefault(topic, topic_id) != topic_id:
            raise TransportError(f"topic {topic} was deleted and made again. Was the federation deleted?")

    def _missed(self, topic: str) -> None:
        if topic not in self._ids:
            return
        now_seconds = time.monotonic()
        if now_seconds - self._missing_since.setdefault(topic, now_seconds) >= questions.HEARSAY_SECONDS:
            raise gone(topic)
