"""What the log says of clients in a round that somebody else may have acted for: their reports. Pure.

A client whose process stays knows what it has reported. One that is started anew for each round, perhaps in two
places at once, finds it in the round's reports, up to where they ended when it asked. Of those in a client's name
only those count that servers would take for the client's: where reports are signed, with its own key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from fdstream.events import Effects, Entry, Follow, ReadEnds, Tag, Unfollow
from fdstream.fitting import Fit
from fdstream.ledger import Ledger
from fdstream.messages import Report
from fdstream.topics import table

Author = tuple[str, bytes | None]  # client and key


class Recall:
    """Follows the reports of the ledger's current round, visit after visit from where the last one ended."""

    def __init__(self, ledger: Ledger) -> None:
        entry = ledger.round_entry
        assert entry is not None
        self.round = ledger.round
        self.topic = table.reports(ledger.slot)
        self.tag: Tag = ("reports", ledger.round)
        self._signed = ledger.federation.settings.signed_reports
        self._fit = Fit(ledger.round_opened, entry.record.offset, signed=self._signed)
        self._position = ledger.round_opened.reports_start
        # By client and key: its reports by attempt, a copy is none; and signed ones that nobody has checked.
        self._fitting: defaultdict[Author, dict[bytes, Entry]] = defaultdict(dict)
        self._unchecked: defaultdict[Author, list[Entry]] = defaultdict(list)
        self._asked = self._taken = False
        self._end: int | None = None

    @property
    def complete(self) -> bool:
        """Whether everything is read that was there when it was asked."""
        return self._end is not None and self._position >= self._end

    def forget_end(self) -> None:
        """Another visit begins: there may be more by now."""
        self._asked = self._taken = False
        self._end = None

    def take(self, clients: Iterable[str], key: bytes | None) -> Mapping[str, list[Entry]] | None:
        """The reports of these clients, whose public key is `key`, in log order.

        Once they are complete, and then no more in this visit.
        """
        if self._taken or not self.complete:
            return None
        self._taken = True
        return {client: self._of(client, key) for client in clients}

    def ask(self) -> Effects:
        """Ask for the end, once a visit."""
        if self._asked:
            return []
        self._asked = True
        return [ReadEnds(self.tag, (self.topic,))]

    def on_end(self, end: int) -> Effects:
        """The answer."""
        self._end = end
        return [] if self.complete else [Follow(self.topic, 0, self._position)]

    def on_entry(self, entry: Entry) -> Effects:
        """The next record of the reports partition."""
        if self.complete or entry.record.offset < self._position:
            return []
        self._position = entry.record.offset + 1
        if isinstance(entry.message, Report):
            self._hear(entry.message, entry)
        return self.leave() if self.complete else []

    def on_lost(self) -> None:
        """The round's reports are deleted, so it is over, which `control` is about to say."""
        self._end = self._position

    def leave(self) -> Effects:
        """Read no more of it."""
        return [Unfollow(self.topic, 0)]

    def _hear(self, report: Report, entry: Entry) -> None:
        if self._signed:
            key = None if report.signature is None else report.signature.key
            self._unchecked[report.client, key].append(entry)
        else:
            self._judge((report.client, None), report, entry)

    def _of(self, client: str, key: bytes | None) -> list[Entry]:
        """To check every signature would take a visit too long: only its own are."""
        author = client, key if self._signed else None
        for entry in self._unchecked.pop(author, ()):
            assert isinstance(entry.message, Report)
            self._judge(author, entry.message, entry)
        return list(self._fitting[author].values())

    def _judge(self, author: Author, report: Report, entry: Entry) -> None:
        """Keep it where it fits, without what it carries: a thousand small updates would be too much."""
        if self._fit.misfit(report, entry.record.value) is None:
            kept = Entry(replace(entry.record, value=b""), replace(report, data=b""))
            self._fitting[author].setdefault(report.attempt, kept)
