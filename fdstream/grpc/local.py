"""The server's own view of the log in its memory: `fdstream.log.Log` without a stream. For one thread each."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping

from fdstream import interrupts
from fdstream.grpc.store import Place, Store
from fdstream.log import Lost, OnAck, Record

_MOST_AT_ONCE = 64  # of a partition: what is read is decoded before more is
_LONGEST_WAIT_SECONDS = 0.5


class LocalLog:
    """See `Log`. `append` may be called from several threads, the rest from one."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._positions: dict[Place, int] = {}
        self._acked: deque[tuple[OnAck, int]] = deque()
        self._news = threading.Event()

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
        del droppable
        offset = self._store.append(topic, partition, value, key)
        if on_ack is not None:
            self._acked.append((on_ack, offset))
            self._news.set()
        return True

    def flush(self) -> None:
        """See `Log.flush`."""
        while self._acked:
            on_ack, offset = self._acked.popleft()
            on_ack(offset)

    def follow(self, topic: str, partition: int, offset: int) -> None:
        """See `Log.follow`."""
        position = self._positions.get((topic, partition))
        if position is None or position > offset:
            self._store.listen((topic, partition), self._news.set)
            self._positions[topic, partition] = offset
            self._news.set()

    def unfollow(self, topic: str, partition: int) -> None:
        """See `Log.unfollow`."""
        if self._positions.pop((topic, partition), None) is not None:
            self._store.leave((topic, partition), self._news.set)

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        """See `Log.poll`."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            interrupts.check()
            called = bool(self._acked)
            self.flush()
            self._news.clear()  # before reading: what is appended meanwhile sets it again
            found = self._read()
            remaining = deadline - time.monotonic()
            if found or called or remaining <= 0:
                return found
            self._news.wait(min(remaining, _LONGEST_WAIT_SECONDS))

    def _read(self) -> list[Record | Lost]:
        found: list[Record | Lost] = []
        for place, position in list(self._positions.items()):
            records = self._store.read(place, position, _MOST_AT_ONCE)
            if isinstance(records, Lost):
                found.append(records)
                self.unfollow(*place)
            else:
                found.extend(records)
                self._positions[place] = position + len(records)
        return found

    def end_offsets(self, topic: str) -> list[int]:
        """See `Log.end_offsets`."""
        return self._store.ends(topic)

    def start_offsets(self, topic: str) -> list[int]:
        """See `Log.start_offsets`."""
        return self._store.starts(topic)

    def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """See `Log.delete_before`."""
        self._store.delete_before(offsets.items())

    def close(self) -> None:
        """See `Log.close`."""
        for place in list(self._positions):
            self.unfollow(*place)
