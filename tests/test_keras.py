"""The Keras adapter: exact weights in and out, reproducible updates, and an import that costs nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import fdstream.keras
from fdstream.app import App, Config
from fdstream.dtypes import Array
from fdstream.errors import UsageError

CONFIG = {"round": 1, "data_index": 0}
EXAMPLES = 24


def data(config: Config) -> tuple[Array, Array]:
    random = np.random.default_rng(int(config.get("data_index", 0)))
    x = random.normal(size=(EXAMPLES, 4)).astype(np.float32)
    return x, (x.sum(axis=1) > 0).astype(np.int32)


def model() -> Any:
    import keras

    network = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(3, activation="relu", name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(2, activation="softmax", name="out"),
        ],
        name="net",
    )
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network


def new_app(**options: Any) -> App:
    return fdstream.keras.app(model, data, epochs=2, batch_size=8, **options)


@pytest.fixture(scope="module")
def app() -> App:
    return new_app(test_fn=lambda: data({"data_index": 99}))


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_importing_the_adapter_imports_no_framework_and_chooses_a_backend() -> None:
    code = (
        "import fdstream.keras, sys, os; "
        "print(sorted({'keras', 'jax', 'sklearn', 'tensorflow', 'torch'} & set(sys.modules)), "
        "os.environ['KERAS_BACKEND'])"
    )
    assert run_python(code).stdout == "[] jax\n"
    assert run_python(code, KERAS_BACKEND="torch").stdout == "[] torch\n"


def test_without_keras_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['keras'] = None\n"
        "import fdstream.keras\n"
        "fdstream.keras.app(lambda: None, lambda config: None).initial_weights()"
    )
    error = run_python(code).stderr.splitlines()[-1]
    assert error.startswith("fdstream.errors.UsageError: this app needs Keras")
    assert error.endswith("pip install 'fdstream[keras]'")


def test_weights_are_named_by_path_in_the_models_order(app: App) -> None:
    assert {name: array.shape for name, array in app.initial_weights().items()} == {
        "net/hidden/kernel": (4, 3),
        "net/hidden/bias": (3,),
        "net/norm/gamma": (3,),
        "net/norm/beta": (3,),
        "net/norm/moving_mean": (3,),
        "net/norm/moving_variance": (3,),
        "net/out/kernel": (3, 2),
        "net/out/bias": (2,),
    }


def test_every_process_starts_from_the_same_weights_and_a_seed_changes_them(app: App) -> None:
    kernels = [made.initial_weights()["net/hidden/kernel"] for made in (app, new_app(), new_app(seed=1))]
    assert np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_an_update_depends_only_on_weights_round_and_data_index(app: App) -> None:
    """Not on what the process trained before: optimizer state, shuffling, dropout."""
    start = app.initial_weights()
    first = app.run_train(start, CONFIG)
    for name, array in app.initial_weights().items():
        assert np.array_equal(start[name], array), name
    other_round = app.run_train(first.weights, {"round": 2, "data_index": 0})
    again = app.run_train(start, CONFIG)
    elsewhere = new_app().run_train(start, CONFIG)
    for name in start:
        assert np.array_equal(first.weights[name], again.weights[name]), name
        assert np.array_equal(first.weights[name], elsewhere.weights[name]), name
    assert first.metrics == again.metrics
    assert not np.array_equal(first.weights["net/out/bias"], other_round.weights["net/out/bias"])
    reshuffled = app.run_train(start, {"round": 2, "data_index": 0})
    assert not np.array_equal(first.weights["net/out/bias"], reshuffled.weights["net/out/bias"])


def test_training_reports_examples_and_the_last_epochs_metrics(app: App) -> None:
    result = app.run_train(app.initial_weights(), CONFIG)
    assert result.num_examples == EXAMPLES
    assert set(result.metrics) == {"loss", "accuracy"}
    first_epoch = fdstream.keras.app(model, data, epochs=1, batch_size=8).run_train(
        app.initial_weights(), CONFIG
    )
    assert result.metrics["loss"] != first_epoch.metrics["loss"]
    assert 0 <= result.metrics["accuracy"] <= 1


def test_the_received_weights_are_what_is_evaluated(app: App) -> None:
    zeros = {name: np.zeros_like(array) for name, array in app.initial_weights().items()}
    evaluated = app.run_evaluate(zeros, CONFIG)
    assert evaluated is not None
    assert evaluated.num_examples == EXAMPLES
    assert np.isclose(evaluated.metrics["loss"], np.log(2))
    metrics = app.run_evaluate_global(zeros, CONFIG)
    assert metrics is not None
    assert np.isclose(metrics["loss"], np.log(2))
    assert new_app().run_evaluate_global(zeros, CONFIG) is None


def test_names_come_from_the_federation_not_from_the_process(app: App) -> None:
    received = {f"t{index}": array for index, array in enumerate(app.initial_weights().values())}
    assert list(app.run_train(received, CONFIG).weights) == list(received)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda keras: keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]), "compiled Keras model"),
        (lambda _keras: 3, "compiled Keras model"),
        (
            lambda keras: compiled(keras.Sequential([keras.layers.Dense(1)])),
            r"built Keras model.*keras\.Input",
        ),
    ],
)
def test_a_model_that_cannot_train_is_refused(make: Any, says: str) -> None:
    import keras

    with pytest.raises(UsageError, match=says):
        fdstream.keras.app(lambda: make(keras), data).initial_weights()


def compiled(network: Any) -> Any:
    network.compile("sgd", "mse")
    return network
