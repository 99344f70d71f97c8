"""Says on the `members` topic that members are alive and what they do, from one thread for a whole process.

A thread, because a client that trains for an hour is in its user's code. It writes through a member's own log and
reads nothing but the member's last word on its state. A change of state is said half a second later, as the state is
then: what is over sooner is not worth a record, so that short rounds cost no more than the beat.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from fdstream.errors import TransportError
from fdstream.log import Log
from fdstream.messages import PROTOCOL, Heartbeat
from fdstream.serde.avro import encode
from fdstream.topics import table

logger = logging.getLogger("fdstream.heartbeats")
SETTLING_SECONDS = 0.5  # between a change of state and the heartbeat that says so


@dataclass(slots=True, eq=False)
class Member:
    """One member as the beating thread sees it; `now` makes its next heartbeat. Equal to itself alone."""

    log: Log
    now: Callable[[], Heartbeat]
    protocol: Callable[[], int] = lambda: PROTOCOL  # in which the federation's records are written
    said: Heartbeat | None = None  # the last one
    hurried: bool = False  # whether its state has changed since


class Heartbeats:
    """Beats for its members every period until closed, and once at once for whoever joins or leaves."""

    def __init__(self, period_seconds: float) -> None:
        self.period_seconds = period_seconds
        self._members: dict[Member, None] = {}  # in the order in which they joined
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fdstream-heartbeats", daemon=True)

    def __enter__(self) -> Heartbeats:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._woken.set()
        self._thread.join()

    def join(self, member: Member) -> None:
        """Beat for this member from now on."""
        with self._lock:
            self._members[member] = None
        self.beat(member)

    def leave(self, member: Member) -> None:
        """Beat a last time and no more; the member's log may be closed afterwards."""
        self.forget(member)
        self.beat(member)

    def forget(self, member: Member) -> None:
        """Beat for this member no more."""
        with self._lock:
            del self._members[member]

    def hurry(self, member: Member) -> None:
        """What the member does has changed: say so soon. Costs the caller next to nothing."""
        if not member.hurried:
            member.hurried = True
            self._woken.set()

    def beat(self, member: Member) -> None:
        """One heartbeat now, unless it would have to wait: who cannot be reached cannot hear it."""
        member.hurried = False
        member.said = member.now()
        member.log.append(table.MEMBERS, 0, encode(member.said, member.protocol()), droppable=True)

    def _run(self) -> None:
        due_seconds = time.monotonic() + self.period_seconds
        while self._wait(due_seconds):
            if time.monotonic() < due_seconds:
                self._beat_for(self._has_news)
                continue
            self._beat_for(lambda _: True)
            due_seconds = time.monotonic() + self.period_seconds

    def _wait(self, due_seconds: float) -> bool:
        """Until a beat is due or news have settled; whether there is a reason to go on."""
        self._woken.wait(max(0.0, due_seconds - time.monotonic()))
        self._woken.clear()
        remaining = max(0.0, due_seconds - time.monotonic())
        return not self._stopped.wait(min(SETTLING_SECONDS, remaining))

    def _beat_for(self, chosen: Callable[[Member], bool]) -> None:
        with self._lock:
            for member in filter(chosen, self._members):
                self._beat_on(member)

    def _has_news(self, member: Member) -> bool:
        """Whether it would say something else than it said last; a new round alone is in the log anyway."""
        if not member.hurried or member.said is None:
            return False
        member.hurried = False
        now = member.now()
        return (now.state, now.profile) != (member.said.state, member.said.profile)

    def _beat_on(self, member: Member) -> None:
        """A broker that refuses is the main thread's to deal with; the others' hearts go on."""
        try:
            self.beat(member)
        except TransportError as error:
            logger.warning("a heartbeat was not sent", extra={"reason": str(error)})
