"""FedAdam: steps are scaled by a moving average of squared updates (Reddi et al. 2021, algorithm 2)."""

from __future__ import annotations

from fdstream.aggregation.adaptive import adaptive
from fdstream.aggregation.strategy import Strategy, Vector, fraction


def fedadam(*, lr: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3) -> Strategy:
    """beta2 * v + (1 - beta2) * mean^2. Betas and tau as in the paper's experiments."""
    beta2 = fraction("fedadam", "beta2", beta2)
    rest2 = 1.0 - beta2

    def second_moment(v: Vector, squared: Vector) -> Vector:
        return beta2 * v + rest2 * squared

    return adaptive("fedadam", {"lr": lr, "beta1": beta1, "beta2": beta2, "tau": tau}, second_moment)
