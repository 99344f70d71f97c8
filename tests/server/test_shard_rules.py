"""The owner of a shard under rules that need the cohort at once: it reads the log again, whoever was quicker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdstream.aggregation.strategies import clipped
from fdstream.errors import RemoteError
from fdstream.events import Effects, Follow, Upload
from fdstream.messages import STATISTIC_BYTES, ShardVerdict, UpdateChunk
from fdstream.server.rereading import Room
from fdstream.server.shard import ShardOwner
from fdstream.topics import table
from tests.server.owning import ADA, BOB, CYD, Owned, give_model, moved, published, weights_in, written_in
from tests.server.records import Update, all_of, closing, update, verdict

EVE = update("eve", 50.0, num_examples=1 << 20)
STEPS = 2**72


def whole(number: int) -> bytes:
    return number.to_bytes(STATISTIC_BYTES, "little")


def closed_with(spelling: str, *updates: Update) -> Owned:
    """The round closes with these reports; neither shard has spoken."""
    owned = Owned(spelling=spelling)
    owned.take(*updates)
    end = owned.tape.ends[table.updates(1), 0]
    owned.control(closing(*range(len(updates)), ends=(end, end)))
    return owned


def read_all_again(owned: Owned) -> Effects:
    """Deliver again what is asked for, until nothing is; what the owner does then."""
    effects = owned.duties()
    while follows := all_of(Follow, effects):
        owned.read_again(follows[0].offset)
        effects = owned.duties()
    return effects


def agree(owned: Owned, first: ShardVerdict | None = None, *excluded: int, statistics: bytes = b"") -> None:
    owned.shards(first or verdict(0, *excluded), replace(verdict(1), statistics=statistics))


@pytest.mark.parametrize(
    ("spelling", "by"),
    [("median", 4.0), ("trimmed-mean:0.3", (4.0 + 4.0) / 2), ("trimmed-mean:0.1", 59.0 / 4)],
)
@pytest.mark.parametrize("room_bytes", [1, 40, 1 << 20])
def test_each_element_is_reduced_over_the_cohort_in_whatever_room(
    spelling: str, by: float, room_bytes: int
) -> None:
    owned = Owned(spelling=spelling)
    owned.owner = ShardOwner(
        0, owned.ledger, owned.strategy, owned.another()._new_attempt, None, Room(room_bytes)
    )
    give_model(owned.owner, owned.parts)
    owned.take(update("ada", 1.0), update("bob", 4.0), update("cyd", 4.0), EVE)
    end = owned.tape.ends[table.updates(1), 0]
    owned.control(closing(0, 1, 2, 3, ends=(end, end)))
    owned.duties()
    agree(owned)
    uploads = [effect for effect in read_all_again(owned) if isinstance(effect, Upload)]
    assert weights_in(published(uploads)) == moved(by)


def test_who_is_left_out_is_not_read_again() -> None:
    owned = closed_with("median", ADA, EVE, BOB, CYD)
    owned.duties()
    agree(owned, None, 1)
    assert owned.duties() == [Follow(table.updates(1), 0, 0)]
    owned.read_again(0)
    owned.duties()
    parts = owned.owner.next_parts
    assert parts is not None
    assert parts.chunks[0, 0].tolist() == [element + 4.0 for element in range(4)]


def test_distances_of_all_pairs_stand_in_the_verdict() -> None:
    owned = closed_with("krum:1", update("ada", 1.0), update("bob", 4.0), update("cyd", 2.0))
    written = written_in(read_all_again(owned), ShardVerdict)
    assert written.statistics == whole(8 * 9 * STEPS) + whole(8 * STEPS) + whole(8 * 4 * STEPS)


def test_pairs_with_a_report_that_is_left_out_are_zero() -> None:
    spoilt = replace(CYD.report, attempt=bytes(16))
    owned = Owned(spelling="krum:1")
    owned.take(update("ada", 1.0))
    owned.reports(spoilt)
    owned.take(update("bob", 4.0))
    owned.control(closing(0, 1, 2, ends=(4, 4)))
    written = written_in(read_all_again(owned), ShardVerdict)
    assert written.statistics == whole(0) + whole(8 * 9 * STEPS) + whole(0)


def test_krum_takes_the_update_that_all_shards_together_find_closest() -> None:
    values = {"ada": 1.0, "bob": 1.5, "cyd": 9.0, "dan": 20.0}
    owned = closed_with("krum:1", *(update(name, value) for name, value in values.items()))
    own = written_in(read_all_again(owned), ShardVerdict)
    # Here the first two are closest. In the other shard all are far from each other, but for the last two.
    agree(owned, own, statistics=whole(10**5 * STEPS) * 5 + whole(0))
    uploads = [effect for effect in read_all_again(owned) if isinstance(effect, Upload)]
    assert weights_in(published(uploads)) == moved(9.0)


def test_clipping_shortens_only_what_is_too_long() -> None:
    owned = closed_with("fedavg", update("ada", 1.0), update("bob", 3.0))
    owned.owner = ShardOwner(0, owned.ledger, clipped(owned.strategy, 4.0), owned.another()._new_attempt)
    give_model(owned.owner, owned.parts)
    for entry in owned.seen:
        owned.owner.on_update(entry)
    written = written_in(owned.duties(), ShardVerdict)
    assert written.statistics == whole(8 * STEPS) + whole(72 * STEPS)
    # With the other shard's part the norms are 3 and 12.
    agree(owned, written, statistics=whole(1 * STEPS) + whole(72 * STEPS))
    assert owned.duties() == [Follow(table.updates(1), 0, 2)]
    owned.read_again(2)
    assert weights_in(published(all_of(Upload, owned.duties()))) == moved((1.0 + 3.0 / 3) / 2)


def test_a_verdict_with_other_statistics_stops_the_server() -> None:
    owned = closed_with("krum:1", ADA, BOB, CYD)
    own = written_in(read_all_again(owned), ShardVerdict)
    agree(owned, own, statistics=whole(1))
    with pytest.raises(
        RemoteError, match="the verdict of shard 1 on round 1 has 25 bytes of statistics where 3 times"
    ):
        owned.duties()


def test_a_log_that_was_changed_stops_the_server() -> None:
    owned = closed_with("median", ADA, BOB, CYD)
    owned.duties()
    agree(owned)
    owned.duties()
    entry = owned.seen[0]
    assert isinstance(entry.message, UpdateChunk)
    changed = replace(entry, message=replace(entry.message, data=b"\1" * 16))
    with pytest.raises(RemoteError, match="holds another record at offset 0"):
        owned.owner.on_update(changed)


def test_a_rival_that_was_quicker_frees_the_room() -> None:
    owned, room = closed_with("krum:1", ADA, BOB, CYD), Room()
    owned.owner = ShardOwner(0, owned.ledger, owned.strategy, owned.another()._new_attempt, None, room)
    give_model(owned.owner, owned.parts)
    for entry in owned.seen:
        owned.owner.on_update(entry)
    assert all_of(Follow, owned.duties())
    everything = 64 << 20
    assert room.take(everything) is None
    rival = verdict(0)
    agree(owned, replace(rival, statistics=whole(1) * 3), statistics=whole(0) * 3)
    owned.duties()
    assert room.take(everything) == everything


def test_what_is_still_to_be_read_again_is_still_needed() -> None:
    owned = closed_with("median", ADA, BOB, CYD)
    owned.duties()
    assert owned.owner.needed_of_updates == owned.owner.next_offset
    agree(owned)
    owned.duties()
    assert owned.owner.needed_of_updates == 0
