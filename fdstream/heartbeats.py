"""Says on the `members` topic that members are alive and what they do, from one thread for a whole process.

A thread, because a client that trains for an hour is in its user's code. It writes through a member's own log and
reads nothing but the member's last word on its state.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from fdstream.errors import TransportError
from fdstream.log import Log
from fdstream.messages import Heartbeat
from fdstream.serde.avro import encode
from fdstream.topics import table

logger = logging.getLogger("fdstream.heartbeats")


@dataclass(slots=True)
class Member:
    """One member as the beating thread sees it; `now` makes its next heartbeat."""

    log: Log
    now: Callable[[], Heartbeat]


class Heartbeats:
    """Beats for its members every period until closed, and once at once for whoever joins or leaves."""

    def __init__(self, period_seconds: float) -> None:
        self._period_seconds = period_seconds
        self._members: list[Member] = []
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fdstream-heartbeats", daemon=True)

    def __enter__(self) -> Heartbeats:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def join(self, member: Member) -> None:
        """Beat for this member from now on."""
        with self._lock:
            self._members.append(member)
        self.beat(member)

    def leave(self, member: Member) -> None:
        """Beat a last time and no more; the member's log may be closed afterwards."""
        self.forget(member)
        self.beat(member)

    def forget(self, member: Member) -> None:
        """Beat for this member no more."""
        with self._lock:
            self._members.remove(member)

    def beat(self, member: Member) -> None:
        """One heartbeat now, unless it would have to wait: who cannot be reached cannot hear it."""
        member.log.append(table.MEMBERS, 0, encode(member.now()), droppable=True)

    def _run(self) -> None:
        while not self._stopped.wait(self._period_seconds):
            with self._lock:
                for member in self._members:
                    self._beat_on(member)

    def _beat_on(self, member: Member) -> None:
        """A broker that refuses is the main thread's to deal with; the others' hearts go on."""
        try:
            self.beat(member)
        except TransportError as error:
            logger.warning("a heartbeat was not sent", extra={"reason": str(error)})
