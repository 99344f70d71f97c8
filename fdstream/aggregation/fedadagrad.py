"""FedAdagrad: steps shrink with the sum of all squared updates so far (Reddi et al. 2021, algorithm 2)."""

from __future__ import annotations

from fdstream.aggregation.adaptive import adaptive
from fdstream.aggregation.strategy import Strategy, Vector


def fedadagrad(*, lr: float = 0.1, beta1: float = 0.0, tau: float = 1e-3) -> Strategy:
    """v + mean^2. Without momentum by default, like the paper's experiments."""

    def second_moment(v: Vector, squared: Vector) -> Vector:
        return v + squared

    return adaptive("fedadagrad", {"lr": lr, "beta1": beta1, "tau": tau}, second_moment)
