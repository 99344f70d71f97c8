"""A client that floods a shard with updates nobody reports costs neither memory nor an honest client's place."""

from __future__ import annotations

import pytest

from fdstream.events import Follow, Upload
from fdstream.server import shard
from fdstream.topics import table
from tests.server.owning import ADA, BOB, Owned, give_model, moved, published, weights_in
from tests.server.records import all_of, closing, update

KEPT = 4  # updates, three clients and one more
FLOOD = "more updates than are kept account of"


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "MORE_UPDATES", KEPT - 3)


def flooded() -> Owned:
    """As many strangers' updates as there is room for, and twice that; then Ada and Bob."""
    owned = Owned()
    for number in range(3 * KEPT):
        expected = None if number < KEPT else FLOOD
        assert owned.chunks(*update(f"eve {number}", 9.0).of(0)) == [expected] * 2
    for one in (ADA, BOB):
        assert owned.chunks(*one.of(0)) == [FLOOD] * 2
        owned.reports(one.report)
    end = owned.tape.ends[table.updates(1), 0]
    owned.control(closing(0, 1, ends=(end, end)))
    return owned


def test_reported_updates_are_found_behind_a_flood() -> None:
    owned = flooded()
    assert owned.duties() == [Follow(table.updates(1), 0, 0)]
    assert owned.duties() == []
    assert set(owned.read_again(0)) == {None}
    assert owned.verdict().excluded == ()
    owned.agree()
    assert owned.duties() == [Follow(table.updates(1), 0, 0)]
    owned.read_again(0)
    assert weights_in(published(all_of(Upload, owned.duties()))) == moved(3.25)


def test_the_account_stays_as_long_as_clients_and_some_more() -> None:
    owned = flooded()
    owned.duties()
    owned.read_again(0)
    assert len(owned.owner._updates) == KEPT + 2


def test_who_takes_over_while_the_model_is_made_finds_them_too() -> None:
    owned = flooded()
    owned.agree()
    owned.owner = owned.another()
    give_model(owned.owner, owned.parts)
    owned.read_again(0)
    for _ in range(2):
        (follow,) = all_of(Follow, owned.duties())
        owned.read_again(follow.offset)
    assert weights_in(published(all_of(Upload, owned.duties()))) == moved(3.25)
