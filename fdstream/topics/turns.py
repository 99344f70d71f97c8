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
_WEIGHT = 1 / 8  # of the last look in their mean


class Turns:
    """Each is `TIMES_LOOKING` times as long as looking has taken on average, within bounds.

    Looking takes long where processors are busy, and then it would keep them so.
    """

    def __init__(self) -> None:
        self._looking_seconds = 0.0  # mean of the last looks

    @property
    def seconds(self) -> float:
        """How long the next turn may last."""
        return max(TIMES_LOOKING * self._looking_seconds, SHORTEST_SECONDS)

    def note(self, looking_seconds: float) -> None:
        """So much longer than the turn it took: looking, and being late. Below 0 the turn was cut short."""
        if looking_seconds < 0:
            return  # by news, and nobody knows how late it would have been
        within_bounds = min(looking_seconds, LONGEST_SECONDS / TIMES_LOOKING)
        self._looking_seconds += _WEIGHT * (within_bounds - self._looking_seconds)
