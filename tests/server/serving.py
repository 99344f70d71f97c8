"""A server on a stage, for its tests: records of any topic go in at rising offsets, effects come out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from fdstream.events import Append, Effect, Effects, Ends, Event, Follow, ReadEnds
from fdstream.messages import Message, Refusal, Rejected, Report, RoundOpened, ShardResult, ShardVerdict
from fdstream.server.opening import Proposal
from fdstream.server.server import Server
from fdstream.topics import table
from tests.server.records import (
    LAYOUT,
    MODEL_ATTEMPT,
    NONCE,
    SETTINGS,
    Tape,
    Update,
    all_of,
    new_ids,
    weights,
)

M = TypeVar("M", bound=Message)


class Serving:
    """A server and the log it reads, in the order of the test."""

    def __init__(self, control_end: int = 0) -> None:
        self.server = Server(control_end=control_end, new_id=new_ids())
        self.tape = Tape()
        self.last: Effects = []  # what the last call gave
        self.all: Effects = []

    def assign(self, *shards: int) -> Effects:
        effects = self.server.assign(shards)
        self.all += effects
        return effects

    def step(self, event: Event) -> Effects:
        effects = self.server.step(event)
        self.all += effects
        return effects

    def read(self, topic: str, messages: Iterable[Message | Refusal], partition: int = 0) -> Effects:
        """The server reads these in a partition."""
        self.last = [e for m in messages for e in self.step(self.tape.entry(topic, m, partition))]
        return self.last

    def control(self, *messages: Message | Refusal) -> Effects:
        return self.read(table.CONTROL, messages)

    def shards(self, *messages: ShardVerdict | ShardResult) -> Effects:
        return [e for m in messages for e in self.read(table.SHARDS, [m], m.shard)]

    def report(self, report: Report) -> Effects:
        return self.read(self._topic("reports"), [report])

    def reports(self, *updates: Update) -> Effects:
        return self.read(self._topic("reports"), [update.report for update in updates])

    def updates(self, shard: int, *updates: Update) -> Effects:
        """The chunks of these updates in a shard's partition."""
        chunks = [chunk for update in updates for chunk in update.of(shard)]
        return self.read(self._topic("updates"), chunks, shard)

    def model(self, shard: int) -> Effects:
        """A shard's weights for the first round."""
        chunks = [c for _, c in weights(shard).records(shard, NONCE, MODEL_ATTEMPT, 1, state=False)]
        return self.read(self._topic("model"), chunks, shard)

    def unreadable(self, topic: str, partition: int = 0) -> Effects:
        return self.read(topic, [Refusal("truncated", "after 3 bytes")], partition)

    def answer_open(self) -> Effects:
        """Every topic ends at 0: the answer to what was last asked for the sake of the next round."""
        ask = [ask for ask in all_of(ReadEnds, self.all) if ask.tag[0] == "open"][-1]
        return self.step(Ends(ask.tag, dict.fromkeys(ask.topics, (0, 0))))

    def opens(self) -> RoundOpened:
        """The RoundOpened that the server writes once it knows where its topics end."""
        (opened,) = written(self.answer_open(), RoundOpened)
        return opened

    def refused(self, effects: Effects) -> list[Rejected]:
        return written(effects, Rejected)

    def _topic(self, name: str) -> str:
        return f"round-{self.server.ledger.slot}.{name}"


def serving(*shards: int) -> Serving:
    """A server of an empty log that has these shards."""
    scene = Serving()
    scene.assign(*shards)
    return scene


def joined(*history: Message | Refusal, shards: Iterable[int] = ()) -> Serving:
    """A server that starts where this history stands, and has these shards."""
    scene = Serving(control_end=len(history))
    scene.assign(*shards)
    scene.control(*history)
    return scene


def proposal() -> Proposal:
    return Proposal(LAYOUT, {"w": np.arange(12, dtype=np.float32)}, SETTINGS, {})


def follows(effects: Iterable[Effect]) -> list[tuple[str, int, int]]:
    """What is followed: topic, partition, offset."""
    return [(e.topic, e.partition, e.offset) for e in effects if isinstance(e, Follow)]


def written(effects: Effects, kind: type[M]) -> list[M]:
    """The records of one class that are written, each to where it belongs."""
    found: list[M] = []
    for append in all_of(Append, effects):
        assert type(append.message) in table.records(append.topic)
        if isinstance(append.message, kind):
            found.append(append.message)
    return found
