"""Apps for federations of real processes. An update is a pure function of the model, the client and the round.

So what a federation of these must end with is known beforehand, whatever becomes of its processes.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fdstream.app import App, Config, Metrics
from fdstream.dtypes import Array

Weights = dict[str, Array]

GATE_SECONDS = 300.0
WIDE = 500


def initial_weights(seed: int, width: int = 10) -> Weights:
    """About 1 KB: several chunks a shard where chunks are small."""
    numbers = np.random.default_rng(seed)
    return {
        "kernel": numbers.standard_normal((24, width)).astype(np.float32),
        "bias": np.zeros(width, np.float32),
        "gain": np.array(1.0, np.float64),
    }


def trained(weights: Mapping[str, Array], client: str, round_number: int) -> tuple[Weights, int]:
    """What a client makes of a model in a round, and its number of examples."""
    seed = int.from_bytes(hashlib.sha256(f"{client}/{round_number}".encode()).digest()[:8], "big")
    numbers = np.random.default_rng(seed)
    num_examples = int(numbers.integers(1, 1000))
    new = {
        name: np.asarray(value * 0.5 + numbers.standard_normal(value.shape), value.dtype)
        for name, value in weights.items()
    }
    return new, num_examples


def spread(weights: Mapping[str, Array]) -> Metrics:
    return {"spread": float(max(np.abs(value).max() for value in weights.values()))}


def pass_gate(config: Config) -> None:
    """Where the config names a folder: wait until a file called like the round is in it."""
    if "gate" not in config:
        return
    gate = Path(str(config["gate"])) / str(config["round"])
    deadline = time.monotonic() + GATE_SECONDS
    while not gate.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody opened the gate {gate}")
        time.sleep(0.01)


def misbehave(fault: object, weights: Weights) -> Any:
    """One way not to train; what comes back stands for the result."""
    num_examples: object = 10
    match fault:
        case "raises":
            raise RuntimeError("the sensor is unplugged")
        case "shapes":
            weights = weights | {"kernel": np.zeros((2, 2), np.float32)}
        case "examples":
            num_examples = float("nan")
        case "in-place":
            weights["kernel"] += 1.0
        case "nan":
            weights = weights | {"bias": np.full_like(weights["bias"], np.nan)}
        case "huge":
            weights = weights | {"bias": np.full_like(weights["bias"], 1e30)}
        case _:
            raise AssertionError(f"unknown fault {fault}")
    return weights, num_examples, {}


def make_app(weights: Weights, *, graded: bool = True) -> App:
    """An app of these initial weights, which servers evaluate if it is `graded`.

    `fault` in the config makes round 1 go wrong.
    """
    made = App(weights=weights)

    @made.train
    def train(weights: Weights, config: Config) -> Any:
        pass_gate(config)
        if "fault" in config and config["round"] == 1:
            return misbehave(config["fault"], weights)
        new, num_examples = trained(weights, str(config["client_id"]), int(config["round"]))
        return new, num_examples, spread(new)

    @made.evaluate
    def evaluate(weights: Weights, _config: Config) -> tuple[int, Metrics]:
        return 1, spread(weights)

    def evaluate_global(weights: Weights, _config: Config) -> Metrics:
        return spread(weights)

    if graded:
        made.evaluate_global(evaluate_global)
    return made


app = make_app(initial_weights(0))
ungraded = make_app(initial_weights(0), graded=False)
other = make_app(initial_weights(1))
wider = make_app(initial_weights(0, width=11))
wide = make_app(initial_weights(0, WIDE))
larger = make_app(initial_weights(0, width=5_000))
