"""A log that counts the records that pass through it, for `fdstream.moments`; changes nothing of what passes."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from fdstream.errors import TransportError
from fdstream.log import Log, Lost, OnAck, Record

Tell = Callable[[dict[str, list[int]], dict[str, list[int]]], None]
"""Hears what was appended and what was read: by topic the records and their bytes, keys included."""


class Tally:
    """See `Log`. At its end it tells its counts, and stays connected for a while."""

    def __init__(self, log: Log, tell: Tell, linger_seconds: float) -> None:
        self._log = log
        self._tell = tell
        self._linger_seconds = linger_seconds
        self._lock = threading.Lock()  # heartbeats are appended from a thread of their own
        self._appended: dict[str, list[int]] = defaultdict(lambda: [0, 0])  # topic -> records, bytes
        self._read: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes,
        *,
        key: bytes = b"",
        on_ack: OnAck | None = None,
        droppable: bool = False,
    ) -> bool:
        """See `Log.append`."""
        queued = self._log.append(topic, partition, value, key=key, on_ack=on_ack, droppable=droppable)
        if queued:
            self._count(self._appended[topic], value, key)
        return queued

    def poll(self, timeout_seconds: float) -> Sequence[Record | Lost]:
        """See `Log.poll`."""
        found = self._log.poll(timeout_seconds)
        for record in found:
            if isinstance(record, Record):
                self._count(self._read[record.topic], record.value, record.key)
        return found

    def _count(self, counts: list[int], value: bytes, key: bytes) -> None:
        with self._lock:
            counts[0] += 1
            counts[1] += len(value) + len(key)

    def flush(self) -> None:
        """See `Log.flush`."""
        self._log.flush()

    def follow(self, topic: str, partition: int, offset: int) -> None:
        """See `Log.follow`."""
        self._log.follow(topic, partition, offset)

    def unfollow(self, topic: str, partition: int) -> None:
        """See `Log.unfollow`."""
        self._log.unfollow(topic, partition)

    def end_offsets(self, topic: str) -> list[int]:
        """See `Log.end_offsets`."""
        return self._log.end_offsets(topic)

    def start_offsets(self, topic: str) -> list[int]:
        """See `Log.start_offsets`."""
        return self._log.start_offsets(topic)

    def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """See `Log.delete_before`."""
        self._log.delete_before(offsets)

    def close(self) -> None:
        """See `Log.close`."""
        self._tell(self._appended, self._read)
        try:
            self._linger()
        finally:
            self._log.close()

    def _linger(self) -> None:
        deadline = time.monotonic() + self._linger_seconds
        with suppress(TransportError):  # a server over gRPC may have left
            while (remaining := deadline - time.monotonic()) > 0:
                self._log.poll(remaining)
