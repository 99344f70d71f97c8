"""FedYogi: like FedAdam, but the second moment moves by bounded steps (Reddi et al. 2021, algorithm 2)."""

from __future__ import annotations

import numpy as np

from fdstream.aggregation.adaptive import adaptive
from fdstream.aggregation.strategy import Strategy, Vector, fraction


def fedyogi(*, lr: float = 0.01, beta1: float = 0.9, beta2: float = 0.99, tau: float = 1e-3) -> Strategy:
    """v - (1 - beta2) * mean^2 * sign(v - mean^2). Betas and tau as in the paper's experiments."""
    beta2 = fraction("fedyogi", "beta2", beta2)
    rest2 = 1.0 - beta2

    def second_moment(v: Vector, squared: Vector) -> Vector:
        return v - (rest2 * squared) * np.sign(v - squared)

    return adaptive("fedyogi", {"lr": lr, "beta1": beta1, "beta2": beta2, "tau": tau}, second_moment)
