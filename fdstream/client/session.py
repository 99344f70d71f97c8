"""A client's part in a federation, as a pure core: when to take part, and what to write.

One core serves any number of virtual clients behind one connection; they share the history and the received model
and differ only in their names. It knows no threads, no clock and no user code: whoever drives it calls `due`,
does the work, and hands back what came out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from fdstream.client.receiver import Receiver
from fdstream.client.updates import Update, Updates
from fdstream.client.visits import Visits
from fdstream.dtypes import Array
from fdstream.events import (
    Effects,
    Ends,
    Entry,
    Event,
    Follow,
    Tell,
    Upload,
    Uploaded,
)
from fdstream.ledger import Ledger, Phase, lost_history
from fdstream.log import Lost
from fdstream.messages import (
    FederationOpened,
    Refusal,
    Report,
    RoundClosing,
    RoundExtended,
)
from fdstream.topics import table
from fdstream.trust import NO_PINS, Pins

MAX_TRIES = 3  # reports of one client in one round


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a client did with a round's model. With `failure` set only that counts."""

    weights: Mapping[str, Array] | None = None  # None in a round without training
    num_examples: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    evaluated_examples: int = 0
    evaluate_metrics: Mapping[str, float] = field(default_factory=dict)
    failure: str | None = None


def is_sampled(sampling_nonce: bytes, client: str, fraction: float) -> bool:
    """Whether the client is asked: its hash, as a number in [0, 1), lies below the fraction.

    The hash is the first 8 bytes, big-endian, of SHA-256 over the nonce and the client's name in UTF-8. A larger
    fraction asks everyone whom a smaller one asked.
    """
    if fraction >= 1.0:
        return True  # in most federations: thousands of clients need no hash each
    digest = hashlib.sha256(sampling_nonce + client.encode()).digest()
    return int.from_bytes(digest[:8], "big") < fraction * 2.0**64


class Standing(Enum):
    """What a round has of a client."""

    NOT_ASKED = "the round does not ask it"
    DUE = "it is to work on the round's model"
    REPORTED = "its report is on its way or in the log"
    FAILED = "it reported that it failed, and has not been asked again"
    LEFT_OUT = "its report was left out, and it has none left"


@dataclass(slots=True)
class _Part:
    """One client in one round."""

    tries: int = 0
    extensions_seen: int = 0
    report: int | None = None  # offset of its last report, once acknowledged
    failed: bool = False
    update: Update | None = None  # its last one
    uploading: bool = False
    told_refused: int | None = None  # offset of the report that it heard was refused


class Session:
    """Follows the federation for these clients until it is finished; or `visit` by `visit`, for whoever comes."""

    def __init__(self, clients: Sequence[str], new_id: Callable[[], bytes], pins: Pins = NO_PINS) -> None:
        self.ledger = Ledger()
        self.receiver = Receiver(self.ledger)
        self.clients = tuple(clients)
        self._new_id = new_id
        self._pins = pins
        self._refused: dict[
            int, str
        ] = {}  # offset of a report of this round -> why the servers did not take it
        self._parts: dict[str, _Part] = {}
        self._round = 0
        self._visits: Visits | None = None  # where it comes and goes
        self._key: bytes | None = None
        self._received = 0  # the last round whose model has come
        self._pending: dict[bytes, Update] = {}  # by attempt
        self._updates = Updates(self.ledger)
        self._num_rejected: Counter[str] = Counter()  # by reason

    @property
    def protocol(self) -> int:
        """The version in which its federation's records are written."""
        return self.ledger.protocol

    @property
    def finished(self) -> bool:
        return self.ledger.phase is Phase.FINISHED

    def begin(self) -> Effects:
        return [Follow(table.CONTROL, 0, 0)]

    def step(self, *events: Event) -> Effects:
        """Take events in, one after another; what to do about them."""
        return [*(effect for event in events for effect in self._on(event)), *self._tell_of_model()]

    def _on(self, event: Event) -> Effects:
        match event:
            case Entry():
                return self._on_entry(event)
            case Uploaded():
                return self._on_uploaded(event)
            case Ends() if self._visits is not None:
                return [*self._visits.on_ends(event), *self._follow_round()]
            case Lost() if event.topic == table.CONTROL:
                raise lost_history(event)
            case Lost() if self._visits is not None and self._visits.recalls(event.topic):
                self._visits.on_lost()
                return self._follow_round()
            case Lost():
                return self.receiver.on_lost(event)
        return []

    # Visits

    def visit(self, clients: Sequence[str], key: bytes | None = None) -> Effects:
        """Act for these clients in the round that is open now; others may have done so before, elsewhere.

        What stands in control is read to its end first, and then the round's reports: they say who has answered.
        `key` is the clients' public key: where reports are signed, those that it has not signed are not theirs.
        """
        self.clients, self._key = tuple(clients), key
        self._updates.forget_all_but(clients)
        if self._visits is None:
            self._visits = Visits(self.ledger)
        return self._visits.begin()

    @property
    def knows(self) -> bool:
        """Whether, in a visit, it is read who is due, and the model too where somebody is."""
        assert self._visits is not None
        if not (self._visits.has_history and self.ledger.asks_for_reports):
            return self._visits.has_history
        return self._visits.has_recalled and (self.receiver.complete or not self.asked())

    def leave(self) -> Effects:
        """The end of a visit: nothing is read until the next."""
        assert self._visits is not None
        return [*self._visits.leave(), *self.receiver.release(stop=True)]

    def asked(self) -> list[str]:
        """The clients that the open round asks and that have not answered; in a visit once it `knows`."""
        if not self.ledger.asks_for_reports:
            return []
        return [client for client in self.clients if self.standing(client) is Standing.DUE]

    def _part_of(self, reports: Sequence[Entry]) -> _Part:
        """What a client has done in the round. An extension that came after its last report was not known to it."""
        if not reports:
            return _Part()
        last = reports[-1]
        assert isinstance(last.message, Report)
        seconds = last.record.timestamp_seconds
        seen = sum(entry.record.timestamp_seconds <= seconds for entry in self.ledger.extensions)
        return _Part(len(reports), seen, last.record.offset, last.message.failure is not None)

    def due(self) -> list[str]:
        """The clients that are to work on the received model now."""
        return self.asked() if self.receiver.complete else []

    def is_due(self, client: str) -> bool:
        """Whether this client is one of them."""
        here = self.ledger.asks_for_reports and self.receiver.complete
        return here and self.standing(client) is Standing.DUE

    def report(self, client: str, outcome: Outcome) -> Effects:
        """Write what a client did: its update's chunks first, its report once they are acknowledged."""
        part = self._parts[client]
        part.tries += 1
        part.uploading = True
        part.update = None
        attempt = self._new_id()
        report = self._report(client, attempt, outcome)
        if outcome.weights is None or outcome.failure is not None:
            return [self._upload_report(report)]
        assert self.receiver.assembly is not None
        part.update = update = self._updates.begin(report)
        chunks = self._updates.chunks(update, self.receiver.assembly.model, outcome.weights)
        told = self._tell_of_lost_memory(client)
        if self.ledger.reports_carry_updates:
            carried = b"".join(chunk.data for _, chunk in chunks)
            return [*told, self._upload_report(self._updates.reported(update, carried))]
        self._pending[attempt] = update
        return [*told, Upload(("update", attempt), self.ledger.updates_topic(report.round), chunks)]

    def refusal(self, client: str) -> str | None:
        """Why the client's last update was not sent, once its chunks are drawn; None where it was."""
        update = self._parts[client].update
        return None if update is None else update.failure

    def server_refusal(self, client: str) -> str | None:
        """Why the servers did not take the client's last report of this round, if they said so."""
        return self._refused.get(-1 if (offset := self._parts[client].report) is None else offset)

    def is_uploading(self, client: str) -> bool:
        """Whether something that it handed in is not acknowledged yet."""
        part = self._parts.get(client)
        return part is not None and part.uploading

    def release(self) -> Effects:
        """Drop the model, if nobody here is asked any more: every upload of those who were is drawn."""
        if self.asked():
            return []
        return self.receiver.release(stop=not self._reads_on)

    @property
    def _reads_on(self) -> bool:
        """Whether models are read as they come: who comes and goes, or is not always asked, reads one when it is."""
        return self._visits is None and self.ledger.federation.settings.fraction == 1.0

    # Events

    def _on_entry(self, entry: Entry) -> Effects:
        told: Effects = [self._rejected(entry, entry.message)] if isinstance(entry.message, Refusal) else []
        if entry.record.topic == table.CONTROL:
            return [*told, *self._on_history(entry), *self._follow_round()]
        if self._visits is not None and self._visits.recalls(entry.record.topic):
            return [*told, *self._visits.on_report(entry), *self._follow_round()]
        self.receiver.on_chunk(entry)
        return told

    def _tell_of_model(self) -> Effects:
        """Once a round: all of its model is here, checked."""
        if self._received == self._round or not self.receiver.complete:
            return []
        self._received = self._round
        entry = self.ledger.round_entry
        assert entry is not None
        facts = {
            "round": self._round,
            "opened_seconds": entry.record.timestamp_seconds,
            "clients": self.due(),
        }
        return [Tell("model received", facts | {"model_bytes": self.ledger.layout.model_bytes})]

    def _on_history(self, entry: Entry) -> Effects:
        message = entry.message
        if self._visits is not None:
            self._visits.on_history(entry)
        if isinstance(message, Refusal):
            return []
        if not self.ledger.fold(entry):
            noise = Refusal("not signed by a server", "")
            return [] if self.ledger.is_signed(entry) else [self._rejected(entry, noise)]
        if isinstance(message, FederationOpened):
            self._pins.check(message)
        if isinstance(message, RoundClosing):
            self._refused |= {exclusion.report: exclusion.reason for exclusion in message.refused}
            return self._hear_refusals(self._parts)
        return []

    def _hear_refusals(self, clients: Iterable[str]) -> Effects:
        """Tell each of these clients, once, that its report was not taken and why."""
        told: Effects = []
        for client in clients:
            part = self._parts[client]
            if part.report in self._refused and part.told_refused != part.report:
                part.told_refused = part.report
                facts = {"client": client, "round": self._round, "reason": self._refused[part.report]}
                told.append(Tell("report refused", facts))
        return told

    def _rejected(self, entry: Entry, refusal: Refusal) -> Tell:
        """Count a record that cannot be read; to dead-letter it is the servers' part."""
        self._num_rejected[refusal.reason] += 1
        record, count = entry.record, self._num_rejected[refusal.reason]
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        return Tell("rejected", place | {"reason": refusal.reason, "count": count})

    def _follow_round(self) -> Effects:
        """Turn to a new round, and get its model where somebody here is asked."""
        visits = self._visits
        if not self.ledger.asks_for_reports or (visits is not None and not visits.has_history):
            return []
        if self._round != self.ledger.round:
            self._round = self.ledger.round
            self._parts = {client: _Part() for client in self.clients}
            self._refused.clear()
            self._pending.clear()
        if visits is not None:
            if not visits.has_recalled:
                return visits.recall()
            if (reports := visits.take_reports(self.clients, self._key)) is not None:
                self._parts = {client: self._part_of(own) for client, own in reports.items()}
        return self._receive_for(self.clients)

    def _receive_for(self, clients: Iterable[str]) -> Effects:
        """Get the round's model if one of these clients is asked."""
        if self.receiver.receiving or not self.ledger.asks_for_reports:
            return []
        due = any(self.standing(client) is Standing.DUE for client in clients)
        return self.receiver.begin(ahead=self._reads_on) if due else []

    def _on_uploaded(self, event: Uploaded) -> Effects:
        kind, what = event.tag[:2]
        if kind == "report":
            told = Tell("reported", {"client": what, "round": event.tag[2]})
            return [told, *self._on_reported(what, event)]
        if what not in self._pending:
            return []
        return [self._upload_report(self._updates.reported(self._pending.pop(what)))]

    def _on_reported(self, client: str, event: Uploaded) -> Effects:
        """A report is in the log. There may be thousands of clients here, and it is the word of one."""
        part = self._parts.get(client)
        if part is None or event.tag[2] != self._round:
            return []
        part.report, part.uploading = next(iter(event.starts.values())), False
        return [*self._hear_refusals([client]), *self._receive_for([client])]

    # One client

    def standing(self, client: str) -> Standing:
        """Where a client stands in the round that is open; in a visit once it `knows`."""
        part = self._parts[client]
        if part.uploading:
            return Standing.REPORTED
        if part.tries == 0:
            opened = self.ledger.round_opened
            sampled = is_sampled(opened.sampling_nonce, client, self.ledger.fraction)
            return Standing.DUE if sampled else Standing.NOT_ASKED
        left_out = self._is_left_out(part)
        if part.tries < MAX_TRIES and (left_out or self._may_mend(part)):
            return Standing.DUE
        if left_out:
            return Standing.LEFT_OUT
        return Standing.FAILED if part.failed else Standing.REPORTED

    def _is_left_out(self, part: _Part) -> bool:
        """Whether an extension since its last report leaves that out, and so asks this client once more."""
        return any(
            isinstance(entry.message, RoundExtended) and part.report in entry.message.excluded
            for entry in self._news(part)
        )

    def _may_mend(self, part: _Part) -> bool:
        return part.failed and bool(self._news(part))

    def _news(self, part: _Part) -> list[Entry]:
        return self.ledger.extensions[part.extensions_seen :]

    def _report(self, client: str, attempt: bytes, outcome: Outcome) -> Report:
        entry = self.ledger.round_entry
        assert entry is not None
        self._parts[client].extensions_seen = len(self.ledger.extensions)
        return Report(
            nonce=self.ledger.federation.nonce,
            client=client,
            attempt=attempt,
            round=self.ledger.round,
            round_offset=entry.record.offset,
            num_examples=outcome.num_examples,
            metrics=outcome.metrics,
            evaluated_examples=outcome.evaluated_examples,
            evaluate_metrics=outcome.evaluate_metrics,
            digests=(),
            failure=outcome.failure,
        )

    def _upload_report(self, report: Report) -> Upload:
        self._parts[report.client].failed = report.failure is not None
        topic = table.reports(table.slot_of(report.round, self.ledger.federation.slots))
        return Upload(("report", report.client, report.round), topic, [(0, report)])

    def _tell_of_lost_memory(self, client: str) -> Effects:
        if not self._updates.lacks_memory(client) or self._parts[client].tries > 1:
            return []
        facts = {"client": client, "round": self.ledger.round, "codec": self.ledger.codec.text}
        return [Tell("without memory", facts)]
