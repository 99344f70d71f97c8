"""Processes that give up doubt sooner: what takes fdstream a minute to believe, they believe in seconds.

For cases in which the bad news is true, so that waiting for better shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from fdstream.topics import follower, questions

HASTY_SECONDS = 10.0
# Half a minute by default: librdkafka's own doubt about a topic that a broker does not know.
SURE = ("--kafka", "topic.metadata.propagation.max.ms=3000")


def be_hasty() -> None:
    """In this process, from now on."""
    questions.HEARSAY_SECONDS = follower.BEYOND_SECONDS = HASTY_SECONDS


@contextmanager
def haste() -> Iterator[None]:
    """In this process, for a while."""
    before = questions.HEARSAY_SECONDS, follower.BEYOND_SECONDS
    be_hasty()
    try:
        yield
    finally:
        questions.HEARSAY_SECONDS, follower.BEYOND_SECONDS = before
