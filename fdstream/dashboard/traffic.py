"""How many bytes of tensors go over each link in a round: arithmetic on the layout and the codecs. Pure.

Nobody counts them on the way. A client that has reported received the model once and sent its update once; the owner
of a shard reads that shard's part of every update and writes that shard's part of the next model once.
"""

from __future__ import annotations

from dataclasses import dataclass

from fdstream.codecs import Codec, for_dtype
from fdstream.dtypes import DTYPES, update_dtype
from fdstream.layout import Layout


@dataclass(frozen=True, slots=True)
class Sizes:
    """Payload bytes of one model and of one update, by shard; [shards]."""

    model: tuple[int, ...]
    update: tuple[int, ...]

    @property
    def model_bytes(self) -> int:
        return sum(self.model)

    @property
    def update_bytes(self) -> int:
        return sum(self.update)


def sizes(layout: Layout, codec: Codec, model_codec: Codec) -> Sizes:
    """What the federation's records carry."""
    model, update = [0] * layout.shards, [0] * layout.shards
    for chunk in layout.chunks:
        dtype = chunk.dtype
        model[chunk.shard] += for_dtype(model_codec, dtype).encoded_bytes(DTYPES[dtype], chunk.size)
        update[chunk.shard] += for_dtype(codec, dtype).encoded_bytes(update_dtype(dtype), chunk.size)
    return Sizes(tuple(model), tuple(update))


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes on the four links of a round."""

    received: int  # log -> clients: the model
    sent: int  # clients -> log: updates
    read: int  # log -> servers: updates
    published: int  # servers -> log: the next model


def of_round(each: Sizes, *, training: bool, reports: int, results: frozenset[int]) -> Traffic:
    """A round in which so many clients handed something in and these shards have written their results."""
    update = each.update_bytes * reports if training else 0
    written = sum(each.model[shard] for shard in results)
    return Traffic(each.model_bytes * reports, update, update, written)
