"""What the updates of one shard come to under the strategy's rule. Pure.

Sums take updates in as they arrive, where the rule lets them. What the rule asks of whole updates, and what was not
summed with the weight that turned out to be due, is read from the log again: whoever reads it again, after whatever
crash, comes to the same integers. It knows no verdicts but their statistics, and no model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fdstream.aggregation.fixed_point import FixedPointSum, admissible
from fdstream.aggregation.rule import Rule, Statistic, Tile
from fdstream.aggregation.squares import Integers, squared_distances, squared_norm
from fdstream.aggregation.strategy import Vector
from fdstream.digests import chunk_digest
from fdstream.dtypes import Array
from fdstream.errors import RemoteError
from fdstream.events import Effects, Entry, Follow
from fdstream.layout import ChunkSpec
from fdstream.ledger import Phase
from fdstream.messages import UpdateChunk
from fdstream.server.rereading import Rereading, Room, Run, Use
from fdstream.server.statistics import pack, pairs_of

BEYOND_LIMIT = "a value is not finite or beyond the limit"
Sums = dict[int, FixedPointSum]  # by chunk index
Duty = tuple[Phase, int]  # what something is read again for: the phase and the ordinal


@dataclass(slots=True)
class Update:
    """What a shard has seen of one attempt."""

    num_examples: int
    digests: dict[int, bytes] = field(default_factory=dict)  # chunk index -> digest
    end: int = 0  # one past the offset of its last chunk
    offsets: dict[int, int] = field(default_factory=dict)  # chunk index -> offset, of those without fault
    weight: float | None = None  # with which those are in the sums; None: they are not
    squared_norm: int = 0  # of those, where the rule asks for norms
    fault: str | None = None


class Aggregate:
    """The aggregate of one shard and round. `updates` is shared with the shard's owner, who judges them."""

    def __init__(
        self,
        rule: Rule,
        specs: Mapping[int, ChunkSpec],
        place: tuple[str, int],  # topic and partition of the updates
        values: Callable[[UpdateChunk], Array],
        room: Room,
        sums: Sums | None = None,
    ) -> None:
        """`sums` is memory to use again, cleared; `room` is for what is read again."""
        self.rule = rule
        self.updates: dict[bytes, Update] = {}
        self.total_weight = 0
        self._specs = specs
        self._place = place
        self._values = values
        self._room = room
        summed = specs.values() if rule.reduce is None else ()
        self._sums = sums or {spec.index: FixedPointSum(spec.size) for spec in summed}
        self._reduced: dict[int, Vector] = {}
        self._correcting: dict[int, tuple[float | None, float | None]] = {}  # offset -> weight there, and due
        self._rereading: Rereading | None = None
        self._duty: Duty | None = None
        self._read = False  # everything that the duty needs
        self._granted_bytes = 0
        self._distances: Integers = np.zeros((0, 0), np.object_)

    # As updates arrive

    def update_of(self, chunk: UpdateChunk) -> Update:
        """What was seen of the chunk's attempt so far."""
        if chunk.attempt not in self.updates:
            weight = self.rule.weight_on_arrival(chunk.num_examples)
            self.updates[chunk.attempt] = Update(chunk.num_examples, weight=weight)
        return self.updates[chunk.attempt]

    def fold(self, chunk: UpdateChunk, update: Update) -> str | None:
        """Add a chunk to the sums, where the rule has them by now, or say why it cannot be."""
        try:
            values = self._values(chunk)
        except ValueError as error:
            return f"the codec cannot read it: {error}"
        # The sum asks by itself whether values fit with the weight that they are summed with.
        if update.weight != chunk.num_examples and not admissible(values, chunk.num_examples):
            return BEYOND_LIMIT
        try:
            if update.weight is not None:
                self._sums[chunk.index].add(values, update.weight)
        except ValueError:
            return BEYOND_LIMIT
        if self.rule.statistic is Statistic.NORMS:
            update.squared_norm += squared_norm(values)
        return None

    def cleared_sums(self) -> Sums:
        """The memory of the sums, for the next round; this aggregate is done."""
        sums, self._sums = self._sums, {}
        for total in sums.values():
            total.clear()
        return sums

    # Once a closing is there

    def leave_all_but(self, duty: Duty) -> None:
        """Read no more for another duty: a rival owner of the shard was quicker."""
        if self._duty != duty:
            self._end_rereading()

    def statistics(self, ordinal: int, candidates: Sequence[bytes | None]) -> bytes | Effects:
        """What the verdict says of the candidates' updates, or what is to be done to know it.

        By their attempts in the order of the closing; None for those that are left out.
        """
        updates = {
            place: self.updates[attempt] for place, attempt in enumerate(candidates) if attempt is not None
        }
        match self.rule.statistic:
            case Statistic.NONE:
                return b""
            case Statistic.NORMS:
                norms = (updates[p].squared_norm if p in updates else 0 for p in range(len(candidates)))
                return pack(norms)
            case Statistic.DISTANCES:
                members = [update.offsets for update in updates.values()]
                if self._turn_to((Phase.COMPARING, ordinal)):
                    self._distances = np.zeros((len(members), len(members)), np.object_)
                waiting = self._reread(members, self._add_distances)
                if waiting is not None:
                    return waiting
                return pack(pairs_of(self._distances, list(updates), len(candidates)))

    def _add_distances(self, _run: Run, tile: Tile) -> None:
        self._distances += squared_distances(tile)

    # Once the cohort is known

    def is_of(self, cohort: Sequence[tuple[bytes, int]]) -> bool:
        """Whether `total` is this cohort's already: a mean of what is in the sums, and of nothing else."""
        if self.rule.statistic is not Statistic.NONE or self.rule.reduce is not None:
            return False
        weights = self.rule.weights([num_examples for _, num_examples in cohort], ())
        due = dict(zip((attempt for attempt, _ in cohort), weights.of_members, strict=True))
        if any(each.weight != due.get(attempt) for attempt, each in self.updates.items() if each.offsets):
            return False
        self.total_weight = weights.total
        return True

    def complete(
        self, ordinal: int, cohort: Sequence[tuple[bytes, int]], statistics: Callable[[], Sequence[Any]]
    ) -> Effects | None:
        """What is to be done until `total` is right; None once it is.

        `cohort` has attempts and numbers of examples, `statistics` is over all shards; see `Rule.weights`.
        """
        if self._turn_to((Phase.PUBLISHING, ordinal)):
            weights = self.rule.weights([num_examples for _, num_examples in cohort], statistics())
            self.total_weight = weights.total
            if self.rule.reduce is None:
                return self._correct(dict(zip((a for a, _ in cohort), weights.of_members, strict=True)))
            self._reduced = {index: np.zeros(spec.size) for index, spec in self._specs.items()}
        if self.rule.reduce is None:
            return [] if self._correcting else None
        return self._reread([self.updates[attempt].offsets for attempt, _ in cohort], self._add_reduced)

    def total(self, index: int) -> Vector:
        """The aggregate of a chunk times `total_weight`; [size]."""
        return self._sums[index].total() if self.rule.reduce is None else self._reduced[index]

    def _correct(self, due: Mapping[bytes, float]) -> Effects | None:
        """Read again what is not in the sums with the weight that is due."""
        self._correcting = dict(self._corrections(due))
        return [Follow(*self._place, min(self._correcting))] if self._correcting else None

    def _corrections(
        self, due: Mapping[bytes, float]
    ) -> Iterator[tuple[int, tuple[float | None, float | None]]]:
        """By offset, the weight that a chunk has in the sums and the one that it shall have."""
        for attempt, update in self.updates.items():
            old, update.weight = update.weight, due.get(attempt) or None
            if old != update.weight:
                yield from ((offset, (old, update.weight)) for offset in update.offsets.values())

    def _add_reduced(self, run: Run, tile: Tile) -> None:
        assert self.rule.reduce is not None
        self._reduced[run.index][run.start : run.stop] = self.rule.reduce(tile)

    # Reading again

    @property
    def first_wanted(self) -> int | None:
        """The lowest offset that is to be read again."""
        if self._rereading is not None:
            return self._rereading.first_wanted
        return min(self._correcting, default=None)

    def take_again(self, entry: Entry) -> None:
        """A record that was read before, if something of it is wanted now."""
        offset = entry.record.offset
        if offset in self._correcting:
            chunk = self._known(entry)
            values, (old, new) = self._values(chunk), self._correcting.pop(offset)
            if old is not None:
                self._sums[chunk.index].subtract(values, old)
            if new is not None:
                self._sums[chunk.index].add(values, new)
        elif self._rereading is not None and self._rereading.wants(offset):
            chunk = self._known(entry)
            self._rereading.take(offset, chunk.index, self._values(chunk))

    def _turn_to(self, duty: Duty) -> bool:
        """Whether this duty is new."""
        if self._duty == duty:
            return False
        self.leave_all_but(duty)
        self._duty, self._read = duty, False
        return True

    def _known(self, entry: Entry) -> UpdateChunk:
        """The chunk that was there the first time."""
        chunk = entry.message
        if isinstance(chunk, UpdateChunk):
            known = self.updates.get(chunk.attempt)
            if known is not None and known.digests.get(chunk.index) == chunk_digest(chunk.data):
                return chunk
        raise RemoteError(
            f"{entry.record.topic}[{entry.record.partition}] holds another record at offset {entry.record.offset} "
            "than when it was read first: the log was changed; start a new federation"
        )

    def _reread(self, members: Sequence[Mapping[int, int]], use: Use) -> Effects | None:
        """Go on with reading the members' updates again, a block at a time; None once everything was used."""
        if self._read:
            return None
        if self._rereading is None:
            granted = self._room.take(len(members) * sum(8 * spec.size for spec in self._specs.values()))
            if granted is None:
                return []
            self._granted_bytes = granted
            self._rereading = Rereading(members, self._specs.values(), granted, use)
        if self._rereading.first_wanted is not None:
            return []
        offset = self._rereading.next_block()
        if offset is not None:
            return [Follow(*self._place, offset)]
        self._end_rereading()
        self._read = True
        return None

    def _end_rereading(self) -> None:
        if self._rereading is not None:
            self._rereading = None
            self._room.give_back(self._granted_bytes)
