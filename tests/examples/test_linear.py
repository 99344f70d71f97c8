"""The numpy example learns what no client alone could, and needs no extras."""

from __future__ import annotations

import numpy as np

from fdstream.examples.linear import FEATURES, TRUE_COEFFICIENTS, TRUE_INTERCEPT, app, points
from tests.examples.federated import federate


def test_federated_training_finds_the_plane() -> None:
    weights = federate(app, rounds=10, clients=5)
    assert np.abs(weights["coefficients"] - TRUE_COEFFICIENTS).max() < 0.05
    assert abs(weights["intercept"] - TRUE_INTERCEPT) < 0.05
    metrics = app.run_evaluate_global(weights, {})
    assert metrics is not None
    assert metrics["loss"] < 0.02  # the noise alone is 0.01


def test_clients_differ_in_number_and_place_of_their_points() -> None:
    assert len({len(points(index)[0]) for index in range(5)}) > 1
    centres = np.array([points(index)[0].mean(axis=0) for index in range(5)])
    assert centres.shape == (5, FEATURES)
    assert np.ptp(centres, axis=0).min() > 0.5


def test_a_round_trained_again_gives_the_same_update() -> None:
    start = app.initial_weights()
    config = {"round": 3, "data_index": 1}
    first, again = app.run_train(start, config), app.run_train(start, config)
    for name in start:
        assert np.array_equal(first.weights[name], again.weights[name])
    other = app.run_train(start, {"round": 4, "data_index": 1})
    assert not np.array_equal(first.weights["coefficients"], other.weights["coefficients"])


def test_the_received_model_is_evaluated_on_the_clients_data() -> None:
    inputs, targets = points(2)
    evaluated = app.run_evaluate(app.initial_weights(), {"data_index": 2})
    assert evaluated is not None
    assert evaluated.num_examples == len(inputs)
    assert np.isclose(evaluated.metrics["loss"], np.mean(targets**2))
