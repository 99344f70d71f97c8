"""The digits example: an honest split, and a federation that learns nearly what central training does."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from fdstream.errors import UsageError
from fdstream.examples import digits
from tests.examples.federated import federate


@pytest.mark.parametrize("partitions", [1, 2, 10, 100, 179])
def test_every_training_image_belongs_to_one_client_and_each_has_some(partitions: int) -> None:
    parts = digits.split(partitions)
    assert len(parts) == partitions
    assert min(map(len, parts)) >= digits.FEWEST
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1797 - digits.HELD_OUT))


def test_the_split_is_skewed_and_the_same_in_every_process() -> None:
    labels = digits.digits()[1][digits.HELD_OUT :]
    parts = digits.split(10)
    counts = np.array([np.bincount(labels[part], minlength=10) for part in parts])
    largest_three = np.sort(counts, axis=1)[:, -3:].sum(axis=1) / counts.sum(axis=1)
    assert np.median(largest_three) > 0.6  # 0.3 if the digits were spread evenly
    digits.split.cache_clear()
    assert all(map(np.array_equal, parts, digits.split(10)))


def test_held_out_images_are_not_among_the_clients() -> None:
    held_out = {image.tobytes() for image in digits.held_out()[0]}
    clients = [digits.client_data({"data_index": index})[0] for index in range(10)]
    assert sum(map(len, clients)) == 1797 - len(digits.held_out()[0])
    assert not held_out & {image.tobytes() for images in clients for image in images}


def test_a_client_without_a_data_index_is_given_a_part_by_its_id() -> None:
    parts = [digits.client_data({"client_id": f"client-{index}"})[1] for index in range(40)]
    assert len({len(part) for part in parts}) > 5
    again = digits.client_data({"client_id": "client-0"})[1]
    assert np.array_equal(parts[0], again)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"data_index": 10}, "data_index is 10, of 10 partitions: give --set partitions=11"),
        ({"data_index": -1}, "data_index is -1"),
        ({"data_index": 0, "partitions": 0}, "partitions is 0: the digits can be split into 1 to 179"),
        ({"data_index": 0, "partitions": 180}, "partitions is 180"),
    ],
)
def test_settings_that_cannot_be_met_are_refused(config: dict[str, int], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        digits.client_data(config)


def test_importing_the_example_imports_no_framework() -> None:
    code = (
        "import fdstream.examples.digits, sys; "
        "print({'keras', 'jax', 'sklearn', 'tensorflow', 'confluent_kafka'} & set(sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )


def test_without_scikit_learn_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['sklearn.datasets'] = None; from fdstream.examples import digits; digits.digits()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (
        "UsageError: the digits example needs scikit-learn: pip install 'fdstream[digits]'" in result.stderr
    )


def test_five_rounds_come_near_to_central_training() -> None:
    weights = federate(digits.app, rounds=5, clients=5, partitions=5)
    metrics = digits.app.run_evaluate_global(weights, {})
    assert metrics is not None
    assert metrics["accuracy"] > 0.92
    assert metrics["accuracy"] > digits.centralised(5 * digits.EPOCHS) - 0.06
