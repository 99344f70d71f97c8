"""Federated averaging in one process, as the paper writes it: enough to see that an example learns."""

from __future__ import annotations

from typing import Any

import numpy as np

from fdstream.app import App
from fdstream.dtypes import Array


def federate(app: App, rounds: int, clients: int, **config: Any) -> dict[str, Array]:
    """The global model after `rounds` in which each of `clients` trains (McMahan et al. 2017, FedAvg)."""
    weights = app.initial_weights()
    for number in range(1, rounds + 1):
        results = [
            app.run_train(weights, {"round": number, "data_index": i, **config}) for i in range(clients)
        ]
        examples = [result.num_examples for result in results]
        weights = {
            name: np.average([r.weights[name] for r in results], axis=0, weights=examples).astype(old.dtype)
            for name, old in weights.items()
        }
    return weights
