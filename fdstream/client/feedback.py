"""Error feedback: what a lossy codec left out of a client's update is added to its next one. Pure.

Seide et al. 2014 ("1-bit stochastic gradient descent"); Karimireddy et al. 2019, arXiv:1901.09847, for why it makes
biased codecs converge. The memory is as large as one or two updates and lives in the client's process alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fdstream.dtypes import Array

Residuals = dict[int, Array]  # chunk index -> what was left out, in the update dtype


@dataclass(slots=True)
class Feedback:
    """One client's memory. Every try of one round starts from what the rounds before left out."""

    round: int = 0
    has_sent: bool = False  # whether this process has any memory of rounds before
    _before: Residuals = field(default_factory=dict)
    _left: Residuals = field(default_factory=dict)
    _sent: bool = False

    def begin(self, round_number: int) -> None:
        """An update of the round is about to be encoded."""
        if round_number != self.round and self._sent:
            self._before, self._sent = self._left, False
        self.round, self._left = round_number, {}

    def wanted(self, index: int, values: Array) -> Array:
        """What to send of a chunk: the update and what is still owed."""
        owed = self._before.get(index)
        return values if owed is None else values + owed

    def left(self, index: int, wanted: Array, sent: Array) -> None:
        """Remember the difference."""
        self._left[index] = wanted - sent

    def reported(self) -> None:
        """The whole update has been sent: what it left out is owed from the next round on."""
        self._sent = self.has_sent = True
