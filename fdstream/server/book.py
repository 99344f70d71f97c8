"""The reports of one round, judged in log order. Pure; every server keeps one and all come to the same view.

Which reports are candidates is a function of the reports' bytes and of the exclusions in the log, so a server
that starts late and reads the partition again ends with the same candidates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import fsum

from fdstream.events import Entry
from fdstream.messages import MAX_METRIC, MAX_METRICS, Report, RoundOpened

MAX_REPORTS_OF_A_CLIENT = 3  # one, and two more after exclusions

ACCEPTED = "accepted"
DUPLICATE = "duplicate"
FAILED = "failed"
LATE = "late"


class ReportBook:
    """Folds the reports partition of one round from its start offset."""

    def __init__(self, opened: RoundOpened, round_offset: int) -> None:
        self.opened = opened
        self.round_offset = round_offset
        self.reports: dict[int, Report] = {}  # offset -> valid report, in log order
        self.failures: dict[str, str] = {}  # client -> why, the last time
        self.next_offset = opened.reports_start
        self._candidates: dict[str, int] = {}  # client -> offset of its report that stands
        self._reports_of: dict[str, int] = {}
        self._attempts: dict[bytes, int] = {}
        self._excluded: Mapping[int, str] = {}

    def add(self, entry: Entry) -> str | None:
        """Judge the next record of the reports partition; the outcome, or why it is refused.

        None for a record out of turn: judged already, or delivered before the partition is followed from here.
        """
        offset = entry.record.offset
        if offset != self.next_offset:
            return None
        self.next_offset += 1
        report = entry.message
        if not isinstance(report, Report):
            return "not a report"
        refusal = self._refusal(report, offset)
        if refusal is not None:
            return refusal
        if report.failure is not None:
            self.failures[report.client] = report.failure
            return FAILED
        self._reports_of[report.client] = self._reports_of.get(report.client, 0) + 1
        self._attempts[report.attempt] = offset
        self.reports[offset] = report
        return ACCEPTED if self._stand(offset, report) else DUPLICATE

    def candidates(self, excluded: Mapping[int, str], at_most: int) -> tuple[int, ...]:
        """Offsets of the reports that stand, in log order; `excluded` are those a verdict left out."""
        if len(excluded) != len(self._excluded):
            self._excluded = dict(excluded)
            self._candidates.clear()
            for offset, report in self.reports.items():
                self._stand(offset, report)
        return tuple(sorted(self._candidates.values())[:at_most])

    def num_candidates(self, excluded: Mapping[int, str]) -> int:
        if len(excluded) != len(self._excluded):
            self.candidates(excluded, 0)
        return len(self._candidates)

    def covers(self, offsets: tuple[int, ...]) -> bool:
        """Whether every one of the reports has been read."""
        return not offsets or offsets[-1] < self.next_offset

    def _stand(self, offset: int, report: Report) -> bool:
        return offset not in self._excluded and self._candidates.setdefault(report.client, offset) == offset

    def _refusal(self, report: Report, offset: int) -> str | None:
        opened = self.opened
        if report.nonce != opened.nonce:
            return "of another federation"
        if report.round < opened.round:
            return LATE
        if report.round != opened.round or report.round_offset != self.round_offset:
            return "of no such round"
        return None if report.failure is not None else self._fault(report, offset)

    def _fault(self, report: Report, offset: int) -> str | None:
        """What is wrong with a report of this round that says it succeeded."""
        if self.opened.training and report.num_examples < 1:
            return "num_examples below 1"
        if len(report.digests) != (len(self.opened.model) if self.opened.training else 0):
            return "wrong number of digests"
        if self._attempts.get(report.attempt, offset) != offset:
            return "attempt already reported"
        if self._reports_of.get(report.client, 0) >= MAX_REPORTS_OF_A_CLIENT:
            return "too many reports of one client"
        return None


def weighted_means(rows: Iterator[tuple[int, Mapping[str, float]]]) -> dict[str, float]:
    """Mean of each metric over the rows that carry it, weighted by the row's number of examples.

    Sums by `math.fsum`, which rounds once, so the order of the rows cannot show. Where clients name more metrics
    between them than a record takes, the first in the order of their names stay.
    """
    products: dict[str, list[float]] = {}
    weights: dict[str, int] = {}
    for num_examples, metrics in rows:
        for name, value in metrics.items():
            products.setdefault(name, []).append(value * num_examples)
            weights[name] = weights.get(name, 0) + num_examples
    named = [name for name in sorted(products) if weights[name] > 0][:MAX_METRICS]
    means = {name: fsum(products[name]) / weights[name] for name in named}
    # A mean of the largest metrics may be rounded past them.
    return {name: max(-MAX_METRIC, min(MAX_METRIC, mean)) for name, mean in means.items()}
