"""Processes that give up doubt sooner: what takes fdstream a minute to believe, they believe in seconds.

For cases in which the bad news is true, so that waiting for better shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fdstream.topics import follower, presence, questions

HASTY_SECONDS = 10.0
HASTY_LOOK_SECONDS = 2.0
# Half a minute by default: librdkafka's own doubt about a topic that a broker does not know.
SURE = ("--kafka", "topic.metadata.propagation.max.ms=3000")


def be_hasty() -> None:
    """In this process, from now on."""
    _believe_after(HASTY_SECONDS, HASTY_SECONDS, HASTY_LOOK_SECONDS)


@contextmanager
def haste() -> Iterator[None]:
    """In this process, for a while."""
    before = questions.HEARSAY_SECONDS, follower.BEYOND_SECONDS, presence.LOOK_SECONDS
    be_hasty()
    try:
        yield
    finally:
        _believe_after(*before)


def _believe_after(hearsay_seconds: float, beyond_seconds: float, look_seconds: float) -> None:
    questions.HEARSAY_SECONDS, follower.BEYOND_SECONDS = hearsay_seconds, beyond_seconds
    presence.LOOK_SECONDS = look_seconds
