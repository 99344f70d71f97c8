"""What became of every report, read from the topics by nobody's code but this.

A report is in a cohort, or late, a duplicate, or refused; if it is none of these something was lost. The log must
still hold everything: federations of the matrix run with `--keep-rounds all` unless a case is about deletion.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from fdstream.events import Entry
from fdstream.messages import (
    FederationOpened,
    Rejected,
    Report,
    RoundClosed,
    RoundClosing,
    RoundOpened,
    ShardVerdict,
)
from fdstream.topics import table
from tests.cluster.topics import Topics

COHORT, EXCLUDED, DUPLICATE, LATE, FAILED, REFUSED, BEYOND = (
    "in the cohort",
    "excluded",
    "duplicate",
    "late",
    "failed",
    "refused",
    "after the closing",
)
TOLD = (DUPLICATE, LATE, REFUSED)  # of these `rejected` speaks, where a server had to read them


@dataclass
class History:
    """The rounds of a federation: the first record of every key."""

    opened: dict[int, RoundOpened] = field(default_factory=dict)
    offsets: dict[int, int] = field(default_factory=dict)  # of RoundOpened in control
    closings: dict[tuple[int, int], RoundClosing] = field(default_factory=dict)
    closed: dict[int, RoundClosed] = field(default_factory=dict)
    excluded: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    federation: FederationOpened | None = None

    @staticmethod
    def of(topics: Topics) -> History:
        history = History()
        for entry in topics.all_entries(table.CONTROL):
            history._fold(entry)
        verdicts: dict[tuple[int, int, int], ShardVerdict] = {}
        for entry in topics.all_entries(table.SHARDS):
            verdict = entry.message
            if isinstance(verdict, ShardVerdict) and history._is_ours(verdict.nonce):
                verdicts.setdefault((verdict.round, verdict.ordinal, verdict.shard), verdict)
        for (number, ordinal, _), verdict in verdicts.items():
            left_out = history.excluded.setdefault((number, ordinal), set())
            left_out |= {exclusion.report for exclusion in verdict.excluded}
        return history

    def _is_ours(self, nonce: bytes) -> bool:
        return self.federation is not None and nonce == self.federation.nonce

    def _fold(self, entry: Entry) -> None:
        message = entry.message
        if isinstance(message, FederationOpened):
            self.federation = self.federation or message
        if not self._is_ours(getattr(message, "nonce", b"")):
            return
        match message:
            case RoundOpened() if message.round not in self.opened:
                self.opened[message.round] = message
                self.offsets[message.round] = entry.record.offset
            case RoundClosing():
                self.closings.setdefault((message.round, message.ordinal), message)
            case RoundClosed():
                self.closed.setdefault(message.round, message)

    def cohort(self, number: int) -> list[int]:
        """Offsets of the reports that made the model of a closed round."""
        key = (number, self.closed[number].ordinal)
        return [offset for offset in self.closings[key].accepted if offset not in self.excluded.get(key, ())]


@dataclass(frozen=True)
class Fate:
    """One report and what became of it."""

    entry: Entry
    round: int  # in whose part of the topic it lies
    outcome: str

    @property
    def report(self) -> Report:
        assert isinstance(self.entry.message, Report)
        return self.entry.message


class Accounts:
    """The fates of all reports of a federation."""

    def __init__(self, topics: Topics) -> None:
        self.history = History.of(topics)
        assert self.history.federation is not None, "nobody opened the federation"
        self.slots = self.history.federation.slots
        self.fates = [fate for slot in range(self.slots) for fate in self._of_slot(topics, slot)]
        self._check_told(topics)
        self._check_sizes()

    @property
    def totals(self) -> Counter[str]:
        return Counter(fate.outcome for fate in self.fates)

    def cohorts(self) -> list[list[str]]:
        """The clients whose updates made the model, of each closed training round."""
        numbers = sorted(number for number in self.history.closed if self.history.opened[number].training)
        return [
            [fate.report.client for fate in self.fates if (fate.round, fate.outcome) == (number, COHORT)]
            for number in numbers
        ]

    def check_none_missing(self, reported: Iterable[tuple[str, int]]) -> None:
        """Whatever a client says it reported, as (client, round), is there."""
        there = {(fate.report.client, fate.report.round) for fate in self.fates}
        missing = set(reported) - there
        assert not missing, f"reports that are nowhere: {sorted(missing)}"

    def _of_slot(self, topics: Topics, slot: int) -> Iterator[Fate]:
        rounds = sorted(number for number in self.history.opened if number % self.slots == slot)
        entries = topics.all_entries(table.reports(slot))
        for place, number in enumerate(rounds):
            start = self.history.opened[number].reports_start
            after = rounds[place + 1 : place + 2]
            end = self.history.opened[after[0]].reports_start if after else float("inf")
            yield from self._of_round(number, [e for e in entries if start <= e.record.offset < end])

    def _of_round(self, number: int, entries: list[Entry]) -> Iterator[Fate]:
        attempts: set[bytes] = set()
        cohort = set(self.history.cohort(number)) if number in self.history.closed else set()
        judged = {
            offset for key, c in self.history.closings.items() if key[0] == number for offset in c.accepted
        }
        standing: set[str] = set()
        for entry in entries:
            if not isinstance(entry.message, Report):
                continue
            outcome = self._outcome(number, entry, attempts, standing, judged, cohort)
            yield Fate(entry, number, outcome)

    def _outcome(
        self,
        number: int,
        entry: Entry,
        attempts: set[bytes],
        standing: set[str],
        judged: set[int],
        cohort: set[int],
    ) -> str:
        report, offset = entry.message, entry.record.offset
        assert isinstance(report, Report)
        opened = self.history.opened[number]
        if report.nonce == opened.nonce and report.round < number:
            return LATE
        if report.nonce != opened.nonce or report.round_offset != self.history.offsets[number]:
            return REFUSED
        if report.failure is not None:
            return FAILED
        if _is_unfit(report, opened) or report.attempt in attempts:
            return REFUSED
        attempts.add(report.attempt)
        if offset in cohort:
            standing.add(report.client)
            return COHORT
        if offset in judged:
            return EXCLUDED
        return DUPLICATE if report.client in standing else BEYOND

    def _check_told(self, topics: Topics) -> None:
        """What servers had to read and did not take stands on `rejected`."""
        told = {
            (entry.message.topic, entry.message.offset)
            for entry in topics.all_entries(table.REJECTED)
            if isinstance(entry.message, Rejected)
        }
        for fate in self.fates:
            accepted = [c.accepted for key, c in self.history.closings.items() if key[0] == fate.round]
            read_to = max((offset for offsets in accepted for offset in offsets), default=-1)
            place = (fate.entry.record.topic, fate.entry.record.offset)
            if fate.outcome in TOLD and place[1] < read_to:
                assert place in told, f"nobody wrote down that {place} is {fate.outcome}"

    def _check_sizes(self) -> None:
        """RoundClosed names as many clients as there are in the cohort."""
        counted = Counter(fate.round for fate in self.fates if fate.outcome == COHORT)
        for number, closed in self.history.closed.items():
            assert closed.num_clients == counted[number], f"round {number}: {closed.num_clients} clients"


def _is_unfit(report: Report, opened: RoundOpened) -> bool:
    digests = len(opened.model) if opened.training else 0
    return len(report.digests) != digests or (opened.training and report.num_examples < 1)
