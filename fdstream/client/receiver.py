"""Receives the global model of the current round, verified. Pure: entries in, effects out.

Chunks of the next model arrive while its RoundOpened is still being written, while others still report. They are
kept up to a bound, so that nothing is fetched twice; beyond it they are dropped and read again from the offset that
RoundOpened names.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fdstream.client.assembly import Assembly
from fdstream.events import Effects, Entry, Follow, Tell, Unfollow
from fdstream.ledger import Ledger
from fdstream.log import Lost
from fdstream.messages import ModelChunk
from fdstream.topics import table

EARLY_BYTES = 64 * 1024 * 1024


@dataclass(slots=True)
class _Early:
    """Chunks of one partition that came before the RoundOpened that may name them."""

    next_offset: int | None = None  # one past the last of them; None where some were dropped
    entries: list[Entry] = field(default_factory=list)


class Receiver:
    """The model of the ledger's current round: nothing, then filling, then whole."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.assembly: Assembly | None = None
        self._round = 0
        self._early: dict[tuple[str, int], _Early] = {}  # by topic and partition
        self._early_bytes = 0
        self._followed: set[tuple[str, int]] = set()

    @property
    def receiving(self) -> bool:
        """Whether the model of the current round is here or on its way."""
        return self.assembly is not None and self._round == self.ledger.round

    @property
    def complete(self) -> bool:
        """Whether the model of the current round is here, every shard checked."""
        return self.receiving and self.assembly is not None and not self.assembly.missing_shards

    def begin(self, *, ahead: bool) -> Effects:
        """Turn to the ledger's current round: take what came early, follow the rest.

        `ahead`: read the next model as it comes, too. Where a round has used its slot before, that is followed.
        """
        self._round = self.ledger.round
        ledger = self.ledger
        self.assembly = Assembly(ledger.layout, ledger.round_opened.model, ledger.model_codec)
        early, self._early, self._early_bytes = self._early, {}, 0
        return [
            effect
            for shard in ledger.layout.active_shards
            for effect in self._begin(shard, early.get((table.model(ledger.slot), shard)))
        ] + (self._follow_next() if ahead else [])

    def release(self, *, stop: bool) -> Effects:
        """Forget the model: it has been used. With `stop` read no model until one is asked for."""
        self.assembly = None
        if not stop:
            return []
        followed, self._followed = self._followed, set()
        return [Unfollow(topic, partition) for topic, partition in sorted(followed)]

    def on_chunk(self, entry: Entry) -> None:
        """A record of a model partition."""
        chunk = entry.message
        if (
            not isinstance(chunk, ModelChunk)
            or chunk.nonce != self.ledger.federation.nonce
            or chunk.part != 0
        ):
            return
        if chunk.round == self._round and self.assembly is not None:
            self.assembly.add(entry.record.partition, chunk)
        elif chunk.round == self.ledger.next_round:
            self._keep(entry)

    def on_lost(self, lost: Lost) -> Effects:
        """Records that were followed are deleted: those of earlier rounds are not missed, so follow this one's.

        Where this round's own are gone the round is over, which `control` is about to say; or the log lost what it
        must keep, and this round cannot be had here. Which of the two nobody can tell yet, so both are said.
        """
        self._followed.discard((lost.topic, lost.partition))
        if not self.receiving or lost.topic != table.model(self.ledger.slot):
            return []
        start = self.ledger.round_opened.model[lost.partition].start
        if lost.offset < start:
            return [self._follow(lost.topic, lost.partition, start)]
        place = {"topic": lost.topic, "partition": lost.partition, "offset": lost.offset}
        return [Tell("model lost", place | {"round": self._round})]

    def _follow_next(self) -> Effects:
        """From its start, the slot of the next round, if that is the first in it and its model can be kept."""
        ledger, number = self.ledger, self.ledger.next_round
        slots, last_round = ledger.federation.slots, ledger.federation.settings.last_round
        if number > min(slots, last_round) or ledger.layout.model_bytes > EARLY_BYTES:
            return []
        topic = table.model(table.slot_of(number, slots))
        missing = [shard for shard in ledger.layout.active_shards if (topic, shard) not in self._followed]
        return [self._follow(topic, shard, 0) for shard in missing]

    def _follow(self, topic: str, shard: int, offset: int) -> Follow:
        self._followed.add((topic, shard))
        return Follow(topic, shard, offset)

    def _begin(self, shard: int, early: _Early | None) -> Effects:
        assert self.assembly is not None
        offset = self.ledger.round_opened.model[shard].start
        if early is not None and early.next_offset is not None and early.entries[0].record.offset <= offset:
            offset = max(offset, early.next_offset)
            for entry in early.entries:
                self.on_chunk(entry)
        if shard not in self.assembly.missing_shards:
            return []
        return [self._follow(table.model(self.ledger.slot), shard, offset)]

    def _keep(self, entry: Entry) -> None:
        early = self._early.setdefault((entry.record.topic, entry.record.partition), _Early())
        self._early_bytes += len(entry.record.value)
        if self._early_bytes > EARLY_BYTES:
            early.next_offset, early.entries = None, []
        elif not early.entries or early.next_offset == entry.record.offset:
            early.entries.append(entry)
            early.next_offset = entry.record.offset + 1
