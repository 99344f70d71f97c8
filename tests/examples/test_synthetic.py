"""Synthetic models have the size asked for and change in the same way everywhere."""

from __future__ import annotations

import hashlib

import ml_dtypes
import numpy as np
import pytest

from fdstream.dtypes import Array
from fdstream.examples.synthetic import app, noise, train
from fdstream.layout import Layout


@pytest.mark.parametrize("size", [1, 4, 40_000, 1_000_003])
def test_the_model_has_exactly_the_size_asked_for(size: int) -> None:
    weights = app(size, seed=7).initial_weights()
    assert Layout.of(weights, chunk_bytes=4096, shards=2).model_bytes == size


def test_initial_weights_follow_from_the_seed() -> None:
    first, again, other = (app(1000, seed).initial_weights()["weights"] for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_noise_is_the_same_on_every_machine_and_small() -> None:
    values = noise(1_000_001, "a", 1)
    assert values.shape == (1_000_001,)
    assert np.abs(values).max() <= 2.0**-7
    assert abs(float(values.mean())) < 1e-4
    assert values.std() > 2.0**-9
    pinned = "de073afe"
    assert hashlib.sha256(values.astype("<f4").tobytes()).hexdigest()[:8] == pinned


def test_an_update_depends_on_seed_client_and_round_and_nothing_else() -> None:
    weights = app(1000, 0).initial_weights()

    def update(*key: int | str) -> tuple[bytes, int]:
        seed, client, number = key
        trained, examples = train(weights, int(seed), str(client), int(number))
        return trained["weights"].tobytes(), examples

    assert update(7, "a", 1) == update(7, "a", 1)
    for other in ((8, "a", 1), (7, "b", 1), (7, "a", 2)):
        assert update(*other)[0] != update(7, "a", 1)[0]
        assert update(*other)[1] != update(7, "a", 1)[1]


@pytest.mark.parametrize(
    "dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, np.int8, np.uint8, np.int64]
)
def test_every_kind_of_tensor_keeps_its_dtype_and_shape_and_changes(dtype: type) -> None:
    received: dict[str, Array] = {"x": np.full((20, 30), 1, dtype)}
    trained, examples = train(received, 0, "a", 1)
    assert (trained["x"].dtype, trained["x"].shape) == (received["x"].dtype, (20, 30))
    assert np.count_nonzero(trained["x"] != received["x"]) > 0
    assert examples >= 1


def test_integers_stay_in_range() -> None:
    top = np.full(100, 127, np.int8)
    assert np.array_equal(train({"x": top}, 0, "a", 1)[0]["x"], top)


def test_scalars_and_empty_tensors() -> None:
    received: dict[str, Array] = {"scalar": np.ones((), np.float32), "empty": np.zeros((0, 3), np.float32)}
    trained, _ = train(received, 0, "a", 1)
    assert trained["scalar"].shape == ()
    assert trained["empty"].shape == (0, 3)
