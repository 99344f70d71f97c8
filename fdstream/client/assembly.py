"""Puts one model together from its chunks and checks every shard against the digest the log names. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from fdstream.codecs import WHOLE, Codec
from fdstream.digests import chunk_digest, shard_digest
from fdstream.errors import RemoteError
from fdstream.flat import FlatModel
from fdstream.layout import Layout
from fdstream.messages import ModelChunk, ShardModel


class Assembly:
    """A model being received. What the named attempts did not write is skipped; the first copy counts."""

    def __init__(self, layout: Layout, named: Sequence[ShardModel], codec: Codec = WHOLE) -> None:
        self.layout = layout
        self._codec = codec
        self.model = FlatModel(layout)
        self._named = named
        self._digests: dict[int, dict[int, bytes | None]] = {
            shard: dict.fromkeys((spec.index for spec in layout.chunks_of(shard)), None)
            for shard in layout.active_shards
        }

    @property
    def missing_shards(self) -> frozenset[int]:
        """The shards that are not whole yet."""
        return frozenset(self._digests)

    def add(self, shard: int, chunk: ModelChunk) -> None:
        """Take in a chunk from the shard's partition. Raises `RemoteError` where the shard is damaged."""
        digests = self._digests.get(shard, {})
        if chunk.attempt != self._named[shard].attempt or digests.get(chunk.index, b"") is not None:
            return
        try:
            self.model.fill(self.layout.chunks[chunk.index], chunk.data, self._codec)
        except ValueError as error:
            raise _damaged(shard, str(error)) from None
        digests[chunk.index] = chunk_digest(chunk.data)
        if None not in digests.values():
            self._check(shard, [digest for digest in digests.values() if digest is not None])

    def _check(self, shard: int, digests: list[bytes]) -> None:
        if shard_digest(digests) != self._named[shard].digest:
            raise _damaged(shard, "its chunks do not match the digest written in control")
        del self._digests[shard]


def _damaged(shard: int, what: str) -> RemoteError:
    return RemoteError(
        f"shard {shard} of the global model is damaged: {what}; "
        "check who may write to the federation's model topics"
    )
