"""The coordinator's duties in an open federation: open its rounds, judge when enough reports are in, close, finish.

Pure. Each judgement that is not a function of the log (the time, an end offset) goes into exactly one record, and
nothing here acts on such a record before the ledger has read it back. Any number of coordinators may be at work.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable

from fdstream.digests import model_sha256
from fdstream.events import Append, DeleteBefore, Effects, Ends, ReadEnds
from fdstream.ledger import Ledger, Phase
from fdstream.messages import (
    Exclusion,
    FederationFinished,
    Message,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    ShardModel,
)
from fdstream.server.book import ReportBook, weighted_means
from fdstream.topics import table

# Rounds may be shorter than it takes to fetch a record: who looks, or is a little late, still finds what was written.
KEPT_SECONDS = 1.0


class Coordinator:
    """Duties in an open federation, one per phase; each is asked for once and judged by the log."""

    def __init__(self, ledger: Ledger, new_id: Callable[[], bytes]) -> None:
        self.ledger = ledger
        self._new_id = new_id
        self._asked: set[tuple[object, ...]] = set()
        self._accepted: tuple[int, ...] = ()
        self._refused: tuple[Exclusion, ...] = ()
        self._reports_end: tuple[object, int] = (None, 0)  # deadline, end of the reports when it had passed
        self._starts: dict[int, Ends] = {}  # round -> where its topics ended when this was asked
        self._forgettable: deque[tuple[float, DeleteBefore]] = deque()  # and since when, in broker time

    def duties(self, book: ReportBook | None, now_seconds: float) -> Effects:
        """What the current phase asks of a coordinator, and what is to be deleted by now."""
        return [*self._duties(book, now_seconds), *self._deletions(now_seconds)]

    def _duties(self, book: ReportBook | None, now_seconds: float) -> Effects:
        match self.ledger.phase:
            case Phase.READY:
                return self._next_round()
            case Phase.COLLECTING:
                assert book is not None
                return self._collect(book, now_seconds)
            case Phase.SEALING:
                assert book is not None
                return self._seal(book, now_seconds)
        return []

    def on_ends(self, event: Ends) -> Effects:
        """The end offsets asked for have come; write what they were asked for, if it is still wanted."""
        kind, round_number, ordinal = event.tag
        ledger = self.ledger
        if kind == "open":
            self._starts = {round_number: event}
        if kind == "late":
            self._reports_end = ((round_number, ordinal), next(iter(event.offsets.values()))[0])
        if kind == "close" and ledger.phase is Phase.COLLECTING and self._is_now(round_number, ordinal):
            return [self._write(self._round_closing(event.offsets[table.updates(ledger.slot)]))]
        return []

    # Between rounds

    def _next_round(self) -> Effects:
        ledger, settings = self.ledger, self.ledger.federation.settings
        number = ledger.next_round
        if number > settings.last_round:
            reason = f"all {settings.num_rounds} rounds are done"
            return self._finish(settings.num_rounds, reason, failed=False)
        if number not in self._starts:
            return self._ask_starts(number)
        if not self._once("opened", number, ledger.previous):
            return []
        return [
            self._write(self._round_opened(self._starts[number], ledger.current_model(), ledger.previous))
        ]

    def _ask_starts(self, number: int) -> Effects:
        """Any end after the slot's last use will do: what comes between is noise that readers skip."""
        if not self._once("open", number):
            return []
        slot = table.slot_of(number, self.ledger.federation.slots)
        return [ReadEnds(("open", number, 1), (table.updates(slot), table.reports(slot), table.SHARDS))]

    def _round_opened(self, asked: Ends, model: tuple[ShardModel, ...], previous: bytes) -> RoundOpened:
        federation, (_, number, _), starts = self.ledger.federation, asked.tag, asked.offsets
        slot = table.slot_of(number, federation.slots)
        return RoundOpened(
            nonce=federation.nonce,
            round=number,
            training=number <= federation.settings.num_rounds,
            model=model,
            updates_start=starts[table.updates(slot)],
            reports_start=starts[table.reports(slot)][0],
            shards_start=starts[table.SHARDS],
            sampling_nonce=self._new_id(),
            previous=previous,
        )

    def _finish(self, rounds: int, reason: str, *, failed: bool) -> Effects:
        ledger = self.ledger
        if not self._once("finish", ledger.control_offset):
            return []
        nonce = ledger.federation.nonce
        return [self._write(FederationFinished(nonce, ledger.control_offset, rounds, failed, reason))]

    # Collecting

    def _collect(self, book: ReportBook, now_seconds: float) -> Effects:
        ledger, settings = self.ledger, self.ledger.federation.settings
        count = book.num_candidates(ledger.excluded)
        if count >= settings.max_clients:
            return self._close(book)
        if ledger.federation.slots > 1 and ledger.next_round <= settings.last_round:
            ask = self._ask_starts(ledger.next_round)
            if ask:
                return ask
        if self._owes_extension():
            return self._extend()
        if now_seconds < ledger.waiting_since_seconds + settings.deadline_seconds:
            return []
        return self._judge(book, count)

    def _judge(self, book: ReportBook, count: int) -> Effects:
        """The deadline has passed; who is absent shows once everything is read that was there by then."""
        ledger, settings = self.ledger, self.ledger.federation.settings
        deadline = (ledger.round, len(ledger.extensions))
        if self._once("late", *deadline):
            return [ReadEnds(("late", *deadline), (table.reports(ledger.slot),))]
        if self._reports_end[0] != deadline or book.next_offset < self._reports_end[1]:
            return []
        if count >= settings.min_clients or not ledger.round_opened.training:
            return self._close(book)
        if len(ledger.extensions) >= settings.max_extensions:
            return self._give_up(count)
        return self._extend()

    def _close(self, book: ReportBook) -> Effects:
        ledger = self.ledger
        if not self._once("close", ledger.round, ledger.ordinal):
            return []
        self._accepted = book.candidates(ledger.excluded, ledger.federation.settings.max_clients)
        self._refused = book.refused()
        if ledger.reports_carry_updates:
            end = self._accepted[-1] + 1 if self._accepted else 0
            return [self._write(self._round_closing((end,) + (0,) * (ledger.federation.shards - 1)))]
        return [ReadEnds(("close", ledger.round, ledger.ordinal), (table.updates(ledger.slot),))]

    def _round_closing(self, ends: tuple[int, ...]) -> RoundClosing:
        ledger = self.ledger
        nonce, refused = ledger.federation.nonce, self._refused
        return RoundClosing(nonce, ledger.round, ledger.ordinal, self._accepted, ends, refused)

    def _owes_extension(self) -> bool:
        """Verdicts left too few: those left out must hear of it, or they would never report again."""
        if not self.ledger.excluded:
            return False
        told = {
            offset
            for entry in self.ledger.extensions
            if isinstance(entry.message, RoundExtended)
            for offset in entry.message.excluded
        }
        return not self.ledger.excluded.keys() <= told

    def _extend(self) -> Effects:
        ledger = self.ledger
        number = len(ledger.extensions) + 1
        if not self._once("extend", ledger.round, number):
            return []
        fraction = min(1.0, 2 * ledger.fraction)
        excluded = tuple(sorted(ledger.excluded))
        nonce = ledger.federation.nonce
        return [self._write(RoundExtended(nonce, ledger.round, number, fraction, excluded))]

    def _give_up(self, count: int) -> Effects:
        ledger, settings = self.ledger, self.ledger.federation.settings
        reason = (
            f"round {ledger.round} had {count} of {settings.min_clients} clients after its deadline "
            f"of {settings.deadline_seconds:g} s and {settings.max_extensions} extensions"
        )
        return self._finish(ledger.round - 1, reason, failed=True)

    # Sealing

    def _seal(self, book: ReportBook, now_seconds: float) -> Effects:
        ledger = self.ledger
        assert ledger.closing is not None
        if not book.covers(ledger.closing.accepted) or not self._once("seal", ledger.round):
            return []
        self._forgettable += [(now_seconds, found) for found in self._forgotten()]
        closed = self._round_closed(book)
        return [Append(table.CONTROL, 0, closed, self._opener(closed))]

    def _opener(self, closed: RoundClosed) -> Callable[[bytes], Message] | None:
        """The next RoundOpened goes right behind RoundClosed; it counts only if that very RoundClosed does."""
        number = self.ledger.next_round
        asked = self._starts.get(number)
        if asked is None or number > self.ledger.federation.settings.last_round:
            return None

        def opened(closed_value: bytes) -> RoundOpened:
            previous = hashlib.sha256(closed_value).digest()
            self._once("opened", number, previous)
            return self._round_opened(asked, closed.model, previous)

        return opened

    def _round_closed(self, book: ReportBook) -> RoundClosed:
        """A function of the log alone: every coordinator writes the same bytes."""
        ledger = self.ledger
        training = ledger.round_opened.training
        assert ledger.closing is not None
        cohort = ledger.cohort if training else ledger.closing.accepted
        # Verdicts leave out what is no report; an evaluation has none, so a forged closing may name anything.
        reports = [book.reports[offset] for offset in cohort if offset in book.reports]
        model = ledger.next_model()
        return RoundClosed(
            nonce=ledger.federation.nonce,
            round=ledger.round,
            ordinal=ledger.ordinal,
            num_clients=len(reports),
            num_examples=sum(report.num_examples for report in reports),
            train_metrics=weighted_means((r.num_examples, r.metrics) for r in reports),
            evaluate_metrics=weighted_means((r.evaluated_examples, r.evaluate_metrics) for r in reports),
            model=model,
            model_sha256=bytes.fromhex(model_sha256(ledger.layout, [part.digest for part in model])),
        )

    def _deletions(self, now_seconds: float) -> Effects:
        """What has been of no use for a while, or will be when no more rounds follow.

        The last deletion reaches as far as those before it.
        """
        if not self._forgettable:
            return []
        ends = self.ledger.round >= self.ledger.federation.settings.num_rounds
        due: Effects = []
        while self._forgettable and (ends or self._forgettable[0][0] + KEPT_SECONDS <= now_seconds):
            due.append(self._forgettable.popleft()[1])
        return due[-1:]

    def _forgotten(self) -> list[DeleteBefore]:
        """Deletions up to offsets that stand in `control`: a late server cannot get them wrong."""
        ledger = self.ledger
        keep, slots = ledger.federation.settings.keep_rounds, ledger.federation.slots
        if keep == 0:
            return []
        newest_dropped = ledger.round - max(keep, slots)
        offsets: dict[tuple[str, int], int] = {}
        for number in range(newest_dropped + 1, newest_dropped + 1 + slots):
            entry = ledger.history.get(number)
            if entry is not None and isinstance(entry.message, RoundOpened) and newest_dropped > 0:
                offsets |= _kept_from(entry.message, slots)
        dropped = {place: offset for place, offset in offsets.items() if offset > 0}
        return [DeleteBefore(dropped)] if dropped else []

    # Small things

    def _is_now(self, round_number: int, ordinal: int) -> bool:
        return (self.ledger.round, self.ledger.ordinal) == (round_number, ordinal)

    def _once(self, *duty: object) -> bool:
        if duty in self._asked:
            return False
        self._asked.add(duty)
        return True

    def _write(self, message: Message) -> Append:
        return Append(table.CONTROL, 0, message)


def _kept_from(opened: RoundOpened, slots: int) -> dict[tuple[str, int], int]:
    """What lies before a kept round in the topics of its slot belongs to rounds that are dropped."""
    slot = table.slot_of(opened.round, slots)
    offsets = {(table.reports(slot), 0): opened.reports_start}
    for shard, part in enumerate(opened.model):
        offsets[table.model(slot), shard] = part.start
        offsets[table.state(slot), shard] = part.state_start
        offsets[table.updates(slot), shard] = opened.updates_start[shard]
    return offsets
