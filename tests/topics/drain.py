"""Polling with a deadline, for logs whose records arrive when they arrive."""

from __future__ import annotations

import time
from collections.abc import Callable

from fdstream.log import Log, Lost, Record

DEADLINE_SECONDS = 60.0
QUIET_SECONDS = 0.3


def poll_until(log: Log, condition: Callable[[list[Record | Lost]], bool]) -> list[Record | Lost]:
    """Everything that `poll` returned by the time the condition held for it."""
    found: list[Record | Lost] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition(found):
        assert time.monotonic() < deadline, f"only {found[-5:]} came"
        found.extend(log.poll(0.1))
    return found


def records(log: Log, count: int) -> list[Record]:
    """The next `count` records, exactly."""
    found = poll_until(log, lambda found: len(found) >= count)
    assert all(isinstance(item, Record) for item in found)
    assert len(found) == count
    return [item for item in found if isinstance(item, Record)]


def offsets(log: Log, count: int) -> list[int]:
    """The offsets of the next `count` records, in the order they came."""
    return [record.offset for record in records(log, count)]


def quiet(log: Log) -> bool:
    """Whether nothing comes for a while that is long against a broker's latency."""
    deadline = time.monotonic() + QUIET_SECONDS
    while time.monotonic() < deadline:
        if log.poll(QUIET_SECONDS / 3):
            return False
    return True
