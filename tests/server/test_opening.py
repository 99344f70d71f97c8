"""Opening a federation: the model is in the log before the record that names it, and the record names it rightly."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fdstream.aggregation.strategies import strategy
from fdstream.digests import chunk_digest, shard_digest
from fdstream.events import Append, Effects, Upload, Uploaded
from fdstream.layout import Layout
from fdstream.messages import FederationOpened, ModelChunk, ShardModel
from fdstream.server.opening import Opening, Proposal
from fdstream.topics import table
from tests.server.records import (
    LAYOUT,
    NO_CHUNKS,
    SETTINGS,
    all_of,
    an_id,
    new_ids,
    only,
    weights,
)

WEIGHTS = {"w": np.arange(12, dtype=np.float32)}
CONFIG = {"epochs": 3}
STARTS = {0: 10, 1: 20}


def opening(spelling: str = "fedavg", layout: Layout = LAYOUT, slots: int = 2) -> Opening:
    return Opening(Proposal(layout, WEIGHTS, SETTINGS, CONFIG, slots), strategy(spelling), new_ids())


def drawn(upload: Upload) -> list[tuple[int, ModelChunk]]:
    """The records of an upload, as a driver draws them."""
    found = []
    for partition, message in upload.messages:
        assert isinstance(message, ModelChunk)
        found.append((partition, message))
    return found


def answered(started: Opening, effects: Effects, **starts: dict[int, int]) -> Effects:
    """Every upload is drawn and acknowledged in the order of the names; what comes of the last."""
    uploads = {upload.tag[1]: upload for upload in all_of(Upload, effects)}
    for upload in uploads.values():
        drawn(upload)
    last: Effects = []
    for name, offsets in starts.items():
        assert last == []
        last = started.on_uploaded(Uploaded(uploads[name].tag, offsets))
    return last


def opened_in(effects: Effects) -> FederationOpened:
    append = only(Append, effects)
    assert (append.topic, append.partition) == (table.CONTROL, 0)
    assert isinstance(append.message, FederationOpened)
    return append.message


def test_the_weights_go_to_the_first_rounds_slot_each_chunk_to_its_shards_partition() -> None:
    upload = only(Upload, opening().begin())
    assert upload.topic == table.model(1)
    chunks = drawn(upload)
    assert [(partition, chunk.index, chunk.part, chunk.round) for partition, chunk in chunks] == [
        (0, 0, 0, 1),
        (1, 1, 0, 1),
        (0, 2, 0, 1),
    ]
    assert b"".join(bytes(chunk.data) for _, chunk in chunks) == WEIGHTS["w"].tobytes()


def test_with_one_slot_the_first_round_uses_it() -> None:
    assert only(Upload, opening(slots=1).begin()).topic == table.model(0)


def test_every_record_of_one_opening_carries_its_nonce_and_its_attempt() -> None:
    started = opening("fedavgm")
    uploads = all_of(Upload, started.begin())
    ids = {(chunk.nonce, chunk.attempt) for upload in uploads for _, chunk in drawn(upload)}
    assert ids == {(an_id(1), an_id(2))}
    assert started.nonce == an_id(1)


def test_nothing_is_written_before_every_upload_is_acknowledged() -> None:
    for order in (("weights", "state"), ("state", "weights")):
        started = opening("fedavgm")
        effects = answered(started, started.begin(), **dict.fromkeys(order, STARTS))
        assert opened_in(effects).nonce == an_id(1)


def test_the_record_says_what_was_proposed_and_where_the_model_lies() -> None:
    started = opening()
    opened = opened_in(answered(started, started.begin(), weights=STARTS))
    model = tuple(
        ShardModel(an_id(2), STARTS[shard], weights(shard).digest, 0, NO_CHUNKS) for shard in range(2)
    )
    expected = FederationOpened(an_id(1), LAYOUT.tensors, 16, 2, 2, SETTINGS, CONFIG, model)
    assert opened == expected


def test_a_shard_without_chunks_has_the_digest_of_nothing() -> None:
    layout = Layout(LAYOUT.tensors, 16, shards=5)
    started = opening(layout=layout)
    opened = opened_in(answered(started, started.begin(), weights={0: 1, 1: 2, 2: 3}))
    assert [part.start for part in opened.model] == [1, 2, 3, 0, 0]
    assert [part.digest == NO_CHUNKS for part in opened.model] == [False] * 3 + [True] * 2


@pytest.mark.parametrize("spelling", ["fedavgm", "fedadam", "fedyogi", "fedadagrad"])
def test_the_strategys_state_goes_beside_the_model_and_begins_as_the_strategy_says(spelling: str) -> None:
    started = opening(spelling)
    effects = started.begin()
    state = all_of(Upload, effects)[1]
    assert state.topic == table.state(1)
    initial = strategy(spelling).initial
    expected: list[tuple[Any, ...]] = [
        (index % 2, part, index, np.full(4, value, np.float32).tobytes())
        for part, value in enumerate(initial, start=1)
        for index in range(3)
    ]
    assert [(p, chunk.part, chunk.index, bytes(chunk.data)) for p, chunk in drawn(state)] == expected


def test_the_record_names_the_states_place_and_digest_by_part_then_index() -> None:
    started = opening("fedadam")
    effects = started.begin()
    chunks = [chunk for shard, chunk in drawn(all_of(Upload, opening("fedadam").begin())[1]) if shard == 0]
    assert [(chunk.part, chunk.index) for chunk in chunks] == [(1, 0), (1, 2), (2, 0), (2, 2)]
    opened = opened_in(answered(started, effects, weights=STARTS, state={0: 30, 1: 40}))
    assert [part.start for part in opened.model] == [10, 20]
    assert [part.state_start for part in opened.model] == [30, 40]
    assert opened.model[0].state_digest == shard_digest(chunk_digest(chunk.data) for chunk in chunks)


def test_chunks_are_made_one_at_a_time_as_they_are_drawn() -> None:
    upload = only(Upload, opening().begin())
    assert iter(upload.messages) is upload.messages
