"""What the log says of clients in a round that somebody else may have acted for: their reports. Pure.

A client whose process stays knows what it has reported. One that is started anew for each round, perhaps in two
places at once, finds it in the round's reports, up to where they ended when it asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from fdstream.events import Effects, Entry, Follow, ReadEnds, Tag, Unfollow
from fdstream.ledger import Ledger
from fdstream.messages import Report
from fdstream.topics import table


class Recall:
    """Follows the reports of the ledger's current round, visit after visit from where the last one ended."""

    def __init__(self, ledger: Ledger) -> None:
        entry = ledger.round_entry
        assert entry is not None
        self.round = ledger.round
        self.topic = table.reports(ledger.slot)
        self.tag: Tag = ("reports", ledger.round)
        self._round_offset = entry.record.offset
        self._nonce = ledger.federation.nonce
        self._position = ledger.round_opened.reports_start
        self._reports: defaultdict[str, list[Entry]] = defaultdict(
            list
        )  # client -> its reports, in log order
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

    def take(self) -> Mapping[str, Sequence[Entry]] | None:
        """Every client's reports in log order, once they are complete and then no more in this visit."""
        if self._taken or not self.complete:
            return None
        self._taken = True
        return self._reports

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
        if isinstance(entry.message, Report) and self._is_of_round(entry.message):
            self._reports[entry.message.client].append(entry)
        return self.leave() if self.complete else []

    def on_lost(self) -> None:
        """The round's reports are deleted, so it is over, which `control` is about to say."""
        self._end = self._position

    def leave(self) -> Effects:
        """Read no more of it."""
        return [Unfollow(self.topic, 0)]

    def _is_of_round(self, report: Report) -> bool:
        return (report.nonce, report.round, report.round_offset) == (
            self._nonce,
            self.round,
            self._round_offset,
        )
