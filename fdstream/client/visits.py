"""What a session that comes and goes reads before it acts: `control` to its end, then the round's reports. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fdstream.client.recall import Recall
from fdstream.events import Effects, Ends, Entry, Follow, ReadEnds, Unfollow
from fdstream.ledger import Ledger, another_life
from fdstream.messages import RoundOpened
from fdstream.topics import table

_HISTORY = ("history",)


class Visits:
    """How far the log is read, visit after visit from where the last one ended."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._position = 0  # in control, what to read next
        self._resumed_at = 0  # where this visit began
        self._end: int | None = None  # of control when this visit began, once known
        self._recall: Recall | None = None

    def begin(self) -> Effects:
        """A visit begins."""
        self._resumed_at, self._end = self._position, None
        if self._recall is not None:
            self._recall.forget_end()
        return [ReadEnds(_HISTORY, (table.CONTROL,)), Follow(table.CONTROL, 0, self._position)]

    def leave(self) -> Effects:
        """The end of a visit: nothing is read until the next."""
        recalled = [] if self._recall is None else self._recall.leave()
        return [Unfollow(table.CONTROL, 0), *recalled]

    @property
    def has_history(self) -> bool:
        """Whether control is read to where it ended when this visit began."""
        return self._end is not None and self._position >= self._end

    @property
    def has_recalled(self) -> bool:
        """Whether the current round's reports are read to where they ended when it was asked."""
        recall = self._recall
        return recall is not None and recall.round == self._ledger.round and recall.complete

    def recall(self) -> Effects:
        """Read the current round's reports."""
        if self._recall is None or self._recall.round != self._ledger.round:
            self._recall = Recall(self._ledger)
        return self._recall.ask()

    def take_reports(self, clients: Iterable[str], key: bytes | None) -> Mapping[str, list[Entry]] | None:
        """These clients' reports of the round, once they are all there; then None until the next visit."""
        return self._recall.take(clients, key) if self._recall is not None else None

    def on_ends(self, event: Ends) -> Effects:
        """An answer. Raises `RemoteError` where control is shorter than what was read of it."""
        if event.tag == _HISTORY:
            (self._end,) = event.offsets[table.CONTROL]
            if self._end < self._position:
                raise another_life()
        elif self._recall is not None and event.tag == self._recall.tag:
            (end,) = event.offsets[self._recall.topic]
            return self._recall.on_end(end)
        return []

    def on_history(self, entry: Entry) -> None:
        """The next control record. Raises `RemoteError` where others hold rounds since the last visit."""
        self._position = entry.record.offset + 1
        opened, message = self._ledger.opened, entry.message
        if opened is None or not entry.record.offset >= self._resumed_at > 0:
            return
        if isinstance(message, RoundOpened) and message.nonce != opened.nonce:
            raise another_life()

    def recalls(self, topic: str) -> bool:
        """Whether the topic's records are for `on_report`."""
        return self._recall is not None and topic == self._recall.topic

    def on_report(self, entry: Entry) -> Effects:
        """A record of the reports."""
        return [] if self._recall is None else self._recall.on_entry(entry)

    def on_lost(self) -> None:
        """The reports are deleted."""
        if self._recall is not None:
            self._recall.on_lost()
