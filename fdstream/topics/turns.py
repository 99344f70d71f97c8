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
    """None is shorter than `TIMES_LOOKING` times what looking takes, up to a bound.

    Looking takes long where processors are busy, and then it would keep them so.
    """

    def __init__(self) -> None:
        self._looking_seconds = 0.0  # mean of the last looks

    @property
    def seconds(self) -> float:
        """How long the next turn may last."""
        return max(TIMES_LOOKING * self._looking_seconds, SHORTEST_SECONDS)

    def note(self, looking_seconds: float) -> None:
        """Nothing came in a turn, and so long was spent beside it: on looking, and on being late."""
        within_bounds = min(max(looking_seconds, 0.0), LONGEST_SECONDS / TIMES_LOOKING)
        self._looking_seconds += _WEIGHT * (within_bounds - self._looking_seconds)
