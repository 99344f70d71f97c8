"""A member of the server group, as a pure core: events and the time go in, effects come out.

It routes: records to the ledger, the book and the shards it owns; then asks every part for its duties. Whatever
it remembers can be rebuilt from the log, so it may be killed between any two effects and started again anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fdstream.aggregation.strategies import Strategy, strategy_of
from fdstream.errors import RemoteError
from fdstream.events import Effects, Ends, Entry, Event, Follow, ReadEnds, Tell, Tick, Unfollow, Uploaded
from fdstream.ledger import Ledger, Phase, lost_history
from fdstream.log import Lost
from fdstream.messages import FederationOpened, Refusal, Report, RoundClosed
from fdstream.serde.reasons import Reason
from fdstream.server.book import ACCEPTED, FAILED, ReportBook
from fdstream.server.coordinator import Coordinator
from fdstream.server.early import Early
from fdstream.server.opening import Opening, Proposal
from fdstream.server.refusals import Refusals
from fdstream.server.rereading import Room
from fdstream.server.shard import ShardOwner, carried
from fdstream.topics import table
from fdstream.trust import ANYBODY, NO_PINS, Pins, Trust

COORDINATING_SHARD = 0
_OPEN = (Phase.COLLECTING, Phase.COMPARING, Phase.PUBLISHING, Phase.SEALING)


class Server:
    """One server. `control_end` is the end offset of `control` when it started: until then it only listens."""

    def __init__(
        self, *, control_end: int, new_id: Callable[[], bytes], pins: Pins = NO_PINS, trust: Trust = ANYBODY
    ) -> None:
        self.ledger = Ledger()
        self.book: ReportBook | None = None
        self.owners: dict[int, ShardOwner] = {}
        self.assigned: frozenset[int] = frozenset()
        self.now_seconds = 0.0
        self._control_end = self._history_end = control_end
        self.control_position = 0
        self._new_id = new_id
        self._pins = pins
        self._trust = trust
        self._coordinator = Coordinator(self.ledger, new_id)
        self._opening: Opening | None = None
        self._working_on = 0  # the round that owners and book are for
        self._refusals = Refusals()
        self._refused_until: dict[
            tuple[str, int], int
        ] = {}  # one past the last record that could not be read
        self._follows_shards = False
        self._fresh: list[ShardOwner] = []  # which follow nothing yet
        self._fresh_book = False
        self._early = Early()
        self._early_topics: tuple[str, ...] = ()
        self._lost: list[Lost] = []  # to be judged once caught up
        self._strategy: Strategy | None = None
        self._room = Room()

    @property
    def protocol(self) -> int:
        """The version in which its federation's records are written."""
        return self.ledger.protocol

    @property
    def caught_up(self) -> bool:
        """Whether the history that was there at the start has been read."""
        return self.control_position >= self._control_end

    @property
    def needs_proposal(self) -> bool:
        """Whether nobody has opened the federation and this server may."""
        return (
            self.caught_up
            and self.ledger.phase is Phase.ABSENT
            and self._opening is None
            and COORDINATING_SHARD in self.assigned
        )

    def begin(self) -> Effects:
        return [Follow(table.CONTROL, 0, 0)]

    def propose(self, proposal: Proposal) -> Effects:
        """Open the federation with this, unless somebody else's FederationOpened comes first."""
        self._opening = Opening(proposal, strategy_of(proposal.settings), self._new_id)
        return self._opening.begin()

    def assign(self, shards: Iterable[int]) -> Effects:
        """The group gave this server these shards. What it loses it still finishes for the round in hand."""
        self.assigned = frozenset(shards)
        return self._own() + self._follow_the_fresh() + self._duties()

    def trust(self, trust: Trust) -> Effects:
        """From now on reports of these clients are taken. What a RoundClosing in the log took stays taken."""
        self._trust = trust
        told: Effects = []
        for offset, outcome in self.book.turn_to(trust) if self.book is not None else ():
            assert self.book is not None
            told.append(_told_of(self.book.reports[offset], outcome, offset))
        return told + self._duties()

    def step(self, *events: Event) -> Effects:
        """Take events in, one after another; what to do about them. Duties are asked for once."""
        effects = [effect for event in events for effect in self._on(event)]
        return effects + self._follow_the_fresh() + self._duties()

    # Routing

    def _on(self, event: Event) -> Effects:
        match event:
            case Entry():
                return self._on_entry(event)
            case Uploaded():
                return self._on_uploaded(event)
            case Ends():
                return self._on_ends(event)
            case Tick():
                self.now_seconds = event.now_seconds
                return []
            case Lost():
                return self._on_lost(event)

    def _on_entry(self, entry: Entry) -> Effects:
        topic, partition = entry.record.topic, entry.record.partition
        if topic in self._early_topics:
            self._early.keep(entry)
            return []
        if isinstance(entry.message, Refusal):
            reason = f"{entry.message.reason}: {entry.message.detail}"
            is_new = self._is_new(entry)
            effects = self._pass_over(entry)
            return effects + self._reject(entry, entry.message.reason, reason) if is_new else effects
        if topic in (table.CONTROL, table.SHARDS):
            return self._on_history(entry)
        owner = self.owners.get(partition)
        if self._is(topic, table.reports):
            fault = owner.on_update(carried(entry)) if owner is not None and self._carry_updates else None
            return self._on_report(entry, fault)
        if owner is None:
            return []
        if self._is(topic, table.updates):
            return self._maybe_reject(entry, owner.on_update(entry))
        return owner.on_model(entry)

    def _is_new(self, entry: Entry) -> bool:
        """Whether it is read for the first time: partitions are read in order, and each record is counted once."""
        place, offset = (entry.record.topic, entry.record.partition), entry.record.offset
        if offset < self._refused_until.get(place, 0):
            return False
        self._refused_until[place] = offset + 1
        return True

    def _pass_over(self, entry: Entry) -> Effects:
        """A record that could not be read still takes its place in the partition."""
        topic, partition = entry.record.topic, entry.record.partition
        if topic == table.CONTROL:
            self.control_position = max(self.control_position, entry.record.offset + 1)
            self._check_known(entry)
            return self._own()
        if self.book is not None and self._is(topic, table.reports):
            self.book.add(entry)
        if partition in self.owners and self._is_of_updates(topic):
            self.owners[partition].on_update(entry)
        return []

    def _check_known(self, entry: Entry) -> None:
        """Nothing is opened on top of what might be a federation."""
        unknown = isinstance(entry.message, Refusal) and entry.message.reason == Reason.UNKNOWN_SCHEMA
        if unknown and self.ledger.phase is Phase.ABSENT:
            raise RemoteError(
                f"{table.CONTROL} holds a record that this fdstream does not know, at offset {entry.record.offset}: "
                "if a newer one opened this federation, upgrade this one; else delete the federation's topics"
            )

    def _on_history(self, entry: Entry) -> Effects:
        phase, listening = self.ledger.phase, self.control_position < self._history_end
        if entry.record.topic == table.CONTROL:
            self.control_position = max(self.control_position, entry.record.offset + 1)
        counted = self.ledger.fold(entry)
        if counted and isinstance(entry.message, FederationOpened):
            self._pins.check(entry.message)
            self._trust.check(entry.message)
        effects: Effects = []
        if counted and not listening and isinstance(entry.message, RoundClosed):
            effects.append(Tell("round closed", {"record": entry.message}))
        if not counted and self._is_foreign(entry.message):
            effects += self._reject(entry, "of another federation", "")
        elif not counted and not self.ledger.is_signed(entry):
            effects += self._reject(entry, "not signed by a server", "")
        if self.ledger.phase is not phase and not listening:
            effects.append(Tell("phase", {"phase": self.ledger.phase, "round": self.ledger.round}))
        return effects + self._own()

    def _is_foreign(self, message: object) -> bool:
        """Whether a record is of another life of the federation; whoever lost the race to open it is not."""
        opened = self.ledger.opened
        stranger = opened is not None and getattr(message, "nonce", None) != opened.nonce
        return stranger and not isinstance(message, FederationOpened)

    def _on_report(self, entry: Entry, fault: str | None) -> Effects:
        """`fault` is what is wrong with the update that it carries."""
        outcome = self.book.add(entry) if self.book is not None else None
        if outcome is None:
            return []
        report = entry.message
        told: Effects = [_told_of(report, outcome, entry.record.offset)] if isinstance(report, Report) else []
        refusal = fault if outcome in (ACCEPTED, FAILED) else outcome
        return told + self._maybe_reject(entry, refusal)

    def _on_uploaded(self, event: Uploaded) -> Effects:
        if event.tag[0] == "initial":
            return self._opening.on_uploaded(event) if self._opening is not None else []
        shard, round_number, *_ = event.tag
        owner = self.owners.get(shard)
        return owner.on_uploaded(event) if owner is not None and owner.round == round_number else []

    def _on_lost(self, event: Lost) -> Effects:
        """Either this server slept and the federation went on and deleted, or the log lost what it must keep.

        Which of the two is known once everything is read that stands in `control` now.
        """
        if event.topic == table.CONTROL:
            raise lost_history(event)
        return [ReadEnds(("lost", event), (table.CONTROL,))]

    def _on_ends(self, event: Ends) -> Effects:
        if event.tag[0] != "lost":
            return self._coordinator.on_ends(event)
        self._lost.append(event.tag[1])
        self._control_end = max(self._control_end, event.offsets[table.CONTROL][0])
        return self._own()

    def _judge_lost(self) -> Effects:
        """Follow again what was lost only as far as the round in hand does not need it; or stop."""
        lost, self._lost = self._lost, []
        effects: Effects = []
        for event in lost:
            needed = self._needed(event.topic, event.partition)
            if needed is not None and event.offset >= needed:
                raise RemoteError(
                    f"{event.topic}[{event.partition}] no longer holds offset {event.offset}, which round "
                    f"{self.ledger.round} needs: the log is the state of a federation. Set the retention of its "
                    "topics to unlimited (`fdstream topics settings`) and start a new federation"
                )
            if needed is not None:
                effects.append(Follow(event.topic, event.partition, needed))
        return effects

    def _needed(self, topic: str, partition: int) -> int | None:
        """The first offset of a partition that is still to be read for the round in hand."""
        if topic == table.SHARDS:
            return self.ledger.round_opened.shards_start[partition]
        owner = self.owners.get(partition)
        needed: list[int | None] = []
        if self._is(topic, table.reports) and self.book is not None:
            needed.append(self.book.next_offset)
        if owner is not None:
            is_update = self._is_of_updates(topic)
            needed.append(owner.needed_of_updates if is_update else owner.needed_of_model(topic))
        return min((offset for offset in needed if offset is not None), default=None)

    def _is(self, topic: str, name: Callable[[int], str]) -> bool:
        return self._working_on > 0 and topic == name(
            table.slot_of(self._working_on, self.ledger.federation.slots)
        )

    @property
    def _carry_updates(self) -> bool:
        return self.ledger.opened is not None and self.ledger.reports_carry_updates

    def _is_of_updates(self, topic: str) -> bool:
        return self._working_on > 0 and topic == self.ledger.updates_topic(self._working_on)

    # Ownership

    def _own(self) -> Effects:
        """Turn to the round that is open now, and take up shards that came in."""
        if not self.caught_up or self.ledger.round == 0:
            return []
        effects = self._turn_to_round() if self.ledger.round != self._working_on else []
        self._take_up(self.assigned, {})
        return effects + self._judge_lost()

    def _turn_to_round(self) -> Effects:
        opened, entry = self.ledger.round_opened, self.ledger.round_entry
        assert entry is not None
        before = {shard: owner for shard, owner in self.owners.items() if owner.round == opened.round - 1}
        self._working_on = opened.round
        self._strategy, self._room = strategy_of(self.ledger.federation.settings), Room()
        effects = self._leave(self.owners.keys() - self.assigned)
        self.owners, self._fresh, self._fresh_book = {}, [], True
        signed = self.ledger.federation.settings.signed_reports
        self.book = ReportBook(opened, entry.record.offset, signed=signed, trust=self._trust)
        if not self._follows_shards:
            # Once is enough: the ledger keeps what shards say of rounds that it has not heard of yet.
            self._follows_shards = True
            for shard in self.ledger.layout.active_shards:
                effects.append(Follow(table.SHARDS, shard, opened.shards_start[shard]))
        self._take_up(self.assigned, before)
        return effects + self._hear_the_early()

    def _leave(self, shards: Iterable[int]) -> Effects:
        """Others read what is theirs now."""
        topics = [
            topic(slot)
            for slot in range(self.ledger.federation.slots)
            for topic in (table.updates, table.model, table.state)
        ]
        return [Unfollow(topic, shard) for shard in sorted(shards) for topic in topics]

    def _hear_the_early(self) -> Effects:
        """What has come of this round; whoever gets it takes it in turn."""
        early, self._early = self._early, Early()
        opened, slot = self.ledger.round_opened, self.ledger.slot
        starts = {(table.updates(slot), shard): start for shard, start in enumerate(opened.updates_start)}
        starts[table.reports(slot), 0] = opened.reports_start
        next_slot = table.slot_of(opened.round + 1, self.ledger.federation.slots)
        self._early_topics = (table.updates(next_slot), table.reports(next_slot)) if next_slot != slot else ()
        return [effect for entry in early.since(starts) for effect in self._on_entry(entry)]

    def _take_up(self, shards: Iterable[int], before: dict[int, ShardOwner]) -> None:
        if self.ledger.phase not in _OPEN or not self.ledger.round_opened.training:
            return
        assert self._strategy is not None
        for shard in sorted(set(shards) & set(self.ledger.layout.active_shards) - self.owners.keys()):
            owner = ShardOwner(
                shard, self.ledger, self._strategy, self._new_id, before.get(shard), self._room
            )
            self.owners[shard] = owner
            self._fresh.append(owner)

    def _follow_the_fresh(self) -> Effects:
        """What this step took up, from where it has got to: records of a round may stand behind its RoundOpened."""
        effects: Effects = []
        if self._fresh_book and self.book is not None:
            slot = table.slot_of(self._working_on, self.ledger.federation.slots)
            effects.append(Follow(table.reports(slot), 0, self.book.next_offset))
        fresh, self._fresh, self._fresh_book = self._fresh, [], False
        return effects + [effect for owner in fresh for effect in owner.begin()]

    @property
    def _shards(self) -> frozenset[int]:
        """What the group gave this server, and what it still finishes."""
        return self.assigned | self.owners.keys()

    def _duties(self) -> Effects:
        if not self.caught_up:
            return []
        shards = self._shards
        effects = self._refusals.write(shards, self.ledger.round)
        if self.book is not None:
            for owner in self.owners.values():
                effects += owner.duties(self.book)
        if COORDINATING_SHARD in shards:
            effects += self._coordinator.duties(self.book, self.now_seconds)
        return effects

    # Refusals

    def _maybe_reject(self, entry: Entry, reason: str | None) -> Effects:
        return [] if reason is None else self._reject(entry, reason, "")

    def _reject(self, entry: Entry, reason: str, detail: str) -> Effects:
        return [self._refusals.add(entry, reason, detail, self.ledger.round)]


def _told_of(report: Report, outcome: str, offset: int) -> Tell:
    return Tell("report", {"outcome": outcome, "report": report, "offset": offset})
