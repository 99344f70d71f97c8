"""`Updates`: what a client's update is made of, and what its memory of earlier ones is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fdstream.client.updates import Updates
from fdstream.digests import chunk_digest, shard_digest
from fdstream.flat import FlatModel, weight_chunks
from fdstream.layout import Layout
from fdstream.messages import Report
from tests.client.scene import NONCE, TENSORS, Scene, weights_of

LAYOUT = Layout(TENSORS, 16, shards=2)


def updates_in(round_number: int, codec: str = "full") -> Updates:
    scene = Scene("ada", codec=codec)
    for number in range(1, round_number):
        scene.open(number)
        scene.close(number)
    scene.open(round_number)
    return Updates(scene.session.ledger)


def report(client: str = "ada", round_number: int = 1) -> Report:
    return Report(NONCE, client, b"attempt of a try", round_number, 0, 7, {}, 0, {}, ())


def received() -> FlatModel:
    model = FlatModel(LAYOUT)
    for spec, values in weight_chunks(LAYOUT, weights_of(1)):
        model.chunk(spec)[...] = values
    return model


def test_an_update_is_the_difference_in_chunks_and_its_report_has_their_digests() -> None:
    updates, new = updates_in(1), {name: value + 3 for name, value in weights_of(1).items()}
    update = updates.begin(report())
    chunks = list(updates.chunks(update, received(), new))
    assert [(shard, chunk.index) for shard, chunk in chunks] == [
        (spec.shard, spec.index) for spec in LAYOUT.chunks
    ]
    dtypes = [np.float32] * 3 + [np.float64] * 2
    for (_, chunk), dtype in zip(chunks, dtypes, strict=True):
        assert set(np.frombuffer(chunk.data, dtype)) == {3.0}
    of_shard = [[chunk_digest(chunk.data) for at, chunk in chunks if at == shard] for shard in (0, 1)]
    assert updates.reported(update) == replace(report(), digests=tuple(map(shard_digest, of_shard)))


def test_from_the_first_chunk_that_cannot_be_summed_on_there_is_none() -> None:
    updates, new = updates_in(1, "int8"), weights_of(1)
    new["w"][1, 0] = np.inf  # in the second of five
    update = updates.begin(report())
    assert len(list(updates.chunks(update, received(), new))) == 1
    assert "infinite" in str(update.failure)
    assert updates.reported(update) == replace(report(), failure=update.failure)


@pytest.mark.parametrize(("codec", "remembers"), [("full", False), ("bfloat16", False), ("int8", True)])
def test_who_has_sent_nothing_lacks_a_memory_from_the_second_round_on(codec: str, remembers: bool) -> None:
    assert not updates_in(1, codec).lacks_memory("ada")
    updates = updates_in(2, codec)
    assert updates.lacks_memory("ada") is remembers
    update = updates.begin(report(round_number=2))
    list(updates.chunks(update, received(), weights_of(1)))
    updates.reported(update)
    assert not updates.lacks_memory("ada")
    updates.forget_all_but(["bob"])
    assert updates.lacks_memory("ada") is remembers
