"""What FedAdagrad, FedAdam and FedYogi share; they differ in the second moment alone.

Reddi et al. 2021, "Adaptive Federated Optimization", algorithm 2. As there, and unlike in Adam for one
machine, no bias is corrected. The second moment starts at tau^2, the smallest start the paper allows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from fdstream.aggregation.strategy import State, Strategy, Vector, fraction, positive

SecondMoment = Callable[[Vector, Vector], Vector]


def adaptive(name: str, hyper: Mapping[str, float], second_moment: SecondMoment) -> Strategy:
    """m = beta1 * m + (1 - beta1) * mean; v = second_moment(v, mean^2); weights + lr * m / (sqrt(v) + tau).

    `hyper` has lr, beta1 and tau, and what `second_moment` uses. State: m, v.
    """
    lr, tau = (positive(name, key, hyper[key]) for key in ("lr", "tau"))
    beta1 = fraction(name, "beta1", hyper["beta1"])
    rest1 = 1.0 - beta1

    def step(weights: Vector, mean: Vector, state: State) -> tuple[Vector, State]:
        m, v = state
        m = beta1 * m + rest1 * mean
        v = second_moment(v, mean * mean)
        return weights + (lr * m) / (np.sqrt(v) + tau), (m, v)

    return Strategy(name, hyper, (0.0, tau * tau), step)
