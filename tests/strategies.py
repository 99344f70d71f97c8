"""Hypothesis strategies for every record of the protocol, over the whole range that each field allows.

`messages()` draws any record, `MESSAGES[cls]` one of a class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from fdstream.dtypes import DTYPES
from fdstream.layout import MAX_DIMENSIONS, TensorSpec
from fdstream.messages import (
    MAX_CLIENTS,
    MAX_CLIP,
    MAX_METRIC,
    MAX_NUM_EXAMPLES,
    MAX_OFFSET,
    MAX_SHARDS,
    STATISTIC_BYTES,
    Exclusion,
    FederationFinished,
    FederationOpened,
    GlobalEvaluated,
    Heartbeat,
    Message,
    ModelChunk,
    Rejected,
    Report,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    Settings,
    ShardModel,
    ShardResult,
    ShardVerdict,
    UpdateChunk,
)

_PRINTABLE = st.characters(codec="utf-8", exclude_categories=["C", "Z"])
_MOST_IN_A_LIST = 5

ids = st.binary(min_size=16, max_size=16)
sha256s = st.binary(min_size=32, max_size=32)
names = st.text(_PRINTABLE, min_size=1, max_size=30)
texts = st.text(st.characters(codec="utf-8"), max_size=60)
offsets = st.integers(0, MAX_OFFSET)
counts = st.integers(1, 1 << 31)
shards = st.integers(0, MAX_SHARDS - 1)
fractions = st.floats(1e-9, 1.0)
metrics = st.dictionaries(names, st.floats(-MAX_METRIC, MAX_METRIC), max_size=_MOST_IN_A_LIST)
config_values = st.one_of(
    texts, st.integers(-(1 << 63), (1 << 63) - 1), st.floats(allow_nan=False), st.booleans()
)
configs = st.dictionaries(names, config_values, max_size=_MOST_IN_A_LIST)


def tuples_of(items: st.SearchStrategy[Any], *, unique: bool = False) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(items, max_size=_MOST_IN_A_LIST, unique=unique).map(tuple)


ascending_offsets = tuples_of(offsets, unique=True).map(lambda values: tuple(sorted(values)))
shard_models = st.builds(
    ShardModel, attempt=ids, start=offsets, digest=ids, state_start=offsets, state_digest=ids
)
tensor_specs = st.builds(
    TensorSpec,
    name=names,
    dtype=st.sampled_from(list(DTYPES)),
    shape=st.lists(st.integers(0, 2), max_size=MAX_DIMENSIONS).map(tuple)
    | st.tuples(st.integers(0, 1 << 39)),
)


@st.composite
def settings(draw: st.DrawFn) -> Settings:
    min_clients = draw(st.integers(1, MAX_CLIENTS))
    return Settings(
        num_rounds=draw(counts),
        min_clients=min_clients,
        max_clients=draw(st.integers(min_clients, MAX_CLIENTS)),
        deadline_seconds=draw(st.floats(1e-3, 1e9)),
        max_extensions=draw(st.integers(0, 1 << 31)),
        fraction=draw(fractions),
        strategy=draw(texts),
        keep_rounds=draw(st.integers(0, 1 << 31)),
        seed=draw(offsets),
        final_evaluation=draw(st.booleans()),
        codec=draw(st.sampled_from(["full", "bfloat16", "int8", "topk:0.01"])),
        model_codec=draw(st.sampled_from(["full", "float32", "float16", "int8"])),
        clip=draw(st.floats(0.0, MAX_CLIP)),
    )


@st.composite
def _federations_opened(draw: st.DrawFn) -> FederationOpened:
    model = draw(st.lists(shard_models, min_size=1, max_size=_MOST_IN_A_LIST).map(tuple))
    return FederationOpened(
        nonce=draw(ids),
        tensors=draw(tuples_of(tensor_specs)),
        chunk_bytes=draw(st.integers(8, 1 << 26)),
        shards=len(model),
        slots=draw(st.integers(1, 64)),
        settings=draw(settings()),
        config=draw(configs),
        model=model,
    )


@st.composite
def _rounds_opened(draw: st.DrawFn) -> RoundOpened:
    count = draw(st.integers(0, _MOST_IN_A_LIST))

    def one_a_shard(items: st.SearchStrategy[Any]) -> tuple[Any, ...]:
        return tuple(draw(st.lists(items, min_size=count, max_size=count)))

    return RoundOpened(
        nonce=draw(ids),
        round=draw(counts),
        training=draw(st.booleans()),
        model=one_a_shard(shard_models),
        updates_start=one_a_shard(offsets),
        reports_start=draw(offsets),
        shards_start=one_a_shard(offsets),
        sampling_nonce=draw(ids),
        previous=draw(sha256s),
    )


_FIELDS: Mapping[type, Mapping[str, st.SearchStrategy[Any]]] = {
    RoundExtended: {
        "nonce": ids,
        "round": counts,
        "extension": counts,
        "fraction": fractions,
        "excluded": tuples_of(offsets),
    },
    RoundClosing: {
        "nonce": ids,
        "round": counts,
        "ordinal": counts,
        "accepted": ascending_offsets,
        "updates_end": tuples_of(offsets),
    },
    RoundClosed: {
        "nonce": ids,
        "round": counts,
        "ordinal": counts,
        "num_clients": st.integers(0, MAX_CLIENTS),
        "num_examples": offsets,
        "train_metrics": metrics,
        "evaluate_metrics": metrics,
        "model": tuples_of(shard_models),
        "model_sha256": sha256s,
    },
    GlobalEvaluated: {"nonce": ids, "round": counts, "metrics": metrics},
    FederationFinished: {
        "nonce": ids,
        "after": offsets,
        "rounds": st.integers(0, 1 << 31),
        "failed": st.booleans(),
        "reason": texts,
    },
    ShardVerdict: {
        "nonce": ids,
        "round": counts,
        "ordinal": counts,
        "shard": shards,
        "excluded": tuples_of(st.builds(Exclusion, report=offsets, reason=texts)),
        "statistics": tuples_of(st.binary(min_size=STATISTIC_BYTES, max_size=STATISTIC_BYTES)).map(b"".join),
    },
    ShardResult: {"nonce": ids, "round": counts, "ordinal": counts, "shard": shards, "model": shard_models},
    Report: {
        "nonce": ids,
        "client": names,
        "attempt": ids,
        "round": counts,
        "round_offset": offsets,
        "num_examples": st.integers(0, MAX_NUM_EXAMPLES),
        "metrics": metrics,
        "evaluated_examples": st.integers(0, MAX_NUM_EXAMPLES),
        "evaluate_metrics": metrics,
        "digests": tuples_of(ids),
        "data": st.binary(max_size=300),
        "failure": st.none() | texts,
    },
    ModelChunk: {
        "nonce": ids,
        "attempt": ids,
        "round": st.integers(1, (1 << 31) + 1),
        "part": st.integers(0, 16),
        "index": st.integers(0, 1 << 40),
        "data": st.binary(max_size=300),
    },
    UpdateChunk: {
        "nonce": ids,
        "attempt": ids,
        "round": counts,
        "index": st.integers(0, 1 << 40),
        "num_examples": st.integers(1, MAX_NUM_EXAMPLES),
        "data": st.binary(max_size=300),
    },
    Heartbeat: {
        "member": names,
        "role": st.sampled_from(Heartbeat.ROLES),
        "state": names,
        "round": st.integers(0, 1 << 31),
        "profile": st.dictionaries(names, texts, max_size=_MOST_IN_A_LIST),
    },
    Rejected: {
        "topic": texts,
        "partition": st.integers(0, 1 << 20),
        "offset": offsets,
        "sender": texts,
        "reason": texts,
        "detail": texts,
    },
}

MESSAGES: Mapping[type, st.SearchStrategy[Any]] = {
    FederationOpened: _federations_opened(),
    RoundOpened: _rounds_opened(),
    **{cls: st.builds(cls, **fields) for cls, fields in _FIELDS.items()},
}


def messages() -> st.SearchStrategy[Message]:
    """Any record of the protocol."""
    return st.one_of(*MESSAGES.values())
