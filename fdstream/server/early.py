"""What comes of a round before the record that opens it: clients may read that one sooner than this server. Pure.

Servers follow the topics of all slots all the time: a partition that is newly followed waits (topics/follower.py).
What is kept for a moment need not be fetched again; what there is no room for is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from fdstream.events import Entry

Place = tuple[str, int]

ROOM_BYTES: Final = 16 << 20
"""Late uploads to a slot that is not in use lie here too, until its next round opens."""
RECORD_BYTES: Final = 1024
"""What a record takes besides its value, about."""


class Early:
    """Records in the order in which they came."""

    def __init__(self, room_bytes: int = ROOM_BYTES) -> None:
        self._entries: list[Entry] = []
        self._left_bytes = room_bytes

    def keep(self, entry: Entry) -> None:
        """Where there is no room it is as if it had not come."""
        self._left_bytes -= len(entry.record.value) + RECORD_BYTES
        if self._left_bytes >= 0:
            self._entries.append(entry)

    def since(self, starts: Mapping[Place, int]) -> Iterator[Entry]:
        """Those of these partitions, from an offset on."""
        for entry in self._entries:
            start = starts.get((entry.record.topic, entry.record.partition))
            if start is not None and entry.record.offset >= start:
                yield entry
