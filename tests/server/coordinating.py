"""A coordinator on a stage, for its tests."""

from __future__ import annotations

from typing import Any

from fdstream.events import Append, Effects, Ends, ReadEnds
from fdstream.messages import Message, RoundClosing
from fdstream.server.coordinator import Coordinator
from fdstream.topics import table
from tests.server.records import (
    SECONDS,
    SETTINGS,
    E,
    Stage,
    all_of,
    federation,
    new_ids,
    only,
    report,
    round_opened,
)

DEADLINE = SECONDS + SETTINGS.deadline_seconds


class Bench(Stage):
    """A coordinator of the federation on the stage."""

    def __init__(self, *messages: Message) -> None:
        super().__init__(*messages)
        self.coordinator = Coordinator(self.ledger, new_ids())

    def duties(self, now_seconds: float = SECONDS) -> Effects:
        return self.coordinator.duties(self.book, now_seconds)

    def written(self, now_seconds: float = SECONDS) -> list[Message]:
        """What the coordinator writes now; other effects are passed over."""
        appends = all_of(Append, self.duties(now_seconds))
        assert all((a.topic, a.partition) == (table.CONTROL, 0) for a in appends)
        return [append.message for append in appends]

    def answer(self, ask: ReadEnds, ends: dict[str, tuple[int, ...]]) -> Effects:
        return self.coordinator.on_ends(Ends(ask.tag, ends))

    def past_deadline(self, now_seconds: float = DEADLINE, *, reports_end: int) -> Effects:
        """The deadline is seen to have passed, and the reports end here."""
        ask = only(ReadEnds, self.duties(now_seconds))
        assert ask.topics == (table.reports(self.ledger.slot),)
        assert self.answer(ask, {ask.topics[0]: (reports_end,)}) == []
        return self.duties(now_seconds)

    def close(self, *ends: int) -> RoundClosing:
        """It finds that it can close; what it writes where the updates end here."""
        ask = only(ReadEnds, self.duties())
        assert ask.topics == (table.updates(self.ledger.slot),)
        return written_in(self.answer(ask, {ask.topics[0]: ends}), RoundClosing)


def written_in(effects: Effects, kind: type[E]) -> E:
    """The one record that is written to control, of this class."""
    append = only(Append, effects)
    assert (append.topic, append.partition) == (table.CONTROL, 0)
    assert isinstance(append.message, kind)
    return append.message


def collecting(*reports: str, slots: int = 1, training: bool = True, **changes: Any) -> Bench:
    """Round 1 is open, and these clients have reported. With one slot nothing is asked ahead."""
    bench = Bench(federation(slots=slots, **changes), round_opened(training=training))
    assert bench.reports(*map(report, reports)) == ["accepted"] * len(reports)
    return bench
