"""The state of a federation as anyone can read it from its topics. A pure core: entries in, effects out.

It follows `control`, the current round's reports and `members`, and writes nothing. What a watcher must not do is
matter: it is no member and holds nothing up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fdstream.events import Effects, Entry, Event, Follow
from fdstream.ledger import Ledger, Phase, lost_history
from fdstream.log import Lost
from fdstream.members import Members
from fdstream.messages import Heartbeat, Metrics
from fdstream.server.book import ReportBook
from fdstream.topics import table


@dataclass(frozen=True, slots=True)
class Status:
    """What there is to see. Accuracies and losses are those of the last round that closed."""

    phase: str
    round: int  # 0 before the first
    num_rounds: int
    min_clients: int
    reported: tuple[str, ...]  # clients, in this round, in the order of their reports
    failed: Mapping[str, str]  # client -> why, in this round
    refused: Mapping[
        str, str
    ]  # client -> why its report was not taken, in this round or else in the last one
    members: Mapping[str, str]  # name -> role and state, of those heard lately
    train_metrics: Metrics
    evaluate_metrics: Metrics
    global_metrics: Metrics
    model_sha256: str
    finished: str  # why, once it has


class Watcher:
    """Folds what it reads into a `Status`."""

    def __init__(self, *, members_start: int) -> None:
        self.ledger = Ledger()
        self._book: ReportBook | None = None
        self._refused_before: dict[str, str] = {}  # in the round before
        self.members = Members()
        self.latest_seconds = 0.0  # broker time of the newest record
        self.positions = {
            table.CONTROL: 0,
            table.MEMBERS: members_start,
        }  # what to read next; one partition each
        self.lost: set[str] = set()  # topics whose records from there on are deleted

    @property
    def protocol(self) -> int:
        """The version in which its federation's records are written."""
        return self.ledger.protocol

    def begin(self) -> Effects:
        return [Follow(topic, 0, offset) for topic, offset in self.positions.items()]

    def step(self, *events: Event) -> Effects:
        """Take events in, one after another; what to read next."""
        return [effect for event in events for effect in self._on(event)]

    def _on(self, event: Event) -> Effects:
        match event:
            case Lost() if event.topic == table.CONTROL:
                raise lost_history(event)
            case Lost() if event.offset < self.positions[event.topic]:
                # What was lost belongs to an earlier round of the slot.
                return [Follow(event.topic, event.partition, self.positions[event.topic])]
            case Lost():
                self.lost.add(event.topic)
            case Entry():
                return self._on_entry(event)
        return []

    def _on_entry(self, entry: Entry) -> Effects:
        record = entry.record
        self.positions[record.topic] = record.offset + 1
        self.latest_seconds = max(self.latest_seconds, record.timestamp_seconds)
        match entry.message:
            case Heartbeat() as heartbeat:
                self.members.hear(heartbeat, record.timestamp_seconds)
            case _ if self._book is not None and record.topic == table.reports(self.ledger.slot):
                self._book.add(entry)  # also what cannot be read: the book counts offsets
            case _ if entry.record.topic == table.CONTROL:
                return self._on_history(entry)
        return []

    def _on_history(self, entry: Entry) -> Effects:
        number, refused = self.ledger.round, self._refused
        self.ledger.fold(entry)
        if self.ledger.round == number:
            return []
        self._refused_before = refused
        opened, round_entry = self.ledger.round_opened, self.ledger.round_entry
        assert round_entry is not None
        signed = self.ledger.federation.settings.signed_reports
        self._book = ReportBook(opened, round_entry.record.offset, signed=signed)
        topic = table.reports(self.ledger.slot)
        self.positions[topic] = opened.reports_start
        self.lost.discard(topic)
        return [Follow(topic, 0, opened.reports_start)]

    def status(self) -> Status:
        """The state after what was read so far."""
        ledger, closed = self.ledger, self.ledger.closed_record
        settings = ledger.federation.settings if ledger.phase is not Phase.ABSENT else None
        newest = ledger.evaluated[max(ledger.evaluated)].metrics if ledger.evaluated else {}
        return Status(
            phase=ledger.phase.name.lower(),
            round=ledger.round,
            num_rounds=settings.num_rounds if settings else 0,
            min_clients=settings.min_clients if settings else 0,
            reported=tuple(report.client for report in self._book.reports.values()) if self._book else (),
            failed=dict(self._book.failures) if self._book else {},
            refused=self._refused or self._refused_before,
            members=self._alive(),
            train_metrics=closed.train_metrics if closed else {},
            evaluate_metrics=closed.evaluate_metrics if closed else {},
            global_metrics=newest,
            model_sha256=closed.model_sha256.hex() if closed else "",
            finished=ledger.finished.reason if ledger.finished else "",
        )

    @property
    def _refused(self) -> dict[str, str]:
        """Whom the round's RoundClosing says no to, by name where its report can be read."""
        closing, reports = self.ledger.closing, self._book.reports if self._book else {}
        refused = closing.refused if closing is not None else ()
        return {
            reports[each.report].client if each.report in reports else f"report {each.report}": each.reason
            for each in refused
        }

    def _alive(self) -> dict[str, str]:
        """Members heard lately, as of the newest record, by name."""
        alive = self.members.alive(self.latest_seconds)
        return {heartbeat.member: f"{heartbeat.role} {heartbeat.state}" for heartbeat in alive}
