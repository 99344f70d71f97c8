"""What becomes of a chunk of the model when it is published: part 0 for the clients, the others for servers. Pure.

Part 0 is the weights as the model codec has them travel. Parts 1 … are the strategy's state; behind it, where the
codec is lossy, stand the weights themselves, so that what the broadcast leaves out is not lost to training.
"""

from __future__ import annotations

import numpy as np

from fdstream.aggregation.apply import next_chunk
from fdstream.aggregation.strategy import Strategy, Vector
from fdstream.codecs import WHOLE, Codec, for_dtype, seed_of
from fdstream.dtypes import Array, dtype_of, from_payload, update_dtype
from fdstream.layout import ChunkSpec

Parts = tuple[
    Array, ...
]  # by part; part 0 [payload bytes] of uint8 where it is encoded, the others [spec.size]
_BYTES = np.dtype(np.uint8)


class Broadcast:
    """The parts of one federation's models; `seed` is the federation's."""

    def __init__(self, strategy: Strategy, codec: Codec, seed: int) -> None:
        self._strategy = strategy
        self._codec = codec
        self._seed = seed

    @property
    def state_parts(self) -> int:
        """Parts behind part 0: 0 where there is nothing that only servers read."""
        return self._strategy.state_parts + (self._codec is not WHOLE)

    def initial(self, spec: ChunkSpec, weights: Array, version: int) -> Parts:
        """The parts of the first model."""
        state = self._strategy.initial_state(spec.size, update_dtype(spec.dtype))
        return self._published(spec, weights, state, version)

    def next(self, spec: ChunkSpec, parts: Parts, total: Vector, num_examples: int, version: int) -> Parts:
        """The parts of `version` from those of the model before and the cohort's sum; see `next_chunk`."""
        if self._codec is WHOLE:
            weights, *state = parts
        else:
            _, *state, kept = parts
            weights = kept.astype(dtype_of(spec.dtype))
        new_weights, new_state = next_chunk(self._strategy, weights, total, num_examples, tuple(state))
        return self._published(spec, new_weights, new_state, version)

    def read(self, spec: ChunkSpec, part: int, data: bytes | memoryview) -> Array:
        """One part as it stands in the log. Raises `ValueError` for another length."""
        codec = for_dtype(self._codec, spec.dtype)
        if part > 0:
            return from_payload(data, update_dtype(spec.dtype), spec.size)
        if codec is WHOLE:
            return from_payload(data, dtype_of(spec.dtype), spec.size)
        return from_payload(data, _BYTES, codec.encoded_bytes(dtype_of(spec.dtype), spec.size))

    def _published(self, spec: ChunkSpec, weights: Array, state: Parts, version: int) -> Parts:
        if self._codec is WHOLE:
            return weights, *state
        return self._encoded(spec, weights, version), *state, weights.astype(update_dtype(spec.dtype))

    def _encoded(self, spec: ChunkSpec, weights: Array, version: int) -> Array:
        codec = for_dtype(self._codec, spec.dtype)
        if codec is WHOLE:
            return weights
        within = np.clip(weights.astype(np.float64), -codec.largest, codec.largest).astype(weights.dtype)
        return np.frombuffer(codec.encode(within, seed_of(self._seed, "", version, spec.index)), _BYTES)
