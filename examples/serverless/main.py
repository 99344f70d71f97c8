"""Functions that train: a small classifier in numpy, and the two handlers that platforms call.

    FDSTREAM_APP=main:app functions-framework --target handler --port 8080

Each client has points of its own, of three of ten classes on a ring: nobody can learn the others by itself. A call of
`train` takes milliseconds. Put slow imports of your own (TensorFlow, PyTorch) inside `train`, so that an invocation
with nothing to do does not pay for them.
"""

from __future__ import annotations

import hashlib

import numpy as np

import fdstream
from fdstream.client.serverless import handler, lambda_handler

__all__ = ["app", "handler", "lambda_handler"]

CLASSES, HIDDEN, EPOCHS, LEARNING_RATE = 10, 32, 20, 0.5


def initial_weights():
    """One hidden layer: 2 inputs, 32 units, 10 classes; 426 weights."""
    random = np.random.default_rng(0)
    return {
        "hidden": random.normal(0, 1, (2, HIDDEN)).astype(np.float32),
        "hidden_bias": np.zeros(HIDDEN, np.float32),
        "output": random.normal(0, 0.1, (HIDDEN, CLASSES)).astype(np.float32),
        "output_bias": np.zeros(CLASSES, np.float32),
    }


app = fdstream.App(weights=initial_weights)


def points(seed, classes):
    """200 points on a ring, [200, 2], and the class of each: the tenth of the ring that it lies in."""
    random = np.random.default_rng(seed)
    labels = random.choice(classes, 200)
    angle = (labels + random.uniform(0, 1, 200)) * 2 * np.pi / CLASSES
    return np.stack([np.cos(angle), np.sin(angle)], axis=1) * random.normal(3, 0.2, (200, 1)), labels


def own_points(client_id):
    """What only this client has: stands for a database or a bucket that this function may read."""
    seed = int.from_bytes(hashlib.sha256(client_id.encode()).digest()[:4], "big")
    return points(seed, np.random.default_rng(seed).choice(CLASSES, 3, replace=False))


def probabilities(weights, inputs):
    hidden = np.tanh(inputs @ weights["hidden"] + weights["hidden_bias"])
    scores = hidden @ weights["output"] + weights["output_bias"]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, scores / scores.sum(axis=1, keepdims=True)


def accuracy(weights, inputs, labels):
    return float((probabilities(weights, inputs)[1].argmax(axis=1) == labels).mean())


@app.train
def train(weights, config):
    inputs, labels = own_points(config["client_id"])
    w = {name: array.copy() for name, array in weights.items()}
    for _ in range(EPOCHS):
        hidden, found = probabilities(w, inputs)
        error = (found - np.eye(CLASSES)[labels]) / len(labels)
        back = error @ w["output"].T * (1 - hidden**2)
        w["output"] -= LEARNING_RATE * hidden.T @ error
        w["output_bias"] -= LEARNING_RATE * error.sum(axis=0)
        w["hidden"] -= LEARNING_RATE * inputs.T @ back
        w["hidden_bias"] -= LEARNING_RATE * back.sum(axis=0)
    loss = -np.log(probabilities(w, inputs)[1][np.arange(len(labels)), labels] + 1e-9).mean()
    return w, len(labels), {"loss": float(loss)}


@app.evaluate
def evaluate(weights, config):
    inputs, labels = own_points(config["client_id"])
    return len(labels), {"accuracy": accuracy(weights, inputs, labels)}


@app.evaluate_global
def evaluate_global(weights, _config):
    return {"accuracy": accuracy(weights, *points(1_000_000, CLASSES))}
