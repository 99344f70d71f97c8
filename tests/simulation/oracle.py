"""The single-process oracle: what the global model must be, by rational arithmetic, one element at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from fdstream.digests import chunk_digest, model_sha256, shard_digest
from fdstream.dtypes import Array, Payload, dtype_of, from_payload, payload, update_dtype
from fdstream.flat import weight_chunks
from fdstream.layout import ChunkSpec, Layout
from fdstream.messages import ModelChunk, ShardModel
from fdstream.topics import table
from tests.simulation.world import World

GRID = 2**52

Update = tuple[Mapping[str, Array], int]  # trained weights, num_examples


def fedavg(weights: Mapping[str, Array], updates: Sequence[Update]) -> dict[str, Array]:
    """The mean of (trained - received), weighted by num_examples, added to what was received."""
    num_examples = sum(count for _, count in updates)
    averaged: dict[str, Array] = {}
    for name, received in weights.items():
        flat = received.reshape(-1)
        deltas = [(np.subtract(new[name].reshape(-1), flat), count) for new, count in updates]
        sums = [sum(_steps(float(delta[i]), count) for delta, count in deltas) for i in range(flat.size)]
        means = [float(Fraction(total, GRID)) / float(num_examples) for total in sums]
        next_flat = [float(old) + mean for old, mean in zip(flat, means, strict=True)]
        averaged[name] = np.array(next_flat, received.dtype).reshape(received.shape)
    return averaged


def fedavg_chunk(spec: ChunkSpec, weights: Array, updates: Sequence[tuple[Payload, int]]) -> Array:
    """One chunk of the next model from the bytes of the cohort's chunks."""
    num_examples = sum(count for _, count in updates)
    deltas = [(from_payload(data, update_dtype(spec.dtype), spec.size), count) for data, count in updates]
    sums = [sum(_steps(float(delta[i]), count) for delta, count in deltas) for i in range(spec.size)]
    means = [float(Fraction(total, GRID)) / float(num_examples) for total in sums]
    return np.array([float(old) + mean for old, mean in zip(weights, means, strict=True)], weights.dtype)


def read_model(world: World, version: int, named: Sequence[ShardModel]) -> dict[int, Array]:
    """The chunks of a model as the log has them, by index; deleted ones too."""
    layout = world.servers[0].core.ledger.layout
    found: dict[int, Array] = {}
    for shard in layout.active_shards:
        topic = table.model(version % table.SLOTS)
        for offset in range(named[shard].start, len(world.broker.partitions[topic, shard])):
            chunk = world.entry(topic, shard, offset).message
            if isinstance(chunk, ModelChunk) and chunk.attempt == named[shard].attempt:
                spec = layout.chunks[chunk.index]
                found.setdefault(chunk.index, from_payload(chunk.data, dtype_of(spec.dtype), spec.size))
    return found


def _on_grid(value: float, count: float) -> Fraction:
    return Fraction(_steps(value, count), GRID)


def _steps(value: float, count: float) -> int:
    """The multiple of 1 / GRID nearest to value * count, half to even; most are one, and then it is quick."""
    numerator, denominator = (value * count).as_integer_ratio()
    if denominator <= GRID:
        return numerator * (GRID // denominator)
    return round(Fraction(numerator, denominator) * GRID)


def model_hash(layout: Layout, weights: Mapping[str, Array]) -> str:
    """The hash that the log must name for these weights."""
    digests: dict[int, list[bytes]] = {shard: [] for shard in range(layout.shards)}
    for spec, values in weight_chunks(layout, weights):
        digests[spec.shard].append(chunk_digest(payload(values)))
    return model_sha256(layout, [shard_digest(digests[shard]) for shard in range(layout.shards)])
