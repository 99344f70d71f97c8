"""The records that servers refused: the last of them, and how many there were for each reason. Pure."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from fdstream.messages import Rejected

MAX_RECORDS = 200
MAX_REASONS = 100
OTHER = "other reasons"


@dataclass(slots=True)
class Refused:
    """One record on `rejected`."""

    number: int  # from 1, in the order of the log
    seconds: float
    rejected: Rejected
    client: str  # who sent it, as far as that can be told
    revision: int = 0


class RefusedRecords:
    """The fold of `rejected`."""

    def __init__(self) -> None:
        self.recent: deque[Refused] = deque(maxlen=MAX_RECORDS)
        self.reasons: Counter[str] = Counter()
        self.total = 0
        self.revision = 0

    def add(self, rejected: Rejected, seconds: float, client: str) -> Refused:
        """Take a record in. Reasons are a small set; should they not be, the rest counts together."""
        self.total += 1
        known = rejected.reason in self.reasons or len(self.reasons) < MAX_REASONS
        self.reasons[rejected.reason if known else OTHER] += 1
        refused = Refused(self.total, seconds, rejected, client)
        self.recent.append(refused)
        return refused
