"""Handwritten digits with Keras: the default app, and all that a Keras user has to write.

scikit-learn brings the data, 1,797 images of 8 x 8 pixels: 360 held out for the server, the rest split over
the clients so that each mostly has a few of the ten digits (Hsu, Qi and Brown 2019, arXiv:1909.06335: each
digit is shared out by a draw from a Dirichlet distribution; alpha 0.5 is strongly skewed). Settings:
`--data-index i` gives a client part i, else its id picks one; `--set partitions=n` is the number of parts.
"""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

import numpy as np

import fdstream.keras
from fdstream.app import Config
from fdstream.dtypes import Array
from fdstream.errors import UsageError

HELD_OUT = 360
PARTITIONS = 10
SKEW = 0.5  # the Dirichlet distribution's alpha
FEWEST = 8  # examples that every client has
SEED = 2026
EPOCHS = 5  # a round
BATCH_SIZE = 16


def network() -> Any:
    """64 pixels -> 128 hidden units -> 10 digits."""
    import keras

    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.SGD(0.3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@cache
def digits() -> tuple[Array, Array]:
    """All images [1797, 64] as float32 in 0 to 1 and their digits [1797], in one shuffled order."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise UsageError("the digits example needs scikit-learn: pip install 'fdstream[digits]'") from error
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(labels))
    return (images[order] / 16).astype(np.float32), labels[order]


def held_out() -> tuple[Array, Array]:
    """The images and digits that no client trains on."""
    images, labels = digits()
    return images[:HELD_OUT], labels[:HELD_OUT]


@cache
def split(partitions: int) -> list[Array]:
    """Which of the training images each of `partitions` clients has; every image belongs to one client."""
    labels = digits()[1][HELD_OUT:]
    if not 1 <= partitions <= len(labels) // FEWEST:
        raise UsageError(
            f"partitions is {partitions}: the digits can be split into 1 to {len(labels) // FEWEST}"
        )
    random = np.random.default_rng(SEED)
    owner = np.empty(len(labels), int)
    for digit in range(10):
        shares = random.dirichlet(np.full(partitions, SKEW))
        of_digit = np.flatnonzero(labels == digit)
        owner[of_digit] = random.choice(partitions, len(of_digit), p=shares)
    while (sizes := np.bincount(owner, minlength=partitions)).min() < FEWEST:
        owner[random.choice(np.flatnonzero(owner == sizes.argmax()))] = sizes.argmin()
    return [np.flatnonzero(owner == client) for client in range(partitions)]


def client_data(config: Config) -> tuple[Array, Array]:
    """The images and digits of the client whose settings are `config`."""
    partitions = int(config.get("partitions", PARTITIONS))
    parts = split(partitions)
    by_id = zlib.crc32(str(config.get("client_id")).encode()) % partitions
    index = int(config.get("data_index", by_id))
    if not 0 <= index < partitions:
        raise UsageError(
            f"data_index is {index}, of {partitions} partitions: give --set partitions={index + 1}"
        )
    images, labels = digits()
    return images[HELD_OUT:][parts[index]], labels[HELD_OUT:][parts[index]]


app = fdstream.keras.app(network, client_data, test_fn=held_out, epochs=EPOCHS, batch_size=BATCH_SIZE)


def centralised(epochs: int) -> float:
    """Held-out accuracy of the same network trained for `epochs` on all the clients' data at once."""
    import keras

    model = network()
    model.set_weights(list(app.initial_weights().values()))
    keras.utils.set_random_seed(SEED)
    images, labels = digits()
    model.fit(images[HELD_OUT:], labels[HELD_OUT:], batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return float(model.evaluate(*held_out(), verbose=0, return_dict=True)["accuracy"])
