"""What a federation's topics say, round by round and member by member, now and before. A pure core: entries in.

It lets a `Watcher` fold control, members and the round in hand, and reads on its own account what a status does not
need: the reports of earlier rounds, the shards' verdicts and results, and `rejected`. Bulk topics it never reads.
Records of different partitions come in any order: a report that comes before the round it answers is kept until then.
Whatever changes gets the next revision, so that "what has changed since" is a comparison (see `document`). Memory is
bounded: of long federations the oldest rounds lose their clients first, then themselves.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence

from fdstream.dashboard.parties import Events, Parties, Party, state_of
from fdstream.dashboard.refused import RefusedRecords
from fdstream.dashboard.rounds import REFUSED, REPORTED, Round, Row
from fdstream.dashboard.traffic import Sizes, sizes
from fdstream.events import Effect, Effects, Entry, Event, Follow, Tick
from fdstream.ledger import Ledger
from fdstream.log import Lost
from fdstream.members import Heard, patience_seconds
from fdstream.messages import (
    FederationFinished,
    FederationOpened,
    GlobalEvaluated,
    Heartbeat,
    Metrics,
    Rejected,
    Report,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    ShardResult,
    ShardVerdict,
)
from fdstream.status import Watcher
from fdstream.topics import table

MAX_ROWS = 20_000  # clients times rounds of which each is kept
MAX_ROUNDS = 5_000
MAX_HELD_SECONDS = 1.0  # a report may also name a round that never comes
_ATTEMPT = re.compile(r"[0-9a-f]{32}")
Place = tuple[str, int]


class Chronicle:
    """The fold. `starts` has, for every topic but control, where to begin in each partition."""

    def __init__(self, starts: Mapping[str, Sequence[int]]) -> None:
        self.watcher = Watcher(members_start=starts[table.MEMBERS][0])
        self.positions: dict[Place, int] = {(table.CONTROL, 0): 0}
        self.positions |= {
            (topic, index): start for topic, all_ in starts.items() for index, start in enumerate(all_)
        }
        self.lost: set[Place] = set()  # where reading has to be resumed by whoever can ask for the start
        self.revision = 0
        self.federation_revision = 0
        self.now_seconds = 0.0
        self.opened_seconds = 0.0
        self.finished_seconds: float | None = None
        self.rounds: dict[int, Round] = {}
        self.first_round = 1  # the first that is kept
        self.evaluations: dict[int, tuple[int, Metrics]] = {}  # round -> revision, of its model by a server
        self.parties = Parties()
        self.events = Events()
        self.refused = RefusedRecords()
        self.sizes = Sizes((), ())
        self._starts = {topic: list(all_) for topic, all_ in starts.items()}
        self._of_slot: dict[str, tuple[list[int], list[int]]] = {}  # reports topic -> starts, round numbers
        self._early: dict[int, list[Entry]] = {}  # what shards say of rounds not read yet
        self._held: dict[
            str, deque[tuple[float, Entry]]
        ] = {}  # topic -> reports from an early one on, since when
        self._seen: object = None  # of the federation as it was said last

    @property
    def ledger(self) -> Ledger:
        return self.watcher.ledger

    @property
    def current(self) -> Round | None:
        """The last round that was opened."""
        return self.rounds.get(self.ledger.round)

    # Events

    @property
    def protocol(self) -> int:
        """The version in which the federation's records are written."""
        return self.watcher.protocol

    def begin(self) -> Effects:
        return [Follow(table.CONTROL, 0, 0)]

    def begin_with_rest(self) -> Effects:
        """To be asked for when `control` has been read: with it every other record can be placed at once."""
        places = [(place, offset) for place, offset in self.positions.items() if place[0] != table.CONTROL]
        return [Follow(topic, partition, offset) for (topic, partition), offset in places]

    def step(self, *events: Event) -> Effects:
        """Take events in, in order; what to read next."""
        return [effect for event in events for effect in self._on(event)]

    def _on(self, event: Event) -> Effects:
        match event:
            case Entry():
                return self._on_entry(event)
            case Lost() if event.topic == table.CONTROL:
                return self.watcher.step(event)
            case Lost():
                self.lost.add((event.topic, event.partition))
            case Tick():
                self.now_seconds = max(self.now_seconds, event.now_seconds)
                return self._release()
        return []

    def resume(self, place: Place, start: int) -> Effects:
        """Go on where the log has records again: what is gone stays unknown."""
        self.lost.discard(place)
        topic, partition = place
        self._held.pop(topic, None)
        self.positions[place] = max(start, self.positions[place])
        self._starts[topic][partition] = start
        return [Follow(topic, partition, self.positions[place])]

    def refresh(self) -> None:
        """Bring everybody's state up to the time; to be called now and then."""
        for party in list(self.parties.by_name.values()):
            heard = self.watcher.members.heard.get(party.name)
            if party.here and heard is not None and not heard.is_here(self.now_seconds):
                self._part(party, "vanished", heard.seconds + patience_seconds(heard.heartbeat))
            self._show(party, heard)
        said = self._said()
        if said != self._seen:
            self._seen = said
            self.federation_revision = self._next()

    def _on_entry(self, entry: Entry) -> Effects:
        topic = entry.record.topic
        if self._held.get(topic) or self._is_early(entry):
            self._held.setdefault(topic, deque()).append((self.now_seconds, entry))
            return []
        effects = self._take(entry)
        return [*effects, *self._release()] if topic == table.CONTROL else effects

    def _is_early(self, entry: Entry) -> bool:
        """A report of a round whose opening has not been read."""
        report = entry.message
        return isinstance(report, Report) and report.round_offset >= self.positions[table.CONTROL, 0]

    def _release(self) -> Effects:
        """What waited for its round, or long enough."""
        long_ago, effects = self.now_seconds - MAX_HELD_SECONDS, Effects()
        for held in self._held.values():
            while held and (held[0][0] <= long_ago or not self._is_early(held[0][1])):
                effects += self._take(held.popleft()[1])
        return effects

    def _take(self, entry: Entry) -> Effects:
        record = entry.record
        self.positions[record.topic, record.partition] = record.offset + 1
        self.now_seconds = max(self.now_seconds, record.timestamp_seconds)
        heard = self._heard_before(entry)
        if record.topic in (table.SHARDS, table.REJECTED):
            self._on_servers_word(entry)
            return []
        effects = [each for effect in self.watcher.step(entry) for each in self._following(effect)]
        if record.topic == table.CONTROL:
            self._on_control(entry)
        elif isinstance(entry.message, Heartbeat):
            self._on_heartbeat(entry.message, record.timestamp_seconds, heard)
        elif record.topic in self._of_slot:
            self._on_report(entry)
        return effects

    def _following(self, effect: Effect) -> Effects:
        """What the watcher wants read from where a round starts: what was taken of it too early comes again."""
        if not isinstance(effect, Follow):
            return [effect]
        place = (effect.topic, effect.partition)
        offset = max(effect.offset, self._starts[effect.topic][effect.partition])
        if self.positions[place] <= offset:
            return []  # it is followed anyway
        self.positions[place] = offset
        self._held.pop(effect.topic, None)
        return [Follow(*place, offset)]

    # Control

    def _on_control(self, entry: Entry) -> None:
        message, seconds = entry.message, entry.record.timestamp_seconds
        if isinstance(message, GlobalEvaluated):
            if self.ledger.evaluated.get(message.round) is message:
                self.evaluations[message.round] = (self._next(), message.metrics)
            return
        if self.ledger.control_offset != entry.record.offset:
            return  # noise
        match message:
            case FederationOpened():
                self.opened_seconds = seconds
                self.sizes = sizes(self.ledger.layout, self.ledger.codec, self.ledger.model_codec)
            case RoundOpened():
                self._open(message, entry)
            case FederationFinished():
                self.finished_seconds = seconds
            case RoundExtended() | RoundClosing() | RoundClosed():
                self._on_course(message, seconds)

    def _on_course(self, message: RoundExtended | RoundClosing | RoundClosed, seconds: float) -> None:
        made = self.rounds[message.round]
        match message:
            case RoundExtended():
                made.extensions.append(seconds)
            case RoundClosing():
                refused = made.close(seconds, message)
                self._touch_rows(refused)
                for row in refused:
                    self._blame(row.client, row.reason, made.number, seconds)
            case RoundClosed():
                self._touch_rows(made.seal(seconds, message))
        self._touch(made)

    def _open(self, opened: RoundOpened, entry: Entry) -> None:
        ledger = self.ledger
        active, settings = len(ledger.layout.active_shards), ledger.federation.settings
        signed = settings.signed_reports
        made = Round(opened, entry, active_shards=active, min_clients=settings.min_clients, signed=signed)
        self.rounds[made.number] = made
        topic = table.reports(ledger.slot)
        starts, numbers = self._of_slot.setdefault(topic, ([], []))
        starts.append(opened.reports_start)
        numbers.append(made.number)
        made.reports_deleted = opened.reports_start < self._starts.get(topic, [0])[0]
        for early in self._early.pop(made.number, []):
            self._on_shard(early)
        self._touch(made)
        self._forget()

    def _forget(self) -> None:
        """Keep within bounds; the oldest go first, the last round never."""
        total = sum(len(made.rows) for made in self.rounds.values())
        for made in list(self.rounds.values())[:-1]:
            if total <= MAX_ROWS:
                break
            if made.rows:
                total -= len(made.rows)
                made.drop_rows()
                self._touch(made)
        while len(self.rounds) > MAX_ROUNDS:
            del self.rounds[self.first_round]
            self.first_round += 1

    # Shards and rejected

    def _on_servers_word(self, entry: Entry) -> None:
        message = entry.message
        if isinstance(message, Rejected):
            self._on_rejected(message, entry.record.timestamp_seconds)
        elif isinstance(message, ShardVerdict | ShardResult):
            self.ledger.fold(entry)
            if message.round > self.ledger.round:
                self._early.setdefault(message.round, []).append(entry)
            else:
                self._on_shard(entry)

    def _on_shard(self, entry: Entry) -> None:
        message, seconds = entry.message, entry.record.timestamp_seconds
        assert isinstance(message, ShardVerdict | ShardResult)
        made, federation = self.rounds.get(message.round), self.ledger.federation
        if made is None or message.nonce != federation.nonce or message.shard != entry.record.partition:
            return
        if isinstance(message, ShardVerdict):
            left_out = made.judge(seconds, message)
            self._touch_rows(left_out)
            for row in left_out:
                self._blame(row.client, row.reason, made.number, seconds)
        else:
            made.publish(seconds, message)
        self._touch(made)

    def _on_rejected(self, rejected: Rejected, seconds: float) -> None:
        client = self._sender(rejected.sender)
        refused = self.refused.add(rejected, seconds, client)
        refused.revision = self.refused.revision = self._next()
        if client:
            self._blame(client, _as_one(rejected.reason, rejected.detail), self.ledger.round, seconds)

    def _sender(self, sender: str) -> str:
        """The client's name: chunks name an attempt, which its report ties to a client."""
        if not _ATTEMPT.fullmatch(sender):
            return sender
        recent = list(self.rounds.values())[-2:]
        rows = (row for made in recent for row in made.rows.values() if row.attempt == sender)
        return next((row.client for row in rows), "")

    def _blame(self, client: str, reason: str, number: int, seconds: float) -> None:
        party = self.parties.known(client, "client", seconds)
        party.reason, party.reason_round = reason, number
        party.revision = self._next()

    # Reports and heartbeats

    def _on_report(self, entry: Entry) -> None:
        starts, numbers = self._of_slot[entry.record.topic]
        index = bisect_right(starts, entry.record.offset) - 1
        made = self.rounds.get(numbers[index]) if index >= 0 else None
        if made is None or made.reports_deleted:
            return
        before = self.rounds.get(made.number - self.ledger.federation.slots)
        if before is not None:
            before.end_of_reports()
        clients = len(made.rows)
        row = made.hear(entry)
        if row is None:
            return
        self._touch_rows([row])
        self._touch(made)
        self._take_part(made, row, entry.record.timestamp_seconds, new=len(made.rows) > clients)

    def _take_part(self, made: Round, row: Row, seconds: float, *, new: bool) -> None:
        party = self.parties.known(row.client, "client", seconds)
        if row.outcome == REFUSED:
            self._blame(row.client, row.reason, made.number, seconds)
        if row.outcome == REPORTED and made.number >= party.round:
            party.round = made.number
        if new:
            party.num_reports += row.outcome == REPORTED
            party.received_bytes += self.sizes.model_bytes
            party.sent_bytes += self.sizes.update_bytes if made.training and row.outcome == REPORTED else 0
        party.revision = self._next()

    def _heard_before(self, entry: Entry) -> Heard | None:
        message = entry.message
        return self.watcher.members.heard.get(message.member) if isinstance(message, Heartbeat) else None

    def _on_heartbeat(self, heartbeat: Heartbeat, seconds: float, before: Heard | None) -> None:
        party = self.parties.known(heartbeat.member, heartbeat.role, seconds)
        party.shards = heartbeat.profile.get("shards", "") if heartbeat.role == "server" else ""
        if party.here and before is not None and not before.is_here(seconds):
            self._part(party, "vanished", before.seconds + patience_seconds(before.heartbeat))
        here = self.watcher.members.heard[heartbeat.member].is_here(seconds)
        if here and not party.here:
            party.here = True
            self._happened("joined" if before is None else "came back", party, seconds)
        elif party.here and not here:
            self._part(party, "left", seconds)

    def _part(self, party: Party, how: str, seconds: float) -> None:
        party.here = False
        self._happened(how, party, seconds)

    def _happened(self, kind: str, party: Party, seconds: float) -> None:
        self.events.add(kind, party.role, party.name, seconds).revision = self._next()

    # What is shown

    def _show(self, party: Party, heard: Heard | None) -> None:
        state = self._server_state(party, heard) if party.role == "server" else self._state(party, heard)
        if (state, party.shards) != (party.state, party.shown_shards):
            party.state, party.shown_shards = state, party.shards
            party.revision = self._next()

    def _state(self, party: Party, heard: Heard | None) -> str:
        made = self.current
        row = made.rows.get(party.name) if made is not None else None
        opened_seconds = made.opened_seconds if made is not None else 0.0
        state = state_of(heard, row, opened_seconds, here=party.here)
        refused = row is None and made is not None and party.reason_round == made.number
        return (
            REFUSED if refused and state in ("waiting", "gone") and (heard is None or party.here) else state
        )

    def _server_state(self, party: Party, heard: Heard | None) -> str:
        return heard.heartbeat.state if heard is not None and party.here else "gone"

    def _said(self) -> object:
        ledger = self.ledger
        return (ledger.phase, ledger.round, ledger.ordinal, ledger.finished, len(ledger.extensions))

    def _touch(self, made: Round) -> None:
        made.revision = self._next()

    def _touch_rows(self, rows: Sequence[Row]) -> None:
        for row in rows:
            row.revision = self._next()

    def _next(self) -> int:
        self.revision += 1
        return self.revision


def _as_one(reason: str, detail: str) -> str:
    return detail if detail.startswith(reason) else ": ".join(filter(None, (reason, detail)))
