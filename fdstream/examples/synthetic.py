"""Models of any size and updates that are a pure function of their key: no data, no training, no library.

    fdstream server --model-size 1MB --numrounds 5 --minclients 100
    fdstream swarm --model-size 1MB --clients 100 --work synthetic

The same federation of the same clients always ends in the same bytes, on any machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fdstream.app import App
from fdstream.dtypes import Array

MAX_EXAMPLES: Final = 1000
_STEP: Final = np.float32(2.0**-22)  # times a 16-bit integer: values in [-2^-7, 2^-7)


def app(model_bytes: int, seed: int) -> App:
    """An app of which only the initial weights are used: `model_bytes` of them, float32 and up to 3 of int8."""
    return App(weights=lambda: initial_weights(model_bytes, seed))


def initial_weights(model_bytes: int, seed: int) -> dict[str, Array]:
    """`model_bytes` of weights, a pure function of the arguments."""
    count, rest = divmod(model_bytes, 4)
    weights: dict[str, Array] = {"weights": noise(count, "initial", seed)}
    return weights | ({"rest": np.zeros(rest, np.int8)} if rest else {})


def train(
    weights: Mapping[str, Array], seed: int, client: str, round_number: int
) -> tuple[dict[str, Array], int]:
    """New weights and num_examples; what is added is a pure function of (seed, client, round)."""
    trained = {
        name: _moved(array, noise(array.size, seed, client, round_number, name).reshape(array.shape))
        for name, array in weights.items()
    }
    return trained, 1 + _number(seed, client, round_number, "examples") % MAX_EXAMPLES


def noise(count: int, *key: str | int) -> npt.NDArray[np.float32]:
    """`count` float32 values in [-2^-7, 2^-7), a pure function of the key on every machine; [count].

    From raw PCG64 output, whose stream numpy keeps (NEP 19), unlike that of its distributions.
    """
    raw = np.random.PCG64(_number(*key)).random_raw((count + 3) // 4)
    return raw.view(np.int16)[:count] * _STEP


def _number(*key: str | int) -> int:
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:16], "big")


def _moved(array: Array, change: npt.NDArray[np.float32]) -> Array:
    """`array` plus the change, in its dtype; an integer goes up by one or stays, within the dtype's range."""
    dtype: np.dtype[Any] = array.dtype
    if dtype.kind in "iu":
        moved: Array = array + ((change >= 0) & (array < np.iinfo(dtype).max)).astype(dtype)
        return moved
    with np.errstate(over="ignore"):  # infinity is refused where the update is sent
        return np.asarray(array + change).astype(dtype, copy=False)
