"""Work that has to be done by a certain time, or is given up: in a thread that is told to stop, and then left.

Whatever waits in fdstream heeds it (`fdstream.interrupts`). A user's function cannot be stopped from outside; who
runs one checks afterwards, so that nothing is sent any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from fdstream import interrupts

T = TypeVar("T")
STOPPING_SECONDS = 0.5  # what waits asks at least so often whether to go on


class OutOfTimeError(Exception):
    """It was not done in time."""


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns or raises. Raises `OutOfTimeError` within the seconds where it takes longer."""
    future: Future[T] = Future()
    stop = threading.Event()

    def run() -> None:
        with interrupts.heeding(stop):
            try:
                future.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                future.set_exception(error)

    threading.Thread(target=run, name="fdstream-invocation", daemon=True).start()
    stopping = min(STOPPING_SECONDS, seconds / 4)
    if not _wait(future, seconds - stopping):
        stop.set()
        if not _wait(future, stopping):
            raise OutOfTimeError
    try:
        return future.result()
    except interrupts.Stopped:
        raise OutOfTimeError from None


def _wait(future: Future[T], seconds: float) -> bool:
    """Whether it is done."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    return done.wait(seconds)
