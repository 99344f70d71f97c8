"""What the log says: a fold of `control` and `shards` into the state of a federation.

Two rules. The first record of a key counts and later ones are noise, also for whoever wrote them. The phase is a
function of the records that count, so it does not matter in which order two partitions were read.

The phases and what moves between them stand in one table, `TRANSITIONS`. Everybody folds the same table: servers
read both topics; clients and viewers read `control` alone, where RoundClosed ends a round whatever they missed.
This file knows no clock, no Kafka and no numbers of the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Any, TypeVar

from fdstream.codecs import Codec, codec, for_dtype, model_codec
from fdstream.dtypes import update_dtype
from fdstream.errors import RemoteError
from fdstream.events import Entry
from fdstream.layout import Layout
from fdstream.log import Lost
from fdstream.messages import (
    PROTOCOL,
    FederationFinished,
    FederationOpened,
    GlobalEvaluated,
    Message,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    ShardModel,
    ShardResult,
    ShardVerdict,
)
from fdstream.signatures import is_genuine
from fdstream.topics import table

Key = tuple[Any, ...]
NO_PREVIOUS = bytes(32)
MAX_CARRIED_BYTES = 512 * 1024
"""Longest update that travels in its report: with everything else in one it stays below a record's limit."""
M = TypeVar("M", bound=Message)


class Phase(Enum):
    """Where a federation stands."""

    ABSENT = "nobody has opened the federation"
    READY = "between rounds: the next one can be opened"
    COLLECTING = "a round is open: clients train and report"
    COMPARING = "the candidates are written down: shards compare them with their chunks"
    PUBLISHING = "the cohort is known: shards write the next model"
    SEALING = "the next model is in the log: the round can be closed"
    FINISHED = "nothing follows"


@dataclass(frozen=True, slots=True)
class Transition:
    """In `source`, when `guard` holds, the phase becomes `target`; `event` is its name in the docs."""

    source: Phase
    event: str
    guard: Callable[[Ledger], bool]
    target: Phase


class Ledger:
    """The fold. `fold` takes entries in any order that keeps each partition's own."""

    def __init__(self) -> None:
        self.phase = Phase.ABSENT
        self.round = 0  # the last round that was opened
        self.ordinal = 1
        self.opened: FederationOpened | None = None
        self.excluded: dict[int, str] = {}  # offset of a report of this round -> reason
        self.history: dict[int, Entry] = {}  # round -> its RoundOpened, as long as the log keeps it
        self.evaluated: dict[int, GlobalEvaluated] = {}
        self.last_closed: Entry | None = None
        self.previous = NO_PREVIOUS  # SHA-256 of its bytes
        self.control_offset = -1  # of the last control record that counts
        self.asks_for_reports = (
            False  # whether the last such record asks for reports; a function of control alone
        )
        self._facts: dict[Key, Entry] = {}

    def fold(self, entry: Entry) -> bool:
        """Take a record in; False where it is noise: a copy, a stranger's, or of a round long closed."""
        key = self._key(entry)
        if key is None or key in self._facts or not self.is_signed(entry):
            return False
        self._facts[key] = entry
        message = entry.message
        if isinstance(message, GlobalEvaluated):
            self.evaluated[message.round] = message
        elif entry.record.topic == table.CONTROL:
            self.control_offset = entry.record.offset
            self.asks_for_reports = isinstance(message, RoundOpened | RoundExtended)
            if isinstance(message, FederationOpened):
                self.opened = _understood(message)
        self._advance()
        return True

    def is_signed(self, entry: Entry) -> bool:
        """Whether one of the federation's servers stands for the record, as far as FederationOpened asks for that."""
        message = entry.message
        opened = message if isinstance(message, FederationOpened) else self.opened
        if opened is None or not opened.server_keys:
            return True
        signature = getattr(message, "signature", None)
        return (
            signature is not None and signature.key in opened.server_keys and is_genuine(entry.record.value)
        )

    # What is known

    @property
    def protocol(self) -> int:
        """The version in which this federation's records are written; the newest while nobody has opened it."""
        return self.opened.protocol if self.opened is not None else PROTOCOL

    @property
    def federation(self) -> FederationOpened:
        """The record that opened the federation; only in phases after ABSENT."""
        assert self.opened is not None, "no FederationOpened yet"
        return self.opened

    @cached_property
    def layout(self) -> Layout:
        """The model's layout; only in phases after ABSENT."""
        opened = self.federation
        return Layout(opened.tensors, opened.chunk_bytes, opened.shards)

    @cached_property
    def codec(self) -> Codec:
        """How updates travel; only in phases after ABSENT."""
        return codec(self.federation.settings.codec)

    @cached_property
    def model_codec(self) -> Codec:
        """How the global model travels; only in phases after ABSENT."""
        return model_codec(self.federation.settings.model_codec)

    @cached_property
    def reports_carry_updates(self) -> bool:
        """Whether an update is one chunk, so small that it travels in its report; only in phases after ABSENT."""
        first, *others = self.layout.chunks
        travelling = for_dtype(self.codec, first.dtype)
        return not others and (
            travelling.encoded_bytes(update_dtype(first.dtype), first.size) <= MAX_CARRIED_BYTES
        )

    def updates_topic(self, round_number: int) -> str:
        """Where the updates of a round travel."""
        slot = table.slot_of(round_number, self.federation.slots)
        return table.reports(slot) if self.reports_carry_updates else table.updates(slot)

    @property
    def finished(self) -> FederationFinished | None:
        return self._message(FederationFinished, "finished")

    @property
    def round_entry(self) -> Entry | None:
        """The RoundOpened of the current round, also while it is being closed."""
        return self.history.get(self.round)

    @property
    def round_opened(self) -> RoundOpened:
        """The current round's record; only while a round is open."""
        assert self.round_entry is not None, "no round was opened"
        assert isinstance(self.round_entry.message, RoundOpened)
        return self.round_entry.message

    @property
    def slot(self) -> int:
        return table.slot_of(self.round, self.federation.slots)

    @property
    def next_round(self) -> int:
        return self.round + 1

    @property
    def extensions(self) -> list[Entry]:
        """The RoundExtended of the current round in the order of their numbers."""
        found: list[Entry] = []
        while (entry := self._facts.get(("extended", self.round, len(found) + 1))) is not None:
            found.append(entry)
        return found

    @property
    def fraction(self) -> float:
        """The share of clients asked in the current round."""
        extended = [e.message.fraction for e in self.extensions if isinstance(e.message, RoundExtended)]
        return max([self.federation.settings.fraction, *extended])

    @property
    def waiting_since_seconds(self) -> float:
        """Broker time at which the current deadline started."""
        assert self.round_entry is not None
        return [self.round_entry, *self.extensions][-1].record.timestamp_seconds

    @property
    def closing(self) -> RoundClosing | None:
        """The RoundClosing of the current ordinal."""
        return self._message(RoundClosing, "closing", self.round, self.ordinal)

    @property
    def closed(self) -> RoundClosed | None:
        return self._message(RoundClosed, "closed", self.round)

    @property
    def closed_record(self) -> RoundClosed | None:
        """The last RoundClosed of the federation."""
        message = self.last_closed.message if self.last_closed is not None else None
        return message if isinstance(message, RoundClosed) else None

    @property
    def verdicts(self) -> list[ShardVerdict | None]:
        """For each active shard the verdict on the current closing."""
        return [
            self._message(ShardVerdict, "verdict", self.round, self.ordinal, shard)
            for shard in self.layout.active_shards
        ]

    @property
    def results(self) -> list[ShardResult | None]:
        """For each active shard where its next model lies."""
        return [
            self._message(ShardResult, "result", self.round, self.ordinal, shard)
            for shard in self.layout.active_shards
        ]

    @property
    def cohort(self) -> tuple[int, ...]:
        """Offsets of the reports whose updates make the next model, ascending; once all verdicts are in."""
        assert self.closing is not None
        left_out = self._excluded_now()
        return tuple(offset for offset in self.closing.accepted if offset not in left_out)

    def next_model(self) -> tuple[ShardModel, ...]:
        """Where the model after this round lies; once all results are in."""
        if not self.round_opened.training:
            return self.round_opened.model
        won = {result.shard: result.model for result in self.results if result is not None}
        return tuple(won.get(shard, model) for shard, model in enumerate(self.round_opened.model))

    def current_model(self) -> tuple[ShardModel, ...]:
        """The model that the next round starts from; in READY and FINISHED."""
        return self.closed_record.model if self.closed_record is not None else self.federation.model

    # The fold

    def _message(self, kind: type[M], *key: Any) -> M | None:
        entry = self._facts.get(key)
        return entry.message if entry is not None and isinstance(entry.message, kind) else None

    def _key(self, entry: Entry) -> Key | None:
        """The key under which the record counts, or None where it cannot count at all."""
        if entry.record.topic == table.CONTROL:
            return self._control_key(entry)
        if entry.record.topic == table.SHARDS:
            return self._shard_key(entry)
        return None

    def _control_key(self, entry: Entry) -> Key | None:
        message = entry.message
        if isinstance(message, FederationOpened):
            return ("opened",)
        if self.opened is None or getattr(message, "nonce", None) != self.opened.nonce:
            return None
        if ("finished",) in self._facts and not isinstance(message, GlobalEvaluated):
            return None
        match message:
            case FederationFinished():
                # It says after which record it was decided; anything that came between made it void.
                return ("finished",) if message.after == self.control_offset else None
            case RoundOpened():
                return ("round", message.round) if self._follows(message) else None
            case GlobalEvaluated():
                return ("evaluated", message.round)
            case RoundExtended() | RoundClosing() | RoundClosed():
                return self._round_key(message)
        return None

    def _round_key(self, message: RoundExtended | RoundClosing | RoundClosed) -> Key | None:
        if message.round != self.round or ("closed", self.round) in self._facts:
            return None
        match message:
            case RoundExtended():
                return ("extended", message.round, message.extension)
            case RoundClosing():
                return ("closing", message.round, message.ordinal) if self._fits(message) else None
            case RoundClosed():
                return ("closed", message.round)

    def _follows(self, message: RoundOpened) -> bool:
        between_rounds = self.round == 0 or ("closed", self.round) in self._facts
        return (
            between_rounds
            and message.round == self.next_round
            and message.previous == self.previous
            and len(message.model) == self.federation.shards
        )

    def _fits(self, message: RoundClosing) -> bool:
        return len(message.updates_end) == self.federation.shards

    def _shard_key(self, entry: Entry) -> Key | None:
        message = entry.message
        if not isinstance(message, ShardVerdict | ShardResult) or self.opened is None:
            return None
        if (
            message.nonce != self.opened.nonce
            or message.shard != entry.record.partition
            or message.round < self.round
        ):
            return None
        kind = "verdict" if isinstance(message, ShardVerdict) else "result"
        return (kind, message.round, message.ordinal, message.shard)

    def _advance(self) -> None:
        moved = True
        while moved:
            moved = False
            for transition in TRANSITIONS:
                if transition.source is self.phase and transition.guard(self):
                    self._enter(transition.target)
                    moved = True
                    break

    def _enter(self, target: Phase) -> None:
        source, self.phase = self.phase, target
        if source is Phase.COMPARING and target is Phase.COLLECTING:
            self.excluded |= self._excluded_now()
            self.ordinal += 1
        elif source is Phase.READY and target is Phase.COLLECTING:
            self.round += 1
            self.ordinal, self.excluded = 1, {}
            self.history[self.round] = self._facts["round", self.round]
            self._forget()
        elif target is Phase.PUBLISHING:
            self.excluded |= self._excluded_now()
        elif target is Phase.READY and source is not Phase.ABSENT:
            self.last_closed = self._facts["closed", self.round]
            self.previous = hashlib.sha256(self.last_closed.record.value).digest()

    def _forget(self) -> None:
        """Drop what no later round can ask for, so that a long federation stays small."""
        self._facts = {
            key: entry for key, entry in self._facts.items() if len(key) == 1 or key[1] >= self.round
        }
        keep = self.federation.settings.keep_rounds
        if keep:
            oldest = self.round - max(keep, self.federation.slots) - self.federation.slots
            self.history = {number: entry for number, entry in self.history.items() if number >= oldest}
        self.evaluated = {n: message for n, message in self.evaluated.items() if n >= self.round - 1}

    # Guards

    def _excluded_now(self) -> dict[int, str]:
        return {
            exclusion.report: exclusion.reason
            for verdict in self.verdicts
            if verdict is not None
            for exclusion in verdict.excluded
        }

    def _is_opened(self) -> bool:
        return self.opened is not None

    def _is_finished(self) -> bool:
        return self.finished is not None

    def _next_is_opened(self) -> bool:
        return ("round", self.next_round) in self._facts

    def _is_closing(self) -> bool:
        return self.closing is not None and self.round_opened.training

    def _evaluation_is_closing(self) -> bool:
        return self.closing is not None and not self.round_opened.training

    def _all_verdicts(self) -> bool:
        return all(verdict is not None for verdict in self.verdicts)

    def _enough_remain(self) -> bool:
        return self._all_verdicts() and len(self.cohort) >= self.federation.settings.min_clients

    def _too_few_remain(self) -> bool:
        return self._all_verdicts() and len(self.cohort) < self.federation.settings.min_clients

    def _all_results(self) -> bool:
        return all(result is not None for result in self.results)

    def _is_closed(self) -> bool:
        return self.closed is not None


def _understood(opened: FederationOpened) -> FederationOpened:
    """The record, if its federation is of a version that is known here."""
    if opened.protocol > PROTOCOL:
        raise RemoteError(
            f"this federation speaks version {opened.protocol} of the protocol, this fdstream only up to {PROTOCOL}: "
            "upgrade it"
        )
    return opened


def lost_history(lost: Lost) -> RemoteError:
    """What to raise where `control` itself was cut: nothing can be known then."""
    return RemoteError(
        f"{lost.topic} no longer holds offset {lost.offset}, so the federation's history is gone: keep this topic "
        "for ever (retention.ms=-1, cleanup.policy=delete) and start a new federation"
    )


def another_life() -> RemoteError:
    """What to raise where `control` went on without what was read of it."""
    return RemoteError(
        "control does not go on where it was read to: the federation was deleted and made again under its name; "
        "start anew"
    )


_CLOSED = (
    Transition(phase, "RoundClosed", Ledger._is_closed, Phase.READY)
    for phase in (Phase.COLLECTING, Phase.COMPARING, Phase.PUBLISHING, Phase.SEALING)
)
_FINISHED = (
    Transition(phase, "FederationFinished", Ledger._is_finished, Phase.FINISHED)
    for phase in (Phase.READY, Phase.COLLECTING, Phase.COMPARING)
)

TRANSITIONS: tuple[Transition, ...] = (
    Transition(Phase.ABSENT, "FederationOpened", Ledger._is_opened, Phase.READY),
    *_FINISHED,
    *_CLOSED,
    Transition(Phase.READY, "RoundOpened", Ledger._next_is_opened, Phase.COLLECTING),
    Transition(Phase.COLLECTING, "RoundClosing", Ledger._is_closing, Phase.COMPARING),
    Transition(
        Phase.COLLECTING, "RoundClosing without training", Ledger._evaluation_is_closing, Phase.SEALING
    ),
    Transition(Phase.COMPARING, "verdicts: enough remain", Ledger._enough_remain, Phase.PUBLISHING),
    Transition(Phase.COMPARING, "verdicts: too few remain", Ledger._too_few_remain, Phase.COLLECTING),
    Transition(Phase.PUBLISHING, "results of all shards", Ledger._all_results, Phase.SEALING),
)
