"""The reports of one round, judged in log order. Pure; every server keeps one.

Which reports there are, `reports`, is a function of their bytes: all servers come to the same. Which of them may be
candidates depends on `trust` as well, which is no function of the log and may change in the middle of a round. So
only a coordinator asks for candidates, and what it was told it writes down: RoundClosing names them by offset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice
from math import fsum

from fdstream.events import Entry
from fdstream.messages import MAX_METRIC, MAX_METRICS, MAX_REFUSED, Exclusion, Report, RoundOpened
from fdstream.signatures import is_genuine
from fdstream.trust import ANYBODY, Trust

MAX_REPORTS_OF_A_CLIENT = 3  # one, and two more after exclusions

ACCEPTED = "accepted"
DUPLICATE = "duplicate"
FAILED = "failed"
LATE = "late"


class ReportBook:
    """Folds the reports partition of one round from its start offset; `signed` says that only signed ones count."""

    def __init__(
        self, opened: RoundOpened, round_offset: int, *, signed: bool = False, trust: Trust = ANYBODY
    ) -> None:
        self.opened = opened
        self.round_offset = round_offset
        self.reports: dict[int, Report] = {}  # offset -> report that fits the round, in log order
        self.failures: dict[str, str] = {}  # client -> why it could not take part, the last time
        self.next_offset = opened.reports_start
        self._signed = signed
        self._trust = trust
        self._misfits: dict[
            int, str
        ] = {}  # offset -> why, of reports that do not fit; no more than are passed on
        self._seen: defaultdict[tuple[str, bytes], set[bytes]] = defaultdict(
            set
        )  # client and key -> attempts
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
        misfit = self._misfit(report, entry.record.value)
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

    # What the bytes say

    def _misfit(self, report: Report, value: bytes) -> str | None:
        """Why a report does not fit the round; every server finds the same."""
        opened = self.opened
        if report.nonce != opened.nonce:
            return "of another federation"
        if report.round < opened.round:
            return LATE
        if report.round != opened.round or report.round_offset != self.round_offset:
            return "of no such round"
        return self._unsigned(report, value) or (None if report.failure is not None else self._fault(report))

    def _unsigned(self, report: Report, value: bytes) -> str | None:
        if not self._signed:
            return None
        if report.signature is None:
            return "not signed"
        return None if is_genuine(value) else "its signature does not fit"

    def _fault(self, report: Report) -> str | None:
        """What is wrong with a report of this round that says it succeeded."""
        if self.opened.training and report.num_examples < 1:
            return "num_examples below 1"
        if len(report.digests) != (len(self.opened.model) if self.opened.training else 0):
            return "wrong number of digests"
        # With the key, so that nobody can use up what another one may send.
        attempts = self._seen[report.client, report.signature.key if report.signature else b""]
        if report.attempt in attempts:
            return "attempt already reported"
        if len(attempts) >= MAX_REPORTS_OF_A_CLIENT:
            return "too many reports of one client"
        attempts.add(report.attempt)
        return None

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
