"""Which reports fit a round: a function of their bytes, so that whoever reads them finds the same. Pure.

Servers ask it of every report, a client that comes and goes of those in its own name. Whom anybody trusts is another
question, see `fdstream.trust`.
"""

from __future__ import annotations

from collections import defaultdict

from fdstream.messages import Report, RoundOpened
from fdstream.signatures import is_genuine

MAX_REPORTS_OF_A_CLIENT = 3  # one, and two more after exclusions
LATE = "late"


class Fit:
    """Asked of the reports of one round in log order; `signed` says that only signed ones count."""

    def __init__(self, opened: RoundOpened, round_offset: int, *, signed: bool) -> None:
        self.opened = opened
        self.round_offset = round_offset
        self.signed = signed
        self._seen: defaultdict[tuple[str, bytes], set[bytes]] = defaultdict(
            set
        )  # client and key -> attempts

    def misfit(self, report: Report, value: bytes) -> str | None:
        """Why a report, whose record is `value`, does not fit the round; None where it does.

        Raises `UsageError` where a signature is to be checked and the library for it is not installed.
        """
        opened = self.opened
        if report.nonce != opened.nonce:
            return "of another federation"
        if report.round < opened.round:
            return LATE
        if report.round != opened.round or report.round_offset != self.round_offset:
            return "of no such round"
        return self._unsigned(report, value) or (None if report.failure is not None else self._fault(report))

    def _unsigned(self, report: Report, value: bytes) -> str | None:
        if not self.signed:
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
