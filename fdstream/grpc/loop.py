"""One event loop in a thread of its own for all of a process's streams: gRPC's asyncio side lives in it.

A thread for each stream, as gRPC's blocking side has, costs a hundred clients more in hand-overs than in work.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import wait
from functools import cache
from typing import Any, TypeVar

from fdstream import interrupts

T = TypeVar("T")
_LONGEST_WAIT_SECONDS = 0.2
_starting = threading.Lock()  # a cache alone would let two threads make two


def loop() -> asyncio.AbstractEventLoop:
    """The process's loop, started when first asked for; it ends with the process."""
    with _starting:
        return _started()


@cache
def _started() -> asyncio.AbstractEventLoop:
    made = asyncio.new_event_loop()
    threading.Thread(target=made.run_forever, name="fdstream-grpc", daemon=True).start()
    return made


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine gives, run in the loop; for every thread but the loop's."""
    future = asyncio.run_coroutine_threadsafe(coroutine, loop())
    try:
        while True:
            interrupts.check()
            if wait((future,), _LONGEST_WAIT_SECONDS).done:
                return future.result()
    finally:
        future.cancel()
