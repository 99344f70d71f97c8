"""Who is alive, from heartbeats. A pure fold over records of the `members` topic; times are the broker's."""

from __future__ import annotations

from fdstream.messages import MAX_CLIENTS, Heartbeat

MEMBER_SECONDS = 30.0  # a member that said nothing for so long counts as gone
_MOST = 2 * MAX_CLIENTS  # whoever invents more names is not counted


class Members:
    """The last heartbeat of each member."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[float, Heartbeat]] = {}

    def hear(self, heartbeat: Heartbeat, timestamp_seconds: float) -> None:
        """A member said this then."""
        if heartbeat.member in self._last or len(self._last) < _MOST:
            self._last[heartbeat.member] = (timestamp_seconds, heartbeat)

    def alive(self, now_seconds: float) -> list[Heartbeat]:
        """The last words of those heard within `MEMBER_SECONDS` who did not leave; the others are forgotten."""
        heard = list(self._last.items())
        for name, (seconds, heartbeat) in heard:
            if now_seconds - seconds > MEMBER_SECONDS or heartbeat.state == "gone":
                self._last.pop(name, None)
        return [heartbeat for _, (_, heartbeat) in sorted(heard) if heartbeat.member in self._last]
