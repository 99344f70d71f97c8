"""Bytes on the links are those of the payloads that really travel."""

from __future__ import annotations

import numpy as np
import pytest

from fdstream.codecs import codec, model_codec
from fdstream.dashboard.traffic import Sizes, of_round, sizes
from fdstream.dtypes import Array
from fdstream.layout import Layout
from fdstream.messages import ModelChunk, UpdateChunk
from fdstream.topics import table
from tests.client.hosted import CHUNK_BYTES, SHARDS, Host, answer_all

WEIGHTS: dict[str, Array] = {"w": np.zeros(13, np.float32), "steps": np.zeros(3, np.int64)}


@pytest.mark.parametrize(
    ("update", "model"), [("full", "full"), ("int8", "bfloat16"), ("topk:0.25", "float16")]
)
def test_sizes_are_those_of_the_records_in_the_log(update: str, model: str) -> None:
    host = Host(num_rounds=1, codec=update, model_codec=model, weights=WEIGHTS)
    with host.connect("a") as connection:
        answer_all(connection)
    layout = Layout.of(WEIGHTS, chunk_bytes=CHUNK_BYTES, shards=SHARDS)
    found = sizes(layout, codec(update), model_codec(model))
    for shard in range(SHARDS):
        updates = host.messages(table.updates(1), shard)
        assert found.update[shard] == sum(len(m.data) for m in updates if isinstance(m, UpdateChunk))
        models = [m for m in host.messages(table.model(1), shard) if isinstance(m, ModelChunk)]
        assert found.model[shard] == sum(len(m.data) for m in models if m.round == 1)
    assert found.model_bytes == sum(found.model)
    assert found.update_bytes == sum(found.update)


def test_a_round_counts_each_link_once_a_client_or_shard() -> None:
    each = Sizes(model=(10, 20), update=(1, 2))
    traffic = of_round(each, training=True, reports=5, results=frozenset({1}))
    assert (traffic.received, traffic.sent, traffic.read, traffic.published) == (150, 15, 15, 20)
    evaluation = of_round(each, training=False, reports=5, results=frozenset())
    assert (evaluation.received, evaluation.sent, evaluation.read, evaluation.published) == (150, 0, 0, 0)
