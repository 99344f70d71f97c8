"""Who is there: a fold of heartbeats. Pure; times are the broker's, in seconds since the epoch.

A member is here from its first heartbeat until it says that it goes, or has missed several in a row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fdstream.messages import MAX_CLIENTS, Heartbeat

GONE = "gone"  # the state of a last heartbeat
PERIOD = "period_seconds"  # the entry of a profile that says how often its member beats
MISSED_PERIODS = 3
SHORTEST_SILENCE_SECONDS = 2.0
MEMBER_SECONDS = 30.0  # silence after which a member counts as gone that does not say how often it beats
MAX_MEMBERS = 2 * MAX_CLIENTS  # names are others' text: whoever writes ever new ones must not fill the memory


@dataclass(slots=True)
class Heard:
    """A member's last heartbeat, and when the broker got it."""

    heartbeat: Heartbeat
    seconds: float

    @property
    def left(self) -> bool:
        """Whether it said that it goes."""
        return self.heartbeat.state == GONE

    def is_here(self, now_seconds: float) -> bool:
        """Whether it counts as present."""
        return not self.left and now_seconds - self.seconds <= patience_seconds(self.heartbeat)


class Members:
    """Every member that was heard, by name; beyond `MAX_MEMBERS` the one heard longest ago is forgotten."""

    def __init__(self) -> None:
        self.heard: dict[str, Heard] = {}  # the one heard last is last

    def hear(self, heartbeat: Heartbeat, seconds: float) -> None:
        """Take a heartbeat in."""
        self.heard.pop(heartbeat.member, None)
        self.heard[heartbeat.member] = Heard(heartbeat, seconds)
        if len(self.heard) > MAX_MEMBERS:
            del self.heard[next(iter(self.heard))]

    def alive(self, now_seconds: float) -> list[Heartbeat]:
        """The last heartbeats of those who are here, by name in order."""
        found = list(self.heard.items())  # at once: another thread may hear meanwhile
        return [heard.heartbeat for _, heard in sorted(found, key=_name) if heard.is_here(now_seconds)]


def _name(item: tuple[str, Heard]) -> str:
    return item[0]


def patience_seconds(heartbeat: Heartbeat) -> float:
    """How long a member may be silent: some of the periods that its profile names, which nobody has checked."""
    try:
        period = float(heartbeat.profile[PERIOD])
    except (KeyError, ValueError):
        return MEMBER_SECONDS
    if not math.isfinite(period) or period <= 0:
        return MEMBER_SECONDS
    return max(SHORTEST_SILENCE_SECONDS, MISSED_PERIODS * period)
