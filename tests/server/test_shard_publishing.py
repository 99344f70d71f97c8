"""The owner of a shard makes the next model: exactly the cohort, once, and the same bytes whoever makes it."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from fdstream.digests import chunk_digest, shard_digest
from fdstream.events import Append, Follow, Upload
from fdstream.messages import ModelChunk, ShardModel, ShardResult
from fdstream.topics import table
from tests.server.owning import (
    ADA,
    BOB,
    CYD,
    Owned,
    acknowledged,
    close,
    finish,
    give_model,
    moved,
    published,
    publishing,
    weights_in,
    written_in,
)
from tests.server.records import (
    NO_CHUNKS,
    NONCE,
    Update,
    all_of,
    an_id,
    closing,
    only,
    update,
)


def taken_out(owned: Owned, *, first: int) -> list[Upload]:
    """The owner asks for what it must take out, reads it again and then publishes."""
    assert owned.duties() == [Follow(table.updates(1), 0, first)]
    assert owned.duties() == []
    owned.read_again(first)
    return all_of(Upload, owned.duties())


# The sums


def test_the_next_model_is_the_cohorts_weighted_mean_on_top_of_the_last() -> None:
    assert weights_in(published(all_of(Upload, publishing().duties()))) == moved(3.5)


def test_chunks_go_to_the_next_slot_under_a_new_attempt_for_the_next_round() -> None:
    upload = only(Upload, publishing().duties())
    assert upload.topic == table.model(0)
    for partition, chunk in upload.messages:
        assert isinstance(chunk, ModelChunk)
        assert (partition, chunk.nonce, chunk.attempt, chunk.round, chunk.part) == (0, NONCE, an_id(1), 2, 0)


@pytest.mark.parametrize(
    ("excluded", "first", "mean"), [((2,), 4, 3.25), ((0,), 0, 4.0), ((1,), 2, (2 + 16) / 6)]
)
def test_who_is_left_out_is_taken_out_of_the_sums_again(
    excluded: tuple[int, ...], first: int, mean: float
) -> None:
    chunks = published(taken_out(publishing(*excluded), first=first))
    assert weights_in(chunks) == moved(mean)


def test_what_no_report_names_is_taken_out() -> None:
    owned = Owned()
    owned.chunks(*update("eve", 99.0).of(0))
    owned.take(ADA, BOB)
    close(owned, 0, 1)
    assert weights_in(published(taken_out(owned, first=0))) == moved(3.25)


@pytest.mark.parametrize("spoilt", [0, 1])
def test_half_of_a_spoilt_update_is_taken_out(spoilt: int) -> None:
    """The chunk that was in order is in the sums, the one that was not never was."""
    owned = Owned()
    chunks = list(CYD.of(0))
    chunks[spoilt] = replace(chunks[spoilt], data=np.full(4, np.nan, np.float32).tobytes())
    owned.chunks(*chunks)
    owned.take(ADA, BOB)
    owned.reports(CYD.report)
    close(owned, 0, 1, 2, excluded=(2,))
    assert weights_in(published(taken_out(owned, first=1 - spoilt))) == moved(3.25)


def test_a_report_beyond_the_most_clients_is_taken_out_though_its_chunks_lie_below_the_end() -> None:
    owned = Owned()
    owned.take(ADA, BOB, CYD)
    close(owned, 0, 1)
    assert weights_in(published(taken_out(owned, first=4))) == moved(3.25)


def test_what_was_folded_before_the_closing_and_lies_beyond_its_end_is_taken_out() -> None:
    owned = Owned()
    owned.take(ADA, BOB, CYD)
    owned.control(closing(0, 1, ends=(4, 0)))
    owned.duties()
    owned.agree()
    assert weights_in(published(taken_out(owned, first=4))) == moved(3.25)


def test_what_is_left_out_under_one_ordinal_is_left_out_under_the_next() -> None:
    owned = Owned()
    owned.take(ADA, CYD)
    owned.control(closing(0, 1, ends=(4, 0)))
    owned.duties()
    owned.agree(1)
    owned.duties()
    owned.take(BOB)
    owned.control(closing(0, 2, ordinal=2, ends=(6, 0)))
    owned.duties()
    owned.agree(ordinal=2)
    assert weights_in(published(taken_out(owned, first=2))) == moved(3.25)


@pytest.mark.parametrize("seed", range(10))
def test_the_next_model_has_the_same_bytes_in_any_order_with_any_noise_and_for_whoever_starts_late(
    seed: int,
) -> None:
    random = Random(seed)
    values = [random.uniform(-1e6, 1e6) for _ in range(3)]
    updates = [update(name, values[place], num_examples=place + 1) for place, name in enumerate("abc")]
    digests = {made(updates, Random(0), noise=False), made(updates, random, noise=True)}
    assert len(digests) == 1


def made(updates: list[Update], random: Random, *, noise: bool) -> tuple[bytes, bytes]:
    """The digests of the next model where chunks come in some order; a late owner makes it too."""
    owned = Owned()
    stray = [update("noise", 1e9, attempt=an_id(number)).of(0)[0] for number in range(3)]
    chunks = [chunk for one in updates for chunk in one.of(0)] + (stray if noise else [])
    random.shuffle(chunks)
    owned.chunks(*chunks)
    owned.reports(*[one.report for one in updates])
    close(owned, 0, 1, 2)
    digest = finish(owned)
    owned.owner = owned.another()
    give_model(owned.owner, owned.parts)
    owned.read_again(0)
    assert finish(owned) == digest
    return digest


# Once, and not too early


def test_the_model_is_published_once() -> None:
    owned = publishing()
    assert len(owned.duties()) == 1
    assert owned.duties() == []


def test_the_model_goes_up_with_the_verdict_and_is_written_down_once_the_cohort_is_certain() -> None:
    owned = Owned()
    owned.take(ADA, BOB)
    owned.control(closing(0, 1, ends=(4, 4)))
    verdict, upload = owned.duties()
    assert isinstance(verdict, Append)
    assert isinstance(upload, Upload)
    assert weights_in(published([upload])) == moved(3.25)
    assert acknowledged(owned.owner, [upload], 7) == []
    assert owned.duties() == []
    owned.agree()
    assert written_in(owned.duties(), ShardResult).model.attempt == an_id(1)


def test_a_model_made_in_vain_is_made_again_and_its_acknowledgement_says_nothing() -> None:
    owned = Owned()
    owned.take(ADA, BOB, CYD)
    owned.control(closing(0, 1, 2, ends=(6, 6)))
    owned.expect()
    in_vain, owned.early = owned.early, []
    owned.agree(2)
    uploads = taken_out(owned, first=4)
    assert acknowledged(owned.owner, in_vain, 7) == []
    result = written_in(acknowledged(owned.owner, list(uploads), 9), ShardResult)
    assert (result.model.attempt, result.model.start) == (an_id(2), 9)
    assert weights_in(published(uploads)) == moved(3.25)


def test_with_a_stray_in_the_sums_nothing_goes_up_early() -> None:
    owned = Owned()
    owned.chunks(*update("eve", 99.0).of(0))
    owned.take(ADA, BOB)
    owned.control(closing(0, 1, ends=(6, 6)))
    owned.expect()
    assert owned.early == []


def test_what_was_taken_out_is_not_taken_out_again() -> None:
    owned = publishing(2)
    taken_out(owned, first=4)
    assert owned.read_again(0) == [None] * 6
    assert owned.duties() == []


def test_nothing_is_published_before_the_old_model_is_here() -> None:
    owned = publishing(model=False)
    assert owned.duties() == []
    give_model(owned.owner, owned.parts)
    assert len(owned.duties()) == 1


def test_who_starts_late_reads_every_update_below_the_end_before_it_publishes() -> None:
    owned = publishing()
    owned.owner, owned.early = owned.another(), []
    give_model(owned.owner, owned.parts)
    for entry in owned.seen[:-1]:
        owned.owner.on_update(entry)
        assert owned.duties() == []
    owned.owner.on_update(owned.seen[-1])
    assert weights_in(published(all_of(Upload, owned.duties()))) == moved(3.5)


# The result


def test_a_result_names_the_attempt_the_place_and_the_digest_once_all_is_acknowledged() -> None:
    owned = publishing()
    effects = owned.duties()
    digest = shard_digest(chunk_digest(chunk.data) for chunk in published(all_of(Upload, effects)))
    message = written_in(acknowledged(owned.owner, effects, 7), ShardResult)
    assert message == ShardResult(NONCE, 1, 1, 0, ShardModel(an_id(1), 7, digest, 0, NO_CHUNKS))


def test_two_owners_of_one_shard_publish_the_same_bytes_under_attempts_of_their_own() -> None:
    owned = publishing()
    owners = [owned.owner, owned.another(ids=5)]
    give_model(owners[1], owned.parts)
    for entry in owned.seen:
        owners[1].on_update(entry)
    results = []
    for owned.owner in owners:
        effects = owned.duties()
        results.append(written_in(acknowledged(owned.owner, effects, 7), ShardResult).model)
    assert [model.attempt for model in results] == [an_id(1), an_id(6)]
    assert results[0].digest == results[1].digest


def test_a_result_waits_for_weights_and_state_in_whatever_order_they_are_acknowledged() -> None:
    for backwards in (False, True):
        owned = publishing(spelling="fedavgm")
        effects = owned.duties()
        if backwards:
            effects.reverse()
        model = written_in(acknowledged(owned.owner, effects, 7), ShardResult).model
        assert (model.start, model.state_start) == (7, 7)


# The strategy's state


def test_the_state_goes_to_the_next_slot_as_parts_of_the_same_attempt() -> None:
    owned = publishing(spelling="fedavgm:lr=1.0,momentum=0.5")
    effects = owned.duties()
    ours, state = all_of(Upload, effects)
    assert (ours.topic, state.topic) == (table.model(0), table.state(0))
    chunks = published([state])
    assert [(chunk.part, chunk.index, chunk.attempt) for chunk in chunks] == [
        (1, 0, an_id(1)),
        (1, 2, an_id(1)),
    ]
    assert weights_in(chunks) == {0: [3.5] * 4, 2: [3.5] * 4}
    digest = shard_digest(chunk_digest(chunk.data) for chunk in chunks)
    assert written_in(acknowledged(owned.owner, effects, 7), ShardResult).model.state_digest == digest
