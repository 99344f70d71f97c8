"""Connections that rest between invocations, so that a warm one need not connect and read the history again."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from fdstream.client.visitor import Visitor

MOST_RESTING = 64


class Pool:
    """For many threads. `place` is whatever two visitors must have in common to stand in for each other."""

    def __init__(self, most: int = MOST_RESTING) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._resting: list[tuple[Hashable, Visitor]] = []  # the longest resting first

    def take(self, place: Hashable, client: str) -> Visitor | None:
        """One that rests, if there is one: best the one that served this client last."""
        with self._lock:
            found = [index for index, (where, _) in enumerate(self._resting) if where == place]
            if not found:
                return None
            known = [index for index in found if self._resting[index][1].client == client]
            return self._resting.pop((known or found)[-1])[1]

    def give(self, place: Hashable, visitor: Visitor) -> None:
        """Let it rest; where too many do, the one that has rested longest is closed."""
        with self._lock:
            self._resting.append((place, visitor))
            surplus = self._resting[: -self._most]
            del self._resting[: -self._most]
        for _, each in surplus:
            each.close()

    def clear(self) -> None:
        """Close all that rest."""
        with self._lock:
            resting, self._resting = self._resting, []
        for _, each in resting:
            each.close()
