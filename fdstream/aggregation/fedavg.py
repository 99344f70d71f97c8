"""FedAvg: the weighted mean of what the clients trained.

McMahan et al. 2017, "Communication-Efficient Learning of Deep Networks from Decentralized Data", algorithm 1.
"""

from __future__ import annotations

from fdstream.aggregation.strategy import State, Strategy, Vector, positive


def fedavg(*, lr: float = 1.0) -> Strategy:
    """weights + lr * mean; with lr 1 the paper's average of models. No state."""
    lr = positive("fedavg", "lr", lr)

    def step(weights: Vector, mean: Vector, state: State) -> tuple[Vector, State]:
        return weights + lr * mean, state

    return Strategy("fedavg", {"lr": lr}, (), step)
