"""The owner of a shard from one round to the next: it goes on with what it made, or with what it finds in the log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fdstream.errors import RemoteError
from fdstream.events import Follow, Upload
from fdstream.messages import ShardModel, ShardResult
from fdstream.server.parts import ShardParts
from fdstream.server.shard import ShardOwner
from fdstream.topics import table
from tests.server.owning import (
    ADA,
    BOB,
    CYD,
    Owned,
    acknowledged,
    finish,
    give_model,
    moved,
    published,
    publishing,
    weights_in,
    written_in,
)
from tests.server.records import (
    MODEL,
    NO_CHUNKS,
    all_of,
    closed,
    closing,
    new_ids,
    result,
    round_opened,
    verdict,
)

# From round to round


def second_round(owned: Owned) -> ShardModel:
    """Round 1 is published and closed, round 2 open; where shard 0's model lies."""
    model = written_in(acknowledged(owned.owner, owned.duties(), 7), ShardResult).model
    models = (model, MODEL[1])
    owned.shards(replace(result(0), model=model), result(1))
    owned.control(closed(model=models), round_opened(2, model=models, start=6))
    return model


def successor(owned: Owned) -> ShardOwner:
    """The owner goes on with the next round."""
    return ShardOwner(0, owned.ledger, owned.strategy, new_ids(), owned.owner)


def pass_second(owned: Owned) -> None:
    """Ada and Bob report in round 2, and it is closed with both."""
    assert owned.ledger.round_entry is not None
    offset = owned.ledger.round_entry.record.offset
    for one in (ADA, BOB):
        owned.chunks(*[replace(chunk, round=2) for chunk in one.of(0)])
        owned.reports(replace(one.report, round=2, round_offset=offset))
    owned.control(replace(closing(6, 7, ends=(10, 0)), round=2))
    owned.expect()
    owned.shards(*[replace(verdict(shard), round=2) for shard in range(2)])


def test_an_owner_goes_on_with_what_it_published_and_does_not_read_it() -> None:
    owned = publishing()
    second_round(owned)
    owned.owner = successor(owned)
    assert owned.owner.begin() == [Follow(table.updates(0), 0, 6)]
    pass_second(owned)
    assert weights_in(published(all_of(Upload, owned.duties()))) == moved(3.5 + 3.25)


def test_an_owner_whose_result_came_second_goes_on_with_its_own_bytes_which_are_the_same() -> None:
    owned = publishing()
    own = written_in(acknowledged(owned.owner, owned.duties(), 7), ShardResult)
    models = (replace(own.model, attempt=b"first" * 3 + b".", start=3), MODEL[1])
    assert owned.shards(replace(own, model=models[0]), own, result(1)) == [True, False, True]
    assert owned.ledger.next_model()[0] == models[0]
    owned.control(closed(model=models), round_opened(2, model=models, start=6))
    assert successor(owned).begin() == [Follow(table.updates(0), 0, 6)]


@pytest.mark.parametrize("spelling", ["fedavg", "fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_a_fresh_owner_continues_the_strategys_state_from_the_log(spelling: str) -> None:
    owned = publishing(spelling=spelling)
    model = second_round(owned)
    parts = owned.owner.next_parts
    assert parts is not None
    owned.owner = successor(owned)
    pass_second(owned)
    digests = finish(owned)
    assert (digests[1] == NO_CHUNKS) == (spelling == "fedavg")
    owned.owner = owned.another()
    assert Follow(table.model(0), 0, 7) in owned.owner.begin()
    give_model(owned.owner, parts, attempt=model.attempt)
    owned.read_again(6)
    assert finish(owned) == digests


def test_momentum_carries_over() -> None:
    owned = publishing(spelling="fedavgm:lr=1.0,momentum=0.5")
    second_round(owned)
    owned.owner = successor(owned)
    pass_second(owned)
    chunks = published(all_of(Upload, owned.duties())[:1])
    assert weights_in(chunks) == moved(3.5 + (0.5 * 3.5 + 3.25))


def test_an_owner_that_did_not_publish_reads_what_another_did() -> None:
    owned = publishing()
    idle = owned.another()
    second_round(owned)
    owned.owner = idle
    assert Follow(table.model(0), 0, 7) in successor(owned).begin()


def test_an_owner_whose_hope_was_wrong_reads_what_another_published() -> None:
    """It expected all three, read of no verdict and hears that the round is closed with another model."""
    owned = Owned()
    owned.take(ADA, BOB, CYD)
    owned.control(closing(0, 1, 2, ends=(6, 6)))
    owned.expect()
    assert owned.early
    model = replace(MODEL[0], digest=bytes(16), attempt=b"t" * 16, start=9)
    models = (model, MODEL[1])
    owned.control(closed(model=models), round_opened(2, model=models, start=6))
    assert Follow(table.model(0), 0, 9) in successor(owned).begin()


@pytest.mark.parametrize("spoilt", ["weights", "state"])
def test_servers_that_disagree_about_the_same_bytes_stop_aloud(spoilt: str) -> None:
    owned = publishing(spelling="fedavgm")
    model = written_in(acknowledged(owned.owner, owned.duties(), 7), ShardResult).model
    theirs = (
        replace(model, digest=bytes(16)) if spoilt == "weights" else replace(model, state_digest=bytes(16))
    )
    models = (theirs, MODEL[1])
    owned.control(closed(model=models), round_opened(2, model=models))
    with pytest.raises(RemoteError, match="compare their versions"):
        successor(owned)


def test_chunks_that_do_not_match_the_rounds_digest_stop_a_server_aloud() -> None:
    owned = Owned(1, model=False)
    with pytest.raises(RemoteError, match="shard 1 of the model of round 1"):
        give_model(owned.owner, ShardParts.of({(0, 1): np.zeros(4, np.float32)}))


def test_better_no_model_than_one_without_a_part_of_its_cohort() -> None:
    """Another owner's verdict took in what this one, reading the same offsets, does not find."""
    owned = Owned()
    owned.chunks(ADA.of(0)[0], *BOB.of(0))
    owned.reports(ADA.report, BOB.report)
    owned.control(closing(0, 1, ends=(3, 0)))
    owned.agree()
    with pytest.raises(RemoteError, match="takes ada into the cohort, and here 1 of 2 chunks are missing"):
        owned.duties()
