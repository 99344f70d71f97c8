"""FedAvgM: FedAvg with momentum on the server.

Hsu, Qi, Brown 2019, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification", section 4.3. The paper's update points from the new to the old weights; ours the other way.
"""

from __future__ import annotations

from fdstream.aggregation.strategy import State, Strategy, Vector, fraction, positive


def fedavgm(*, lr: float = 1.0, momentum: float = 0.9) -> Strategy:
    """velocity = momentum * velocity + mean; weights + lr * velocity. State: the velocity, zero at first."""
    lr = positive("fedavgm", "lr", lr)
    momentum = fraction("fedavgm", "momentum", momentum)

    def step(weights: Vector, mean: Vector, state: State) -> tuple[Vector, State]:
        (velocity,) = state
        velocity = momentum * velocity + mean
        return weights + lr * velocity, (velocity,)

    return Strategy("fedavgm", {"lr": lr, "momentum": momentum}, (0.0,), step)
