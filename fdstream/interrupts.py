"""Ctrl-C that cannot get lost.

Python raises KeyboardInterrupt wherever the main thread happens to be, and where that is in a destructor or in a
callback from C, as in librdkafka's binding, it is printed and forgotten: the program goes on. So a handler also
remembers it, and whoever waits in a loop asks with `check`. This file knows no loop and no command.
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


def check() -> None:
    """Raise the KeyboardInterrupt that came since the last call, lost or not; only in the main thread."""
    global _is_pending
    if _is_pending and threading.current_thread() is threading.main_thread():
        _is_pending = False
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    global _is_pending
    del number, frame
    _is_pending = True
    raise KeyboardInterrupt
