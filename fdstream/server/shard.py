"""The owner of one shard: folds update chunks as they arrive, compares, applies the strategy, publishes.

Pure. Reads of the log come in as entries in the order of their partition; what to do comes out as effects. It
knows nothing of other shards but what the ledger says, and can be rebuilt from the log at any moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from fdstream.aggregation.strategies import Strategy
from fdstream.codecs import Codec, for_dtype
from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import Array, update_dtype
from fdstream.errors import RemoteError
from fdstream.events import Append, Effects, Entry, Follow, Unfollow, Upload, Uploaded
from fdstream.layout import ChunkSpec
from fdstream.ledger import Ledger, Phase
from fdstream.messages import (
    MAX_OFFSET,
    Exclusion,
    Message,
    ModelChunk,
    Report,
    RoundClosing,
    ShardModel,
    ShardResult,
    ShardVerdict,
    UpdateChunk,
)
from fdstream.server.aggregate import Aggregate, Sums
from fdstream.server.book import ReportBook
from fdstream.server.broadcast import Broadcast
from fdstream.server.parts import PartsReader, Place, ShardParts
from fdstream.server.rereading import Room
from fdstream.server.statistics import of_cohort
from fdstream.topics import table

MAX_REASONS = 1000
MORE_UPDATES = 1000  # than clients, of which a shard keeps account; who floods it fills no memory
CARRIED_INDEX = 0  # of the chunk that a report carries: there is no other
Cohort = tuple[int, ...]  # offsets of reports, ascending


def carried(entry: Entry) -> Entry:
    """A report as the update that it carries, if it does."""
    report = entry.message
    if not isinstance(report, Report) or report.failure is not None or report.num_examples < 1:
        return entry
    chunk = UpdateChunk(
        report.nonce, report.attempt, report.round, CARRIED_INDEX, report.num_examples, report.data
    )
    return Entry(entry.record, chunk)


class ShardOwner:
    """Works on the ledger's current round, which is a training round."""

    def __init__(
        self,
        shard: int,
        ledger: Ledger,
        strategy: Strategy,
        new_attempt: Callable[[], bytes],
        before: ShardOwner | None = None,
        room: Room | None = None,
    ) -> None:
        """`before` worked on the round before this: its result is this round's model, its memory is used again.

        `room` is for updates that are read again; the owners of one server share it.
        """
        opened = ledger.round_opened
        self.shard = shard
        self.ledger = ledger
        self.round = opened.round
        self.nonce = opened.nonce
        carried = ledger.reports_carry_updates
        self.start = self.next_offset = opened.reports_start if carried else opened.updates_start[shard]
        self.next_parts: ShardParts | None = None
        self._broadcast = Broadcast(strategy, ledger.model_codec, ledger.federation.settings.seed)
        self._new_attempt = new_attempt
        self._specs = {spec.index: spec for spec in ledger.layout.chunks_of(shard)}
        self._aggregate = Aggregate(
            strategy.rule,
            self._specs,
            (self._updates_topic, shard),
            self._values,
            room or Room(),
            before.cleared_sums() if before else None,
        )
        self._updates = self._aggregate.updates
        self._left_out: tuple[Exclusion, ...] = ()
        self._most_updates = ledger.federation.settings.max_clients + MORE_UPDATES
        self._sought: frozenset[bytes] = frozenset()  # attempts that were reported and not accounted for
        self._sought_until = self.start  # below this offset only those are taken
        self._cohort: list[tuple[bytes, int]] = []  # attempts and numbers of examples
        self._done: set[tuple[str, int]] = set()
        self._applied: Cohort | None = None  # whose sum made `next_parts`
        self._certain = False  # whether the log has confirmed that cohort
        self._attempt = b""
        self._reader = PartsReader(ledger.layout, shard, self._broadcast, opened.model[shard])
        self._parts = self._inherited(before)
        self._uploaded: dict[str, int] = {}

    def cleared_sums(self) -> Sums:
        """The memory of this round's sums, for the next; this owner is done."""
        return self._aggregate.cleared_sums()

    # Topics of this round

    @property
    def _updates_topic(self) -> str:
        return self.ledger.updates_topic(self.round)

    @property
    def _model_topics(self) -> tuple[str, str]:
        slot = table.slot_of(self.round, self.ledger.federation.slots)
        return table.model(slot), table.state(slot)

    @property
    def _next_topics(self) -> tuple[str, str]:
        slot = table.slot_of(self.round + 1, self.ledger.federation.slots)
        return table.model(slot), table.state(slot)

    # Events

    def begin(self) -> Effects:
        """Follow what this round needs."""
        effects: Effects = [Follow(self._updates_topic, self.shard, self.next_offset)]
        if self._parts is None:
            wanted = self._reader.wanted
            model, state = self._model_topics
            effects.append(Follow(model, self.shard, wanted.start))
            if self._broadcast.state_parts:
                effects.append(Follow(state, self.shard, wanted.state_start))
        return effects

    def needed_of_model(self, topic: str) -> int | None:
        """The offset from which this shard's model is read, while it is not here."""
        if self._parts is not None or topic not in self._model_topics:
            return None
        wanted = self._reader.wanted
        return wanted.start if topic == self._model_topics[0] else wanted.state_start

    @property
    def needed_of_updates(self) -> int:
        """The first offset of this round's updates that is still to be read, for the first time or again."""
        again = self._aggregate.first_wanted
        return self.next_offset if again is None else min(again, self.next_offset)

    def on_model(self, entry: Entry) -> Effects:
        """A record of the model or state partition of this shard."""
        if self._parts is not None or not isinstance(entry.message, ModelChunk):
            return []
        try:
            self._parts = self._reader.add(entry.message)
        except ValueError as error:
            raise RemoteError(f"shard {self.shard} of the model of round {self.round}: {error}") from None
        if self._parts is None:
            return []
        return [Unfollow(topic, self.shard) for topic in self._model_topics]

    def on_update(self, entry: Entry) -> str | None:
        """A record of the updates partition of this shard; the reason if it is refused."""
        offset = entry.record.offset
        self._aggregate.take_again(entry)
        # Beyond the end of a closing nothing is read; if the round goes on, `duties` asks for it again.
        if offset != self.next_offset or offset >= self._end():
            return None
        self.next_offset = offset + 1
        return self._take(entry)

    def on_uploaded(self, event: Uploaded) -> Effects:
        """Part of the next model is acknowledged; with all of it, the result can be written."""
        *_, attempt, what = event.tag
        if attempt == self._attempt:
            self._uploaded[what] = event.starts[self.shard]
        return self._result() if self.ledger.round == self.round else []

    def duties(self, book: ReportBook) -> Effects:
        """What this shard owes the round as things stand; each thing once."""
        if self.ledger.round != self.round:
            return []
        effects: Effects = []
        if self.ledger.ordinal > 1 and self._once("go on"):
            # What lay beyond the end of the closing before was not taken; several phases may have passed at once.
            effects.append(Follow(self._updates_topic, self.shard, self.next_offset))
        self._aggregate.leave_all_but((self.ledger.phase, self.ledger.ordinal))
        if self.ledger.phase is Phase.COMPARING:
            effects += self._compare(book) + self._publish_early(book)
        if self.ledger.phase is Phase.PUBLISHING:
            effects += self._publish(book) + self._result()
        return effects

    # Folding

    def _end(self) -> int:
        closing = self.ledger.closing if self.ledger.round == self.round else None
        return MAX_OFFSET if closing is None else closing.updates_end[self.shard]

    def _take(self, entry: Entry) -> str | None:
        chunk, again = entry.message, entry.record.offset < self._sought_until
        if not isinstance(chunk, UpdateChunk):
            return None if again else "not an update chunk"
        if again and chunk.attempt not in self._sought:
            return None
        refusal = self._refusal(chunk)
        if refusal is not None:
            return None if again else refusal
        if not again and chunk.attempt not in self._updates and len(self._updates) >= self._most_updates:
            return "more updates than are kept account of"
        update = self._aggregate.update_of(chunk)
        if chunk.index in update.digests:
            return "duplicate"
        update.digests[chunk.index] = chunk_digest(chunk.data)
        update.end = entry.record.offset + 1
        if chunk.num_examples != update.num_examples:
            update.fault = "its chunks name different numbers of examples"
            return update.fault
        fault = self._aggregate.fold(chunk, update)
        if fault is not None:
            update.fault = fault
            return fault
        update.offsets[chunk.index] = entry.record.offset
        return None

    def _refusal(self, chunk: UpdateChunk) -> str | None:
        if chunk.nonce != self.nonce:
            return "of another federation"
        if chunk.round != self.round:
            return "late" if chunk.round < self.round else "of no such round"
        spec = self._specs.get(chunk.index)
        if spec is None:
            return "of no such chunk"
        if len(chunk.data) != self._codec(spec).encoded_bytes(update_dtype(spec.dtype), spec.size):
            return "wrong size"
        return None

    def _values(self, chunk: UpdateChunk) -> Array:
        spec = self._specs[chunk.index]
        return self._codec(spec).decode(chunk.data, update_dtype(spec.dtype), spec.size)

    def _codec(self, spec: ChunkSpec) -> Codec:
        return for_dtype(self.ledger.codec, spec.dtype)

    # Comparing

    def _seek(self, closing: RoundClosing, book: ReportBook) -> Effects:
        """Read the round's updates once more for the reported ones that a flood of others left no account for."""
        if len(self._updates) < self._most_updates or not self._once("seek"):
            return []
        reports = (book.reports.get(offset) for offset in closing.accepted)
        missing = {report.attempt for report in reports if report is not None} - self._updates.keys()
        if not missing:
            return []
        self._sought, self._sought_until, self.next_offset = frozenset(missing), self.next_offset, self.start
        return [Follow(self._updates_topic, self.shard, self.start)]

    def _compare(self, book: ReportBook) -> Effects:
        closing = self.ledger.closing
        assert closing is not None
        if self.next_offset < closing.updates_end[self.shard] or not book.covers(closing.accepted):
            return []
        if seeking := self._seek(closing, book):
            return seeking
        if self._once("exclude"):
            self._left_out = tuple(
                # Reasons are for people; a verdict on very many reports has room for the first only.
                exclusion if place < MAX_REASONS else Exclusion(exclusion.report, "")
                for place, exclusion in enumerate(self._exclusions(closing.accepted, book))
            )
        if ("verdict", closing.ordinal) in self._done:
            return []
        statistics = self._aggregate.statistics(closing.ordinal, self._candidates(closing, book))
        if not isinstance(statistics, bytes) or not self._once("verdict"):
            return statistics if isinstance(statistics, list) else []
        left_out = self._left_out
        return [
            self._write(
                ShardVerdict(self.nonce, self.round, closing.ordinal, self.shard, left_out, statistics)
            )
        ]

    def _candidates(self, closing: RoundClosing, book: ReportBook) -> list[bytes | None]:
        """The attempts of the accepted reports; None for those that this shard leaves out."""
        left_out = {exclusion.report for exclusion in self._left_out}
        return [None if offset in left_out else book.reports[offset].attempt for offset in closing.accepted]

    def _exclusions(self, accepted: tuple[int, ...], book: ReportBook) -> Iterator[Exclusion]:
        named: set[bytes] = set()
        for offset in accepted:
            report = book.reports.get(offset)
            if report is None:
                reason: str | None = "no such report"
            elif report.attempt in named:
                reason = "an earlier report names its attempt"
            else:
                reason = self._fault(report)
                named.add(report.attempt)
            if reason is not None:
                yield Exclusion(offset, reason)

    def _fault(self, report: Report) -> str | None:
        update = self._updates.get(report.attempt)
        if update is None:
            return "no chunk of it arrived"
        if update.fault is not None:
            return update.fault
        if update.end > self._end():
            return "a chunk of it came after its report"
        if len(update.digests) < len(self._specs):
            return f"{len(self._specs) - len(update.digests)} of {len(self._specs)} chunks are missing"
        if update.num_examples != report.num_examples:
            return "chunks and report name different numbers of examples"
        if shard_digest(digest for _, digest in sorted(update.digests.items())) != report.digests[self.shard]:
            return "the chunks do not match the report's digest"
        return None

    # Publishing

    def _publish_early(self, book: ReportBook) -> Effects:
        """Nearly always nobody is left out: the next model goes up while the verdicts are on their way.

        It is written down only after the verdicts: should they say otherwise, no record names these chunks.
        """
        closing = self.ledger.closing
        assert closing is not None
        if ("verdict", closing.ordinal) not in self._done or self._left_out or self._parts is None:
            return []
        if not self._once("expect"):
            return []
        expected = _members(book.reports[offset] for offset in closing.accepted)
        return self._make(closing.accepted) if self._aggregate.is_of(expected) else []

    def _publish(self, book: ReportBook) -> Effects:
        closing = self.ledger.closing
        assert closing is not None
        behind = self.next_offset < closing.updates_end[self.shard]
        if behind or self._parts is None or not book.covers(closing.accepted):
            return []
        if seeking := self._seek(closing, book):
            return seeking
        if ("publish", closing.ordinal) in self._done:
            return []
        if self._once("cohort"):
            self._cohort = _members(self._checked_cohort(book))
        waiting = self._aggregate.complete(closing.ordinal, self._cohort, lambda: self._statistics(closing))
        if waiting is not None or not self._once("publish"):
            return waiting or []
        self._certain = True
        return [] if self._applied == self.ledger.cohort else self._make(self.ledger.cohort)

    def _make(self, cohort: Cohort) -> Effects:
        """The next model from the aggregate, which is this cohort's."""
        assert self._parts is not None
        self.next_parts, self._applied = self._apply(self._parts), cohort
        return self._upload(self.next_parts)

    def _result(self) -> Effects:
        """Once the cohort is certain and its model acknowledged, where that lies."""
        if self.ledger.phase is not Phase.PUBLISHING or not self._certain or self.next_parts is None:
            return []
        if self._uploaded.keys() != {"weights", "state"} or not self._once("result"):
            return []
        model = ShardModel(
            attempt=self._attempt,
            start=self._uploaded["weights"],
            digest=self.next_parts.digest,
            state_start=self._uploaded["state"],
            state_digest=self.next_parts.state_digest,
        )
        return [self._write(ShardResult(self.nonce, self.round, self.ledger.ordinal, self.shard, model))]

    def _checked_cohort(self, book: ReportBook) -> list[Report]:
        """The cohort's reports, each with all its chunks here: better no model than half a one."""
        reports = [book.reports[offset] for offset in self.ledger.cohort]
        for report in reports:
            fault = self._fault(report)
            if fault is not None:
                raise RemoteError(
                    f"shard {self.shard} of round {self.round}: the log takes {report.client} into the cohort, "
                    f"and here {fault}; the log was changed after it was read: start a new federation"
                )
        return reports

    def _statistics(self, closing: RoundClosing) -> Sequence[Any]:
        """What the verdicts say of the cohort's whole updates."""
        verdicts = [verdict for verdict in self.ledger.verdicts if verdict is not None]
        return of_cohort(self._aggregate.rule.statistic, closing, self.ledger.cohort, verdicts)

    def _apply(self, parts: ShardParts) -> ShardParts:
        chunks: dict[Place, Array] = {}
        aggregate = self._aggregate
        for index, spec in self._specs.items():
            old = parts.of_chunk(index, self._broadcast.state_parts)
            new = self._broadcast.next(
                spec, old, aggregate.total(index), aggregate.total_weight, self.round + 1
            )
            chunks |= {(part, index): array for part, array in enumerate(new)}
        return ShardParts.of(chunks)

    def _upload(self, parts: ShardParts) -> Effects:
        self._attempt = self._new_attempt()
        self._uploaded = {} if self._broadcast.state_parts else {"state": 0}
        weights_topic, state_topic = self._next_topics
        topics = {"weights": weights_topic} | ({"state": state_topic} if self._broadcast.state_parts else {})
        return [
            Upload(
                (self.shard, self.round, self._attempt, what),
                topic,
                parts.records(self.shard, self.nonce, self._attempt, self.round + 1, state=what == "state"),
            )
            for what, topic in topics.items()
        ]

    # Small things

    def _once(self, duty: str) -> bool:
        key = (duty, self.ledger.ordinal)
        if key in self._done:
            return False
        self._done.add(key)
        return True

    def _write(self, message: Message) -> Append:
        return Append(table.SHARDS, self.shard, message)

    def _inherited(self, before: ShardOwner | None) -> ShardParts | None:
        """What `before` made, if that is this round's model; a cohort that was only expected proves nothing."""
        parts, wanted = before.next_parts if before else None, self._reader.wanted
        if before is None or parts is None:
            return None
        if (parts.digest, parts.state_digest) == (wanted.digest, wanted.state_digest):
            return parts
        if not before._certain:
            return None
        raise RemoteError(
            f"shard {self.shard} of the model of round {self.round} has another digest in the log than computed "
            "here; servers disagree about the same bytes: compare their versions and hardware"
        )


def _members(reports: Iterable[Report]) -> list[tuple[bytes, int]]:
    """Attempts and numbers of examples."""
    return [(report.attempt, report.num_examples) for report in reports]
