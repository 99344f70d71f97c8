"""A log that tells at its end what has passed it, for `fdstream.moments`; otherwise the log it was given."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

from fdstream.counted import CountedLog, Direction
from fdstream.errors import TransportError
from fdstream.log import Log

Counts = dict[str, list[int]]
"""By topic records and their bytes, keys included."""


class Tally(CountedLog):
    """At its end it tells what was appended and what was read, and stays connected for a while."""

    def __init__(self, log: Log, tell: Callable[[Counts, Counts], None], linger_seconds: float) -> None:
        super().__init__(log, self._add)
        self._tell = tell
        self._linger_seconds = linger_seconds
        self._lock = threading.Lock()
        self._counts: dict[Direction, Counts] = {way: defaultdict(lambda: [0, 0]) for way in ("out", "in")}

    def close(self) -> None:
        """See `Log.close`."""
        self._tell(self._counts["out"], self._counts["in"])
        try:
            self._linger()
        finally:
            super().close()

    def _add(self, topic: str, direction: Direction, records: int, size_bytes: int) -> None:
        with self._lock:
            counts = self._counts[direction][topic]
            counts[0] += records
            counts[1] += size_bytes

    def _linger(self) -> None:
        deadline = time.monotonic() + self._linger_seconds
        with suppress(TransportError):  # a server over gRPC may have left
            while (remaining := deadline - time.monotonic()) > 0:
                self.poll(remaining)
