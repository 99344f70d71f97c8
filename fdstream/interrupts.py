"""Ctrl-C that cannot get lost, and the same for threads.

Python raises KeyboardInterrupt wherever the main thread happens to be, and where that is in a destructor or in a
callback from C, as in librdkafka's binding, it is printed and forgotten: the program goes on. So a handler also
remembers it, and whoever waits in a loop asks with `check`. No signal reaches the other threads: they heed an
event. This file knows no loop and no command.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_is_pending = (
    False  # no Event: a handler that waits for a lock held by the thread it interrupts waits for ever
)

_heeded = threading.local()


class Stopped(Exception):  # noqa: N818 - what was asked for, no error
    """This thread's event is set; whoever began to heed it catches this."""


@contextmanager
def remembered() -> Iterator[None]:
    """SIGINT and SIGTERM, which stops a container, raise KeyboardInterrupt, and `check` raises it again.

    A SIGINT that whoever started this process has switched off stays so. For the main thread.
    """
    global _is_pending
    numbers = [signal.SIGTERM]
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        numbers.append(signal.SIGINT)
    before = {number: signal.signal(number, _interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _is_pending = False


@contextmanager
def heeding(stop: threading.Event) -> Iterator[None]:
    """In this thread, and until the end of the block, `check` raises `Stopped` once the event is set."""
    _heeded.stop = stop
    try:
        yield
    finally:
        del _heeded.stop


def check() -> None:
    """To be called wherever something may be waited for long.

    Raises the KeyboardInterrupt that came since the last call, lost or not, in the main thread; `Stopped` in a
    thread whose event is set.
    """
    global _is_pending
    stop: threading.Event | None = getattr(_heeded, "stop", None)
    if stop is not None and stop.is_set():
        raise Stopped
    if _is_pending and threading.current_thread() is threading.main_thread():
        _is_pending = False
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _is_pending
    del number, frame
    _is_pending = True
    raise KeyboardInterrupt
