"""How long to wait on one handle while another one may have something to say too. Pure: times go in.

librdkafka cannot wait on several handles at once, so each is waited on for a turn, and between two turns all are
looked at.
"""

from __future__ import annotations

from typing import Final

SHORTEST_SECONDS: Final = 0.005
LONGEST_SECONDS: Final = 0.2
# A hundred clients that share two cores, each looking two hundred times a second, left nothing to what they wait for.
TIMES_LOOKING: Final = 20


class Turns:
    """Longer ones the longer nothing comes, and none shorter than `TIMES_LOOKING` times what looking takes.

    Looking takes long where processors are busy, and then it would keep them so.
    """

    def __init__(self) -> None:
        self.seconds = SHORTEST_SECONDS
        self._shortest_seconds = SHORTEST_SECONDS

    def extend(self, looking_seconds: float) -> None:
        """Nothing came in a turn, and so long was spent beside it: on looking, and on being late."""
        self._shortest_seconds = _within_bounds(TIMES_LOOKING * looking_seconds)
        self.seconds = _within_bounds(max(2 * self.seconds, self._shortest_seconds))

    def restart(self) -> None:
        """Something came, and more may follow."""
        self.seconds = self._shortest_seconds


def _within_bounds(seconds: float) -> float:
    return min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
