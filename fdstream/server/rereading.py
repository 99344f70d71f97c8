"""Reading a cohort's updates again, a block of elements at a time: the log is the buffer, not the memory. Pure.

A block is a run of elements for which there is room for every member's values at once. Each block is one pass over
the shard's updates partition, from the first offset that it wants; with n members and s bytes in the shard of an
update that is n * s / room passes, rounded up. Results do not depend on the size of a block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from fdstream.aggregation.rule import Tile
from fdstream.dtypes import Array, update_dtype
from fdstream.layout import ChunkSpec

ROOM_BYTES: Final = 64 << 20
"""What one server holds of updates at a time, whatever their number and its shards; or one element of each."""


@dataclass(frozen=True, slots=True)
class Run:
    """Elements `start` to `stop` of a chunk."""

    index: int
    start: int
    stop: int


Use = Callable[[Run, Tile], None]


class Room:
    """What the shards of one server share for blocks; who gets none waits for another to end."""

    def __init__(self, size_bytes: int = ROOM_BYTES) -> None:
        self._size = self._free = size_bytes

    def take(self, wanted_bytes: int) -> int | None:
        """As much as is wanted or as there is in all; None while others have it."""
        granted = min(wanted_bytes, self._size)
        if granted > self._free:
            return None
        self._free -= granted
        return granted

    def give_back(self, granted_bytes: int) -> None:
        self._free += granted_bytes


class Rereading:
    """The same elements of every member, block after block; `use` gets each run with its tile.

    `members` say where their chunks lie, by index; in the order of the tiles' rows.
    """

    def __init__(
        self, members: Sequence[Mapping[int, int]], specs: Iterable[ChunkSpec], room_bytes: int, use: Use
    ) -> None:
        self._members = members
        self._use = use
        self._dtypes = {spec.index: update_dtype(spec.dtype) for spec in specs}
        self._blocks = blocks(specs, max(1, len(members)), room_bytes)
        self._tiles: dict[int, tuple[Run, Tile]] = {}  # by chunk
        self._rows: dict[int, int] = {}  # offset that is still to come -> row

    @property
    def first_wanted(self) -> int | None:
        """The lowest offset that this block still waits for."""
        return min(self._rows, default=None)

    def wants(self, offset: int) -> bool:
        return offset in self._rows

    def take(self, offset: int, index: int, values: Array) -> None:
        """The values of the chunk at an offset that is wanted."""
        run, tile = self._tiles[index]
        tile[self._rows.pop(offset)] = values[run.start : run.stop]

    def next_block(self) -> int | None:
        """Use the block that is whole, turn to the next: the offset to read from. None after the last."""
        assert not self._rows, "a block is used before it is whole"
        for run, tile in self._tiles.values():
            self._use(run, tile)
        self._tiles = {}  # before the next ones are made
        for run in next(self._blocks, ()):
            tile = np.empty((len(self._members), run.stop - run.start), self._dtypes[run.index])
            self._tiles[run.index] = run, tile
            self._rows |= {member[run.index]: row for row, member in enumerate(self._members)}
        return self.first_wanted


def blocks(specs: Iterable[ChunkSpec], members: int, room_bytes: int) -> Iterator[list[Run]]:
    """The chunks' elements cut into blocks of at most `room_bytes` for all members, at least one element each."""
    block: list[Run] = []
    left = room_bytes
    for spec in specs:
        each, start = members * update_dtype(spec.dtype).itemsize, 0
        while start < spec.size:
            count = max(0, min(left // each, spec.size - start))
            if count == 0 and not block:
                count = 1
            if count == 0:
                yield block
                block, left = [], room_bytes
                continue
            block.append(Run(spec.index, start, start + count))
            start, left = start + count, left - count * each
    if block:
        yield block
