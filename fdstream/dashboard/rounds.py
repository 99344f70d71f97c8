"""One round as it can be seen from outside: who handed in what and when, and how long each phase took. Pure.

Facts come in the order in which partitions happen to be read; what is said about a round does not depend on it.
Times are the broker's, in seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles

from fdstream.events import Entry
from fdstream.messages import (
    Exclusion,
    Metrics,
    Report,
    RoundClosed,
    RoundClosing,
    RoundOpened,
    ShardResult,
    ShardVerdict,
)
from fdstream.server.book import ACCEPTED, DUPLICATE, FAILED, ReportBook

REPORTED, REFUSED = "reported", "refused"
NOT_IN_COHORT = "came too late for the cohort"


@dataclass(slots=True)
class Row:
    """One client's part in a round."""

    client: str
    attempt: str  # hexadecimal
    offset: int
    seconds: float  # after the round opened
    num_examples: int
    metrics: Metrics
    evaluate_metrics: Metrics
    outcome: str
    reason: str = ""
    revision: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """A phase of a round and when it was; `end` is None while it lasts."""

    phase: (
        str  # collecting, comparing, publishing, sealing; closing where the last three cannot be told apart
    )
    start: float
    end: float | None


@dataclass(slots=True)
class _Tally:
    """The first record of each shard, of one kind and ordinal."""

    shards: set[int] = field(default_factory=set)
    last: float = 0.0

    def add(self, shard: int, seconds: float) -> bool:
        if shard in self.shards:
            return False
        self.shards.add(shard)
        self.last = max(self.last, seconds)
        return True


class Round:
    """Everything about one round."""

    def __init__(
        self,
        opened: RoundOpened,
        entry: Entry,
        *,
        active_shards: int,
        min_clients: int,
        signed: bool = False,
    ) -> None:
        self.opened = opened
        self.number = opened.round
        self.training = opened.training
        self.opened_seconds = entry.record.timestamp_seconds
        self.rows: dict[str, Row] = {}
        self.spread: dict[str, dict[str, list[float]]] = {}
        self.extensions: list[float] = []
        self.closings: dict[int, tuple[float, RoundClosing]] = {}
        self.closed: RoundClosed | None = None
        self.closed_seconds: float | None = None
        self.evaluated: Metrics = {}
        self.reports_deleted = False
        self.rows_dropped = False
        self.revision = 0
        self._active = active_shards
        self._min_clients = min_clients
        self._verdicts: dict[int, _Tally] = {}
        self._results: dict[int, _Tally] = {}
        self._excluded: dict[int, str] = {}
        self._handed_in: dict[str, list[Row]] = {}  # what each client reported, in the order of the log
        self._accepted: frozenset[int] = frozenset()  # offsets, once it is closed
        self._counts = (0, 0)  # when the rows are dropped
        self._book: ReportBook | None = ReportBook(opened, entry.record.offset, signed=signed)

    # Facts

    def hear(self, entry: Entry) -> Row | None:
        """Take a record of the reports partition in; the row that has changed."""
        report, book = entry.message, self._book
        outcome = book.add(entry) if book is not None else None
        if outcome is None or not isinstance(report, Report) or report.round != self.number:
            return None
        row = self._row(entry, report)
        if outcome in (ACCEPTED, DUPLICATE):
            self._handed_in.setdefault(report.client, []).append(row)
            return self._choose(report.client)
        if report.client in self._handed_in:
            return None  # a bad one takes nothing away from a good one
        row.outcome, row.reason = REFUSED, f"it failed: {report.failure}" if outcome == FAILED else outcome
        self.rows[report.client] = row
        return row

    def _row(self, entry: Entry, report: Report) -> Row:
        return Row(
            client=report.client,
            attempt=report.attempt.hex(),
            offset=entry.record.offset,
            seconds=entry.record.timestamp_seconds - self.opened_seconds,
            num_examples=report.num_examples,
            metrics=report.metrics,
            evaluate_metrics=report.evaluate_metrics,
            outcome=REPORTED,
        )

    def _choose(self, client: str) -> Row:
        """The client's first report that no shard has left out, else its last one."""
        handed_in = self._handed_in[client]
        standing = [row for row in handed_in if row.offset not in self._excluded]
        row = self.rows[client] = (standing or handed_in[-1:])[0]
        if row.offset in self._excluded:
            row.outcome, row.reason = REFUSED, self._excluded[row.offset]
        self._mark_late(row)
        return row

    def close(self, seconds: float, closing: RoundClosing) -> list[Row]:
        """The candidates of an ordinal are written down; the rows that the coordinator did not take."""
        self.closings[closing.ordinal] = (seconds, closing)
        return self._leave_out(closing.refused)

    def judge(self, seconds: float, verdict: ShardVerdict) -> list[Row]:
        """A shard's verdict; the rows that it leaves out."""
        if not self._verdicts.setdefault(verdict.ordinal, _Tally()).add(verdict.shard, seconds):
            return []
        return self._leave_out(verdict.excluded)

    def publish(self, seconds: float, result: ShardResult) -> None:
        """A shard of the next model is in the log."""
        self._results.setdefault(result.ordinal, _Tally()).add(result.shard, seconds)

    def seal(self, seconds: float, closed: RoundClosed) -> list[Row]:
        """The round is over; the rows of those who came too late for it."""
        self.closed, self.closed_seconds = closed, seconds
        if self.closings:
            self._accepted = frozenset(self.closings[max(self.closings)][1].accepted)
        return [row for row in self.rows.values() if self._mark_late(row)]

    def end_of_reports(self) -> None:
        """The slot's next round is open: no report of this one can follow."""
        self._book = None

    def drop_rows(self) -> None:
        """Keep what is said of all clients together and forget each one."""
        self.sum_up()
        self._counts = self.counts
        self.rows, self._handed_in, self.rows_dropped = {}, {}, True
        self.end_of_reports()

    def _leave_out(self, exclusions: Iterable[Exclusion]) -> list[Row]:
        new = {exclusion.report: exclusion.reason for exclusion in exclusions}
        if not new:
            return []
        self._excluded |= new
        rows = [row for row in self.rows.values() if row.offset in new and row.client in self._handed_in]
        return [self._choose(row.client) for row in rows]

    # What follows

    @property
    def counts(self) -> tuple[int, int]:
        """How many clients have reported, and how many were refused."""
        if self.rows_dropped:
            return self._counts
        reported = sum(row.outcome == REPORTED for row in self.rows.values())
        return reported, len(self.rows) - reported

    def sum_up(self) -> None:
        """Bring `spread` up to date: of each metric the least, the quartiles and the most over the clients."""
        if self.rows:
            rows = [row for row in self.rows.values() if row.outcome == REPORTED]
            self.spread = {
                "train": spread(row.metrics for row in rows),
                "evaluate": spread(row.evaluate_metrics for row in rows),
            }

    @property
    def published_shards(self) -> frozenset[int]:
        """Shards whose next model is in the log."""
        return frozenset().union(*(tally.shards for tally in self._results.values()))

    @property
    def judged_shards(self) -> frozenset[int]:
        """Shards that have compared the last candidates."""
        last = max(self.closings, default=0)
        return frozenset(self._verdicts[last].shards) if last in self._verdicts else frozenset()

    @property
    def update_records(self) -> int:
        """Records in the updates topic from the round's start to its last closing, noise included."""
        if not self.closings or not self.training:
            return 0
        _, closing = self.closings[max(self.closings)]
        pairs = zip(closing.updates_end, self.opened.updates_start, strict=True)
        return sum(max(0, end - start) for end, start in pairs)

    def phases(self) -> list[Stretch]:
        """The round cut into its phases, the last one open while the round is."""
        cuts = [("collecting", self.opened_seconds)]
        for ordinal, (seconds, closing) in sorted(self.closings.items()):
            cuts += self._after_closing(ordinal, seconds, closing)
        return _stretches(cuts, self.closed_seconds)

    def _after_closing(self, ordinal: int, seconds: float, closing: RoundClosing) -> list[tuple[str, float]]:
        if not self.training:
            return [("sealing", seconds)]
        compared = self._complete(self._verdicts, ordinal)
        if compared is None:
            return [("closing" if self.closed is not None else "comparing", seconds)]
        cuts = [("comparing", seconds)]
        remaining = [offset for offset in closing.accepted if offset not in self._excluded]
        if len(remaining) < self._min_clients:
            return [*cuts, ("collecting", compared)]
        published = self._complete(self._results, ordinal)
        cuts.append(("publishing", compared))
        return cuts if published is None else [*cuts, ("sealing", published)]

    def _complete(self, tallies: Mapping[int, _Tally], ordinal: int) -> float | None:
        """When the last shard had its record, once all have."""
        tally = tallies.get(ordinal)
        return tally.last if tally is not None and len(tally.shards) >= self._active else None

    def _mark_late(self, row: Row) -> bool:
        """Whether the round was closed without it, though it is a good one."""
        late = self.closed is not None and row.outcome == REPORTED and row.offset not in self._accepted
        if late:
            row.reason = NOT_IN_COHORT
        return late


def _stretches(cuts: Sequence[tuple[str, float]], end: float | None) -> list[Stretch]:
    """Brokers' clocks differ a little: no phase ends before it starts."""
    found: list[Stretch] = []
    for index, (phase, start) in enumerate(cuts):
        begin = max([start, *(stretch.end or 0.0 for stretch in found[-1:])])
        stop = cuts[index + 1][1] if index + 1 < len(cuts) else end
        found.append(Stretch(phase, begin, None if stop is None else max(begin, stop)))
    return found


def spread(metrics: Iterable[Metrics]) -> dict[str, list[float]]:
    """Of each metric the minimum, the three quartiles and the maximum over those who have it."""
    values: dict[str, list[float]] = {}
    for each in metrics:
        for name, value in each.items():
            values.setdefault(name, []).append(value)
    return {name: _five_numbers(found) for name, found in values.items()}


def _five_numbers(values: list[float]) -> list[float]:
    middle = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return [min(values), *middle, max(values)]
