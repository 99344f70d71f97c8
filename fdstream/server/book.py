"""The reports of one round, judged in log order. Pure; every server keeps one.

Which reports there are, `reports`, is a function of their bytes: all servers come to the same. Which of them may be
candidates depends on `trust` as well, which is no function of the log and may change in the middle of a round. So
only a coordinator asks for candidates, and what it was told it writes down: RoundClosing names them by offset.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from math import fsum

from fdstream.events import Entry
from fdstream.fitting import LATE, Fit
from fdstream.messages import MAX_METRIC, MAX_METRICS, MAX_REFUSED, Exclusion, Report, RoundOpened
from fdstream.trust import ANYBODY, Trust

ACCEPTED = "accepted"
DUPLICATE = "duplicate"
FAILED = "failed"


class ReportBook:
    """Folds the reports partition of one round from its start offset; `signed` says that only signed ones count."""

    def __init__(
        self, opened: RoundOpened, round_offset: int, *, signed: bool = False, trust: Trust = ANYBODY
    ) -> None:
        self.reports: dict[int, Report] = {}  # offset -> report that fits the round, in log order
        self.failures: dict[str, str] = {}  # client -> why it could not take part, the last time
        self.next_offset = opened.reports_start
        self._fit = Fit(opened, round_offset, signed=signed)
        self._trust = trust
        self._misfits: dict[
            int, str
        ] = {}  # offset -> why, of reports that do not fit; no more than are passed on
        self._excluded: Mapping[int, str] = {}
        self._judge_anew()

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
        misfit = self._fit.misfit(report, entry.record.value)
        if misfit is not None:
            self._keep(offset, misfit)
            return misfit
        if report.failure is not None:
            return self._fail(offset, report)
        # What it carries is the shard's owner's: a book does not grow with the updates.
        self.reports[offset] = report = replace(report, data=b"") if report.data else report
        return self._judge(offset, report)

    def turn_to(self, trust: Trust) -> list[tuple[int, str]]:
        """Judge every report again: offset and outcome of those that are judged otherwise now."""
        self._trust, before = trust, self._outcomes
        self._judge_anew()
        return [(offset, now) for offset, now in self._outcomes.items() if now != before[offset]]

    def refused(self) -> tuple[Exclusion, ...]:
        """Reports of this round that are not taken, and why, as many as may be passed on."""
        judged = {o: outcome for o, outcome in self._outcomes.items() if outcome not in (ACCEPTED, DUPLICATE)}
        first = islice(sorted((self._misfits | judged).items()), MAX_REFUSED)
        return tuple(Exclusion(offset, reason) for offset, reason in first)

    def candidates(self, excluded: Mapping[int, str], at_most: int) -> tuple[int, ...]:
        """Offsets of the reports that stand, in log order; `excluded` are those a verdict left out."""
        if len(excluded) != len(self._excluded):
            self._excluded = dict(excluded)
            self._judge_anew()
        return tuple(sorted(self._candidates.values())[:at_most])

    def num_candidates(self, excluded: Mapping[int, str]) -> int:
        if len(excluded) != len(self._excluded):
            self.candidates(excluded, 0)
        return len(self._candidates)

    def covers(self, offsets: tuple[int, ...]) -> bool:
        """Whether every one of the reports has been read."""
        return not offsets or offsets[-1] < self.next_offset

    def _keep(self, offset: int, misfit: str) -> None:
        if misfit != LATE and len(self._misfits) < MAX_REFUSED:
            self._misfits[offset] = misfit

    # What a coordinator makes of it

    def _fail(self, offset: int, report: Report) -> str:
        refusal = self._trust.refusal(report)
        if refusal is not None:
            self._keep(offset, refusal)
            return refusal
        assert report.failure is not None
        self.failures[report.client] = report.failure
        return FAILED

    def _judge_anew(self) -> None:
        self._outcomes: dict[int, str] = {}
        self._candidates: dict[str, int] = {}  # client -> offset of its report that stands
        self._attempts: set[bytes] = set()
        for offset, report in self.reports.items():
            self._judge(offset, report)

    def _judge(self, offset: int, report: Report) -> str:
        self._outcomes[offset] = self._trust.refusal(report) or self._take(offset, report)
        return self._outcomes[offset]

    def _take(self, offset: int, report: Report) -> str:
        if report.attempt in self._attempts:
            return "attempt already reported"
        self._attempts.add(report.attempt)
        stands = offset not in self._excluded and self._candidates.setdefault(report.client, offset) == offset
        return ACCEPTED if stands else DUPLICATE


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
