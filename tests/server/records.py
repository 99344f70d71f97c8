"""A small federation as values, for the server's tests: valid records, and a stage that folds them.

The model has twelve float32 in three chunks: shard 0 has chunks 0 and 2, shard 1 has chunk 1. Records lie at
rising offsets of their partitions; FederationOpened at 0 of `control` and the first RoundOpened at 1.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from fdstream.aggregation.strategies import strategy
from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import Array
from fdstream.events import Effects, Entry
from fdstream.layout import Layout, TensorSpec
from fdstream.ledger import NO_PREVIOUS, Ledger
from fdstream.log import Record
from fdstream.messages import (
    Exclusion,
    FederationOpened,
    Message,
    Refusal,
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
from fdstream.server.book import ReportBook
from fdstream.server.parts import Place, ShardParts
from fdstream.topics import table

NONCE = b"n" * 16
STRANGE = b"o" * 16  # the nonce of another federation
MODEL_ATTEMPT = b"m" * 16
SAMPLING_NONCE = b"x" * 16
NO_CHUNKS = shard_digest(())
SECONDS = 1000.0  # when every record is stamped that says nothing else
ROUND_OFFSET = 1  # of the first RoundOpened
LAYOUT = Layout((TensorSpec("w", "float32", (12,)),), 16, shards=2)
SETTINGS = Settings(
    num_rounds=2,
    min_clients=2,
    max_clients=3,
    deadline_seconds=60.0,
    max_extensions=2,
    fraction=0.25,
    strategy="fedavg",
    keep_rounds=2,
    seed=0,
    final_evaluation=False,
)

E = TypeVar("E")


def new_ids() -> Callable[[], bytes]:
    """Ids that can be told apart and foretold: 1, 2, … as 16 bytes."""
    drawn = iter(range(1, 1000))
    return lambda: an_id(next(drawn))


def an_id(number: int) -> bytes:
    return number.to_bytes(16, "big")


def weights(shard: int) -> ShardParts:
    """The first round's weights of a shard: every element is its place in the model."""
    return ShardParts.of(
        {(0, s.index): np.arange(s.start, s.stop, dtype=np.float32) for s in LAYOUT.chunks_of(shard)}
    )


def with_state(shard: int, spelling: str) -> ShardParts:
    """A shard's weights, and the state that a strategy begins with."""
    chosen = strategy(spelling)
    chunks: dict[Place, Array] = dict(weights(shard).chunks)
    for spec in LAYOUT.chunks_of(shard):
        state = chosen.initial_state(spec.size, np.dtype(np.float32))
        chunks |= {(part, spec.index): values for part, values in enumerate(state, start=1)}
    return ShardParts.of(chunks)


def shard_model(parts: ShardParts, start: int = 0, attempt: bytes = MODEL_ATTEMPT) -> ShardModel:
    """What control says about a shard whose chunks lie from `start` on."""
    return ShardModel(attempt, start, parts.digest, 0, parts.state_digest)


MODEL = tuple(shard_model(weights(shard)) for shard in range(2))


def federation(slots: int = 2, model: tuple[ShardModel, ...] = MODEL, **changes: Any) -> FederationOpened:
    """FederationOpened; `changes` are of its settings."""
    settings = replace(SETTINGS, **changes)
    return FederationOpened(NONCE, LAYOUT.tensors, LAYOUT.chunk_bytes, 2, slots, settings, {}, model)


def round_opened(
    number: int = 1, *, training: bool = True, model: tuple[ShardModel, ...] = MODEL, start: int = 0
) -> RoundOpened:
    """RoundOpened; `start` is where the updates and reports of the round begin."""
    previous = NO_PREVIOUS if number == 1 else hashlib.sha256(b"").digest()  # a tape's records have no bytes
    starts = (start, start)
    return RoundOpened(NONCE, number, training, model, starts, start, (0, 0), SAMPLING_NONCE, previous)


def extended(extension: int, *excluded: int, fraction: float = 1.0) -> RoundExtended:
    return RoundExtended(NONCE, 1, extension, fraction, excluded)


def closing(*accepted: int, ordinal: int = 1, ends: tuple[int, ...] = (0, 0)) -> RoundClosing:
    return RoundClosing(NONCE, 1, ordinal, accepted, ends)


def verdict(shard: int, *excluded: int, ordinal: int = 1) -> ShardVerdict:
    return ShardVerdict(NONCE, 1, ordinal, shard, tuple(Exclusion(offset, "bad") for offset in excluded))


def result(shard: int, *, ordinal: int = 1, attempt: bytes = b"r" * 16) -> ShardResult:
    """ShardResult for a model that is the first one again, at offset 5."""
    return ShardResult(NONCE, 1, ordinal, shard, shard_model(weights(shard), 5, attempt))


def closed(number: int = 1, model: tuple[ShardModel, ...] = MODEL) -> RoundClosed:
    return RoundClosed(NONCE, number, 1, 3, 30, {}, {}, model, bytes(32))


@dataclass(frozen=True)
class Update:
    """What an honest client writes: its chunks, then the report that names them."""

    chunks: tuple[UpdateChunk, ...]  # by index
    report: Report

    def of(self, shard: int) -> tuple[UpdateChunk, ...]:
        return self.chunks[shard :: LAYOUT.shards]


def update(client: str, value: float = 1.0, *, num_examples: int = 2, attempt: bytes | None = None) -> Update:
    """A client's update for round 1 that adds `value` to every weight."""
    named = attempt if attempt is not None else client.encode().ljust(16, b".")
    chunks = tuple(
        UpdateChunk(NONCE, named, 1, spec.index, num_examples, data_of(value, spec.size))
        for spec in LAYOUT.chunks
    )
    return Update(chunks, _report(client, named, num_examples, chunks))


def report(client: str, attempt: bytes | None = None, **changes: Any) -> Report:
    """A client's report for round 1 that fits it."""
    return replace(update(client, attempt=attempt).report, **changes)


def data_of(value: float, size: int = 4) -> bytes:
    """An update chunk's data with one value in every element."""
    return np.full(size, value, np.float32).tobytes()


def _report(client: str, attempt: bytes, num_examples: int, chunks: Sequence[UpdateChunk]) -> Report:
    digests = tuple(
        shard_digest(chunk_digest(chunk.data) for chunk in chunks[shard :: LAYOUT.shards])
        for shard in range(LAYOUT.shards)
    )
    return Report(NONCE, client, attempt, 1, ROUND_OFFSET, num_examples, {}, 0, {}, digests)


class Tape:
    """Puts records at the next offsets of their partitions."""

    def __init__(self) -> None:
        self.ends: defaultdict[tuple[str, int], int] = defaultdict(int)

    def entry(
        self,
        topic: str,
        message: Message | Refusal,
        partition: int = 0,
        *,
        seconds: float = SECONDS,
        value: bytes = b"",
    ) -> Entry:
        offset = self.ends[topic, partition]
        self.ends[topic, partition] += 1
        return Entry(Record(topic, partition, offset, seconds, value), message)


class Stage:
    """A ledger and the book of its round, as every server keeps them."""

    def __init__(self, *messages: Message) -> None:
        self.tape = Tape()
        self.ledger = Ledger()
        self.book: ReportBook | None = None
        self.control(*messages)

    def control(self, *messages: Message, seconds: float = SECONDS, value: bytes = b"") -> list[bool]:
        """Read these in control; whether each counts."""
        return [self._fold(message, seconds, value) for message in messages]

    def shards(self, *messages: ShardVerdict | ShardResult) -> list[bool]:
        """Read these in the shards topic; whether each counts."""
        return [self.ledger.fold(self.tape.entry(table.SHARDS, m, m.shard)) for m in messages]

    def reports(self, *reports: Report | Refusal) -> list[str | None]:
        """Read these as reports of the round; what becomes of each."""
        assert self.book is not None
        return [self.book.add(self.tape.entry("reports", report)) for report in reports]

    def _fold(self, message: Message, seconds: float, value: bytes) -> bool:
        entry = self.tape.entry(table.CONTROL, message, seconds=seconds, value=value)
        counted = self.ledger.fold(entry)
        if counted and isinstance(message, RoundOpened):
            self.book = ReportBook(message, entry.record.offset)
            self.tape.ends["reports", 0] = message.reports_start
        return counted


def only(kind: type[E], effects: Iterable[object]) -> E:
    """The one effect there is, of this kind."""
    (effect,) = effects
    assert isinstance(effect, kind)
    return effect


def all_of(kind: type[E], effects: Effects) -> list[E]:
    """The effects of one kind, in order."""
    return [effect for effect in effects if isinstance(effect, kind)]
