"""How long something has been in each of its states, readable at any moment from another thread."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable


class StateClock:
    """Adds up the seconds that things spend in states; several things add up together. Thread-safe."""

    def __init__(self, states: Iterable[str], monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._seconds = dict.fromkeys(states, 0.0)
        self._things: dict[Hashable, tuple[str, float]] = {}  # its state, and since when

    def enter(self, state: str, thing: Hashable = None) -> float:
        """The thing is in this state from now on; the seconds it was in the one before, 0 if in none."""
        with self._lock:
            now = self._monotonic()
            before, since = self._things.get(thing, (state, now))
            self._seconds[before] = self._seconds.get(before, 0.0) + now - since
            self._things[thing] = (state, now)
            return now - since

    def seconds(self) -> dict[str, float]:
        """By state, what goes on included."""
        with self._lock:
            now, seconds = self._monotonic(), dict(self._seconds)
            for state, since in self._things.values():
                seconds[state] = seconds.get(state, 0.0) + now - since
            return seconds

    def counts(self) -> dict[str, int]:
        """How many things are in each state."""
        with self._lock:
            counts = Counter(state for state, _ in self._things.values())
            return {state: counts[state] for state in self._seconds.keys() | counts.keys()}
