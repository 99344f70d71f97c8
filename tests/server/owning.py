"""The owner of a shard on a stage, for its tests: chunks and reports go in, verdict and next model come out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from fdstream.aggregation.strategies import strategy
from fdstream.events import Append, Effects, Entry, Follow, Upload, Uploaded
from fdstream.ledger import Phase
from fdstream.messages import ModelChunk, Refusal, ShardResult, ShardVerdict, UpdateChunk
from fdstream.server.parts import ShardParts
from fdstream.server.shard import ShardOwner
from fdstream.topics import table
from tests.server.records import (
    MODEL_ATTEMPT,
    NONCE,
    Stage,
    Tape,
    Update,
    all_of,
    closing,
    federation,
    new_ids,
    only,
    round_opened,
    shard_model,
    update,
    verdict,
    with_state,
)

W = TypeVar("W", ShardVerdict, ShardResult)
# The weighted mean of ada and bob is 3.25, of all three 3.5.
ADA, BOB, CYD = update("ada"), update("bob", 4.0, num_examples=6), update("cyd", 4.0, num_examples=4)


class Owned(Stage):
    """Round 1 is open and one shard has an owner, which has its model already unless `model` is false.

    `start` is where the round's updates and reports begin.
    """

    def __init__(
        self,
        shard: int = 0,
        *,
        spelling: str = "fedavg",
        model: bool = True,
        start: int = 0,
        codec: str = "full",
    ) -> None:
        self.parts = with_state(shard, spelling)
        models = tuple(shard_model(with_state(number, spelling)) for number in range(2))
        opened = round_opened(model=models, start=start)
        super().__init__(federation(strategy=spelling, model=models, codec=codec), opened)
        self.shard = shard
        self.strategy = strategy(spelling)
        self.seen: list[Entry] = []
        self.early: Effects = []  # uploads before the cohort was certain, where that came out as expected
        self.owner = self.another()
        if model:
            give_model(self.owner, self.parts)

    def another(self, ids: int = 0) -> ShardOwner:
        """A second owner of the shard, which has read nothing; its first attempt is number `ids` + 1."""
        draw = new_ids()
        for _ in range(ids):
            draw()
        return ShardOwner(self.shard, self.ledger, self.strategy, draw)

    def chunks(self, *messages: UpdateChunk | Refusal) -> list[str | None]:
        """Read these in the shard's updates; why each is refused."""
        entries = [self.tape.entry(table.updates(1), message, self.shard) for message in messages]
        self.seen += entries
        return [self.owner.on_update(entry) for entry in entries]

    def take(self, *updates: Update) -> None:
        """The chunks of these updates come, then their reports."""
        for one in updates:
            assert self.chunks(*one.of(self.shard)) == [None] * len(one.of(self.shard))
            assert self.reports(one.report) == ["accepted"]

    def duties(self) -> Effects:
        assert self.book is not None
        early, self.early = self.early, []
        return early + self.owner.duties(self.book)

    def expect(self) -> None:
        """It gives its verdict, and uploads in the hope that nobody is left out."""
        self.early = list(all_of(Upload, self.duties()))

    def verdict(self) -> ShardVerdict:
        """What it says; what it uploads in the hope that nobody is left out is passed over."""
        effects = self.duties()
        return written_in([e for e in effects if not isinstance(e, Upload)], ShardVerdict)

    def reasons(self) -> dict[int, str]:
        """Which reports the verdict leaves out, and why."""
        return {exclusion.report: exclusion.reason for exclusion in self.verdict().excluded}

    def agree(self, *excluded: int, ordinal: int = 1) -> None:
        """Both shards' verdicts leave these reports out."""
        self.shards(verdict(0, *excluded, ordinal=ordinal), verdict(1, ordinal=ordinal))

    def read_again(self, offset: int) -> list[str | None]:
        """What was read from `offset` on is delivered again."""
        return [self.owner.on_update(entry) for entry in self.seen if entry.record.offset >= offset]


def give_model(owner: ShardOwner, parts: ShardParts, *, attempt: bytes = MODEL_ATTEMPT) -> Effects:
    """The owner reads its shard of the round's model and of the state."""
    tape = Tape()
    effects: Effects = []
    for state, topic in ((False, table.model(1)), (True, table.state(1))):
        for shard, chunk in parts.records(owner.shard, NONCE, attempt, owner.round, state=state):
            effects += owner.on_model(tape.entry(topic, chunk, shard))
    return effects


def published(uploads: Iterable[Upload]) -> list[ModelChunk]:
    """Every chunk of the next model that is uploaded."""
    chunks = []
    for upload in uploads:
        for _, message in upload.messages:
            assert isinstance(message, ModelChunk)
            chunks.append(message)
    return chunks


def acknowledged(owner: ShardOwner, effects: Effects, start: int) -> Effects:
    """The uploads are acknowledged, beginning at this offset; what comes of the last."""
    last: Effects = []
    for upload in all_of(Upload, effects):
        assert last == []
        last = owner.on_uploaded(Uploaded(upload.tag, {owner.shard: start}))
    return last


def written_in(effects: Effects, kind: type[W]) -> W:
    """The one record that is written to shards, of this class."""
    append = only(Append, effects)
    assert append.topic == table.SHARDS
    assert isinstance(append.message, kind)
    assert append.partition == append.message.shard
    return append.message


def publishing(*excluded: int, spelling: str = "fedavg", model: bool = True) -> Owned:
    """Ada, Bob and Cyd are in the sums; the verdicts leave these out."""
    owned = Owned(spelling=spelling, model=model)
    owned.take(ADA, BOB, CYD)
    close(owned, 0, 1, 2, excluded=excluded)
    return owned


def close(owned: Owned, *accepted: int, excluded: tuple[int, ...] = ()) -> None:
    """The round closes behind everything that was read, and both shards have spoken."""
    end = owned.tape.ends[table.updates(1), owned.shard]
    owned.control(closing(*accepted, ends=(end, end)))
    owned.expect()
    if excluded:
        owned.early = []
    owned.agree(*excluded)
    assert owned.ledger.phase is Phase.PUBLISHING


def weights_in(chunks: list[ModelChunk]) -> dict[int, list[float]]:
    return {chunk.index: np.frombuffer(chunk.data, np.float32).tolist() for chunk in chunks}


def moved(by: float) -> dict[int, list[float]]:
    """Shard 0's weights of the first round plus this."""
    return {first // 4: [element + by for element in range(first, first + 4)] for first in (0, 8)}


def finish(owned: Owned) -> tuple[bytes, bytes]:
    """Take out what must be, and publish; the digests of weights and state."""
    effects = owned.duties()
    for follow in all_of(Follow, effects):
        owned.read_again(follow.offset)
        effects = owned.duties()
    assert all_of(Upload, effects)
    parts = owned.owner.next_parts
    assert parts is not None
    return parts.digest, parts.state_digest
