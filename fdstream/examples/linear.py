"""Linear regression in plain numpy: the smallest complete app, with all three functions.

    fdstream server --app fdstream.examples.linear:app
    fdstream client --app fdstream.examples.linear:app --data-index 0

Every client draws its own points around the same plane, from its own region of the inputs, so that no client
alone sees all of it. Nothing here is downloaded; a call of `train` takes about a millisecond.
"""

from __future__ import annotations

import numpy as np

from fdstream.app import App, Config, Metrics

FEATURES = 4
TRUE_COEFFICIENTS = np.array([2.0, -1.0, 0.5, 3.0])
TRUE_INTERCEPT = 4.0
EPOCHS = 5
LEARNING_RATE = 0.05
BATCH_SIZE = 20

Weights = dict[str, np.ndarray]

app = App(weights={"coefficients": np.zeros(FEATURES, np.float32), "intercept": np.zeros((), np.float32)})


def points(data_index: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs [examples, FEATURES] and noisy targets [examples] of one client; how many and where differs."""
    random = np.random.default_rng(data_index)
    centre = random.normal(size=FEATURES)
    inputs = random.normal(centre, 1.0, size=(random.integers(100, 300), FEATURES))
    noise = random.normal(scale=0.1, size=len(inputs))
    return inputs, inputs @ TRUE_COEFFICIENTS + TRUE_INTERCEPT + noise


def mean_squared_error(weights: Weights, inputs: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean((inputs @ weights["coefficients"] + weights["intercept"] - targets) ** 2))


@app.train
def train(weights: Weights, config: Config) -> tuple[Weights, int, Metrics]:
    data_index = int(config.get("data_index", 0))
    inputs, targets = points(data_index)
    random = np.random.default_rng([data_index, int(config["round"])])
    coefficients, intercept = weights["coefficients"].copy(), weights["intercept"].copy()
    for _ in range(EPOCHS):
        for batch in np.array_split(random.permutation(len(inputs)), len(inputs) // BATCH_SIZE):
            error = inputs[batch] @ coefficients + intercept - targets[batch]
            coefficients -= LEARNING_RATE * inputs[batch].T @ error / len(batch)
            intercept -= LEARNING_RATE * error.mean()
    trained = {"coefficients": coefficients, "intercept": intercept}
    return trained, len(inputs), {"loss": mean_squared_error(trained, inputs, targets)}


@app.evaluate
def evaluate(weights: Weights, config: Config) -> tuple[int, Metrics]:
    inputs, targets = points(int(config.get("data_index", 0)))
    return len(inputs), {"loss": mean_squared_error(weights, inputs, targets)}


@app.evaluate_global
def evaluate_global(weights: Weights, _config: Config) -> Metrics:
    return {"loss": mean_squared_error(weights, *points(data_index=1_000_000))}
