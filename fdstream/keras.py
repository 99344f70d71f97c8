"""An `App` out of a compiled Keras model and a function that gives a client's data.

    import fdstream.keras, keras

    def model_fn(): ...            # -> a compiled keras.Model with known input shape
    def data_fn(config): ...       # -> (x, y), this client's examples

    app = fdstream.keras.app(model_fn, data_fn, epochs=5)

Importing this file costs nothing: Keras is imported when a model is first needed. The backend is
`KERAS_BACKEND` if that is set, else the first that is installed of JAX (what `fdstream[keras]` brings),
TensorFlow and PyTorch, chosen here, so import this file before Keras. `keras.json` is not asked: Keras
itself writes that file. Knows no protocol and no transport.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from fdstream.app import App, Config, Metrics
from fdstream.dtypes import Array
from fdstream.errors import UsageError

BACKENDS = ("jax", "tensorflow", "torch")

Data = tuple[Any, Any]  # x and y as keras.Model.fit takes them, all with the same number of examples


def app(
    model_fn: Callable[[], Any],
    data_fn: Callable[[Config], Data],
    *,
    test_fn: Callable[[], Data] | None = None,
    epochs: int = 1,
    batch_size: int = 32,
    seed: int = 0,
) -> App:
    """An app that trains the model of `model_fn` for `epochs` a round on the data of `data_fn(config)`.

    `model_fn` returns a compiled, built `keras.Model`. It is called once a process, right after
    `keras.utils.set_random_seed(seed)`, so every process starts from the same weights. `data_fn` is called
    once for each training and each evaluation: keep the data if making it is slow. `test_fn` gives the
    examples the server evaluates on after each round; without it the server needs no data.

    Every round starts from the received weights, a fresh optimizer state and random numbers drawn from
    (round, data_index), so a client that trains a round again gets the same update. Metrics are those of
    `compile`: of the last epoch in training, of the received model in evaluation.
    """
    trainer = _Trainer(model_fn, epochs, batch_size, seed)
    made = App(trainer.initial_weights)

    @made.train
    def train(weights: Mapping[str, Array], config: Config) -> tuple[Mapping[str, Array], int, Metrics]:
        return trainer.train(weights, data_fn(config), config)

    @made.evaluate
    def evaluate(weights: Mapping[str, Array], config: Config) -> tuple[int, Metrics]:
        return trainer.evaluate(weights, data_fn(config))

    if test_fn is not None:

        @made.evaluate_global
        def evaluate_global(weights: Mapping[str, Array], _config: Config) -> Metrics:
            return trainer.evaluate(weights, test_fn())[1]

    return made


class _Trainer:
    """One model, built when first needed and used for every call after that."""

    def __init__(self, model_fn: Callable[[], Any], epochs: int, batch_size: int, seed: int) -> None:
        self._model_fn = model_fn
        self._epochs = epochs
        self._batch_size = batch_size
        self._seed = seed
        self._weights_start: list[Array] = []
        self._optimizer_start: list[Array] = []

    @cached_property
    def _model(self) -> Any:
        _import_keras().utils.set_random_seed(self._seed)
        model = self._model_fn()
        if not getattr(model, "compiled", False):
            raise UsageError("model_fn must return a compiled Keras model: call model.compile(...) in it")
        if not model.built:
            raise UsageError("model_fn must return a built Keras model: give it a keras.Input with its shape")
        model.optimizer.build(model.trainable_variables)
        self._weights_start = _arrays(model.weights)
        self._optimizer_start = _arrays(model.optimizer.variables)
        return model

    def initial_weights(self) -> dict[str, Array]:
        """The weights by the path of their layer, as `model_fn` made them, whatever was trained since."""
        paths = [variable.path for variable in self._model.weights]
        if len(set(paths)) < len(paths):
            paths = [f"{path}:{index}" for index, path in enumerate(paths)]
        return dict(zip(paths, self._weights_start, strict=True))

    def train(
        self, weights: Mapping[str, Array], data: Data, config: Config
    ) -> tuple[dict[str, Array], int, Metrics]:
        self._receive(weights)
        seed = _seed(config)
        self._start_afresh(seed)
        history = self._model.fit(
            *data,
            batch_size=self._batch_size,
            epochs=self._epochs,
            verbose=0,
            callbacks=[_shuffling(seed)],
        )
        # By position: the number in an automatic name such as dense_3 counts what its process built before.
        trained = dict(zip(weights, _arrays(self._model.weights), strict=True))
        return trained, _count(data), {name: values[-1] for name, values in history.history.items()}

    def evaluate(self, weights: Mapping[str, Array], data: Data) -> tuple[int, Metrics]:
        self._receive(weights)
        metrics = self._model.evaluate(*data, batch_size=self._batch_size, verbose=0, return_dict=True)
        return _count(data), metrics

    def _receive(self, weights: Mapping[str, Array]) -> None:
        self._model.set_weights(list(weights.values()))

    def _start_afresh(self, seed: int) -> None:
        """Set optimizer state and the random states of layers such as dropout as if nothing had run before."""
        for variable, value in zip(self._model.optimizer.variables, self._optimizer_start, strict=True):
            variable.assign(value)
        weights = {id(variable) for variable in self._model.weights}
        generators = [variable for variable in self._model.variables if id(variable) not in weights]
        for index, state in enumerate(generators):
            state.assign([seed, index])


def _seed(config: Config) -> int:
    who = config.get("data_index", config.get("client_id"))
    return zlib.crc32(f"{config.get('round')} {who}".encode()) >> 1


def _shuffling(seed: int) -> Any:
    """A callback that fixes the order of examples; in each epoch, since a first fit draws before its epochs."""
    keras = _import_keras()
    return keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, _logs: keras.utils.set_random_seed(seed + epoch)
    )


def _arrays(variables: Iterable[Any]) -> list[Array]:
    return [_import_keras().ops.convert_to_numpy(variable.value) for variable in variables]


def _count(data: Data) -> int:
    return len(_import_keras().tree.flatten(data)[0])


def _choose_backend() -> None:
    installed = [name for name in BACKENDS if importlib.util.find_spec(name)]
    if installed and "keras" not in sys.modules:
        os.environ.setdefault("KERAS_BACKEND", installed[0])


def _import_keras() -> Any:
    try:
        import keras
    except ImportError as error:
        raise UsageError(
            f"this app needs Keras and a backend for it ({error}): pip install 'fdstream[keras]'"
        ) from error
    return keras


_choose_backend()
