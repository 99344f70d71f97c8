"""Opens a federation: uploads a proposed initial model, then writes FederationOpened. Pure.

Any number of servers may try at once: the first FederationOpened in the log counts, with the model it names, and
the others' uploads are noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from fdstream.aggregation.strategies import Strategy
from fdstream.codecs import model_codec
from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import Array, payload
from fdstream.events import Append, Effects, Upload, Uploaded
from fdstream.flat import weight_chunks
from fdstream.layout import Layout
from fdstream.messages import ConfigValue, FederationOpened, Message, ModelChunk, Settings, ShardModel
from fdstream.server.broadcast import Broadcast
from fdstream.topics import table

FIRST_ROUND = 1


@dataclass(frozen=True, slots=True)
class Proposal:
    """What a server would open a federation with, if it is the first."""

    layout: Layout
    weights: Mapping[str, Array]
    settings: Settings
    config: Mapping[str, ConfigValue]
    slots: int = table.SLOTS
    federation: str = "default"  # its name
    server_keys: tuple[bytes, ...] = ()  # public keys of the servers that may run it; none leaves it unsigned


class Opening:
    """One try to open a federation."""

    def __init__(self, proposal: Proposal, strategy: Strategy, new_id: Callable[[], bytes]) -> None:
        self.proposal = proposal
        self.nonce = new_id()
        self._attempt = new_id()
        self._broadcast = Broadcast(
            strategy, model_codec(proposal.settings.model_codec), proposal.settings.seed
        )
        self._starts: dict[str, Mapping[int, int]] = {}
        self._digests: dict[
            tuple[str, int], list[bytes]
        ] = {}  # (kind of chunk, shard) -> chunk digests in order

    def begin(self) -> Effects:
        """Upload the weights, and what only servers read of them, a chunk at a time."""
        slot = table.slot_of(FIRST_ROUND, self.proposal.slots)
        effects: Effects = [
            Upload(("initial", "weights"), table.model(slot), self._parts("weights", range(1)))
        ]
        if self._broadcast.state_parts:
            state = self._parts("state", range(1, self._broadcast.state_parts + 1))
            effects.append(Upload(("initial", "state"), table.state(slot), state))
        return effects

    def on_uploaded(self, event: Uploaded) -> Effects:
        """Once everything is acknowledged, write the record."""
        self._starts[event.tag[1]] = event.starts
        if len(self._starts) < 1 + bool(self._broadcast.state_parts):
            return []
        return [Append(table.CONTROL, 0, self._record())]

    def _parts(self, kind: str, parts: range) -> Iterator[tuple[int, Message]]:
        for part in parts:
            for spec, weights in weight_chunks(self.proposal.layout, self.proposal.weights):
                values = self._broadcast.initial(spec, weights, FIRST_ROUND)[part]
                yield self._chunk(kind, spec.shard, part, spec.index, values)

    def _chunk(self, kind: str, shard: int, part: int, index: int, values: Array) -> tuple[int, ModelChunk]:
        data = payload(values)
        self._digests.setdefault((kind, shard), []).append(chunk_digest(data))
        return shard, ModelChunk(self.nonce, self._attempt, FIRST_ROUND, part, index, data)

    def _record(self) -> FederationOpened:
        proposal = self.proposal
        return FederationOpened(
            nonce=self.nonce,
            tensors=proposal.layout.tensors,
            chunk_bytes=proposal.layout.chunk_bytes,
            shards=proposal.layout.shards,
            slots=proposal.slots,
            settings=proposal.settings,
            config=proposal.config,
            model=tuple(self._shard_model(shard) for shard in range(proposal.layout.shards)),
            federation=proposal.federation,
            server_keys=proposal.server_keys,
        )

    def _shard_model(self, shard: int) -> ShardModel:
        return ShardModel(
            attempt=self._attempt,
            start=self._start("weights", shard),
            digest=self._digest("weights", shard),
            state_start=self._start("state", shard),
            state_digest=self._digest("state", shard),
        )

    def _start(self, kind: str, shard: int) -> int:
        return self._starts.get(kind, {}).get(shard, 0)

    def _digest(self, kind: str, shard: int) -> bytes:
        return shard_digest(self._digests.get((kind, shard), ()))
