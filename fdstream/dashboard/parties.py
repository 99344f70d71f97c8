"""Who takes part and what each is doing, as one state a member. Pure.

A state is put together from three sources: heartbeats (is it here, does it train?), its row in the round (has it
reported, was it refused?) and `rejected` (which of its records nobody could use).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from fdstream.dashboard.rounds import REFUSED, REPORTED, Row
from fdstream.members import Heard

WAITING, TRAINING, UPLOADING, GONE = "waiting", "training", "uploading", "gone"
STATES = (WAITING, TRAINING, UPLOADING, REPORTED, REFUSED, GONE)
WORKING = {"training": TRAINING, "evaluating": TRAINING, "uploading": UPLOADING}  # as heartbeats say it
MAX_EVENTS = 200
MAX_PARTIES = 20_000  # names are others' text
NAMES_IN_EVENT = 3
SAME_EVENT_SECONDS = 2.0


@dataclass(slots=True)
class Party:
    """A client or a server."""

    name: str
    role: str
    first_seconds: float
    state: str = ""
    round: int = 0  # the last that it reported in
    num_reports: int = 0
    shards: str = ""  # of a server
    shown_shards: str = ""
    reason: str = ""  # of its last refusal
    reason_round: int = 0
    sent_bytes: int = 0
    received_bytes: int = 0
    here: bool = False
    revision: int = 0


@dataclass(slots=True)
class Event:
    """Something that happened to one or to several in a row."""

    kind: str
    role: str
    seconds: float
    names: list[str] = field(default_factory=list)  # the first few
    count: int = 0
    number: int = 0  # from 1, in order
    revision: int = 0


def state_of(heard: Heard | None, row: Row | None, opened_seconds: float, *, here: bool) -> str:
    """A client's state in the round that opened then. A client that never beats is known by its rows alone."""
    if heard is not None and not here:
        return row.outcome if row is not None and heard.left else GONE
    working = WORKING.get(heard.heartbeat.state) if heard is not None else None
    if row is None:
        return working or (WAITING if here else GONE)
    if working is not None and row.outcome == REFUSED and heard is not None:
        again = heard.seconds > opened_seconds + row.seconds
        return working if again else REFUSED
    return row.outcome


class Events:
    """What happened, the newest last; of many alike in a row one that counts them."""

    def __init__(self) -> None:
        self.recent: deque[Event] = deque(maxlen=MAX_EVENTS)
        self._number = 0

    def add(self, kind: str, role: str, name: str, seconds: float) -> Event:
        """Note it; the event to which it was added."""
        last = self.recent[-1] if self.recent else None
        if last is None or (last.kind, last.role) != (kind, role) or _is_apart(last, seconds):
            self._number += 1
            last = Event(kind, role, seconds, number=self._number)
            self.recent.append(last)
        last.count += 1
        if len(last.names) < NAMES_IN_EVENT:
            last.names.append(name)
        return last


def _is_apart(event: Event, seconds: float) -> bool:
    return abs(seconds - event.seconds) > SAME_EVENT_SECONDS


class Parties:
    """Everybody by name; of very many the one that has been silent longest is forgotten."""

    def __init__(self) -> None:
        self.by_name: dict[str, Party] = {}

    def known(self, name: str, role: str, seconds: float) -> Party:
        """The party of this name, new where there was none."""
        party = self.by_name.get(name)
        if party is None:
            party = self.by_name[name] = Party(name, role, seconds)
            self._forget_one()
        return party

    def of_role(self, role: str) -> Iterable[Party]:
        return [party for party in self.by_name.values() if party.role == role]

    def _forget_one(self) -> None:
        if len(self.by_name) > MAX_PARTIES:
            gone = (party.name for party in self.by_name.values() if not party.here)
            del self.by_name[next(gone, next(iter(self.by_name)))]
