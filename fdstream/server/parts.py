"""One shard of one model in memory, and how it is put together from its chunks in the log. Pure.

Which parts there are is told in `broadcast`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import Array, payload
from fdstream.layout import Layout
from fdstream.messages import ModelChunk, ShardModel
from fdstream.server.broadcast import Broadcast, Parts

Place = tuple[int, int]  # part, chunk index


@dataclass(frozen=True, slots=True)
class ShardParts:
    """Every part of every chunk of a shard, as `Broadcast` has them."""

    chunks: Mapping[Place, Array]
    digest: bytes
    state_digest: bytes

    @staticmethod
    def of(chunks: Mapping[Place, Array]) -> ShardParts:
        return ShardParts(chunks, _digest(chunks, state=False), _digest(chunks, state=True))

    def of_chunk(self, index: int, state_parts: int) -> Parts:
        """The parts of one chunk."""
        return tuple(self.chunks[part, index] for part in range(state_parts + 1))

    def records(
        self, shard: int, nonce: bytes, attempt: bytes, round_number: int, *, state: bool
    ) -> Iterator[tuple[int, ModelChunk]]:
        """The records that carry the weights, or the state, each with its partition."""
        for part, index in sorted(place for place in self.chunks if (place[0] > 0) == state):
            data = payload(self.chunks[part, index])
            yield shard, ModelChunk(nonce, attempt, round_number, part, index, data)


def _digest(chunks: Mapping[Place, Array], *, state: bool) -> bytes:
    places = sorted(place for place in chunks if (place[0] > 0) == state)
    return shard_digest(chunk_digest(payload(chunks[place])) for place in places)


class PartsReader:
    """Collects the chunks that a `ShardModel` names; what no attempt names is skipped."""

    def __init__(self, layout: Layout, shard: int, broadcast: Broadcast, wanted: ShardModel) -> None:
        self.wanted = wanted
        self._broadcast = broadcast
        self._specs = {spec.index: spec for spec in layout.chunks_of(shard)}
        self._missing = {(part, index) for part in range(broadcast.state_parts + 1) for index in self._specs}
        self._chunks: dict[Place, Array] = {}

    def add(self, chunk: ModelChunk) -> ShardParts | None:
        """Take a chunk in; the whole shard once the last one is there. Raises `ValueError` on a bad digest."""
        place = (chunk.part, chunk.index)
        if chunk.attempt != self.wanted.attempt or place not in self._missing:
            return None
        self._chunks[place] = self._broadcast.read(self._specs[chunk.index], chunk.part, chunk.data)
        self._missing.discard(place)
        return self._finish() if not self._missing else None

    def _finish(self) -> ShardParts:
        parts = ShardParts.of(self._chunks)
        if (parts.digest, parts.state_digest) != (self.wanted.digest, self.wanted.state_digest):
            raise ValueError("the chunks do not match the digest written in the log")
        return parts
