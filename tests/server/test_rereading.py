"""Reading again in blocks: everything once, never more than there is room for, and each shard in its turn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.dtypes import Array
from fdstream.layout import ChunkSpec
from fdstream.server.rereading import Rereading, Room, Run, blocks


def chunk_specs(sizes: list[int]) -> list[ChunkSpec]:
    dtypes = ("float32", "float64")
    return [ChunkSpec(index, 0, dtypes[index % 2], 0, size) for index, size in enumerate(sizes)]


def item_bytes(run: Run) -> int:
    return (4, 8)[run.index % 2]


@given(st.lists(st.integers(0, 20), max_size=6), st.integers(1, 5), st.integers(1, 300))
def test_blocks_cover_every_element_once_within_the_room(
    sizes: list[int], members: int, room_bytes: int
) -> None:
    found = list(blocks(chunk_specs(sizes), members, room_bytes))
    elements = [
        (run.index, place) for block in found for run in block for place in range(run.start, run.stop)
    ]
    assert elements == [(index, place) for index, size in enumerate(sizes) for place in range(size)]
    for block in found:
        needed = sum((run.stop - run.start) * item_bytes(run) * members for run in block)
        alone = len(block) == 1 and block[0].stop - block[0].start == 1
        assert needed <= room_bytes or alone


@pytest.mark.parametrize("room_bytes", [1, 24, 100, 10_000])
def test_every_member_is_gathered_in_its_row(room_bytes: int) -> None:
    rng = np.random.default_rng(0)
    specs = chunk_specs([5, 3, 7])
    updates: list[list[Array]] = [[rng.standard_normal(s.size) for s in specs] for _ in range(3)]
    log = {
        10 * row + index: (index, values)
        for row, update in enumerate(updates)
        for index, values in enumerate(update)
    }
    found = {spec.index: np.full((3, spec.size), np.nan) for spec in specs}

    def use(run: Run, tile: Array) -> None:
        found[run.index][:, run.start : run.stop] = tile

    members = [{index: 10 * row + index for index in range(3)} for row in range(3)]
    rereading = Rereading(members, specs, room_bytes, use)
    while (first := rereading.next_block()) is not None:
        assert first == rereading.first_wanted
        for offset in range(first, 30):
            if rereading.wants(offset):
                rereading.take(offset, *log[offset])
    for index in range(3):
        expected = np.stack([update[index] for update in updates])
        np.testing.assert_array_equal(found[index], expected.astype(("f4", "f8")[index % 2]))


def test_a_room_is_shared_and_never_overdrawn() -> None:
    room = Room(100)
    assert room.take(60) == 60
    assert room.take(60) is None
    assert room.take(40) == 40
    room.give_back(60)
    assert room.take(1000) is None
    room.give_back(40)
    assert room.take(1000) == 100
