"""How chunks travel: whole, in a narrower dtype, as 8-bit integers, or as their largest elements alone.

A codec is lossy where it encodes and exact from there on: every reader decodes a payload to the same values, and
what was sent is what is summed. A payload's length follows from the codec, the dtype and the number of elements, so
that a wrong one is refused unread. Integer tensors always travel whole. This file knows no records and no clock.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, Protocol

import ml_dtypes
import numpy as np
import numpy.typing as npt

from fdstream.dtypes import DTYPES, Array, Payload, from_payload, payload

FULL: Final = "full"
_INDEX: Final = np.dtype("<u4")
_SCALE: Final = np.dtype("<f4")
_MOST: Final = 127
_LARGEST_FRACTION: Final = 0.5  # beyond it indices and values would need more room than the chunk itself


class Codec(Protocol):
    """One way to travel. Values are 1-D arrays of a float dtype."""

    @property
    def text(self) -> str:
        """The canonical spelling, which `codec` reads back."""

    @property
    def remembers(self) -> bool:
        """Whether a sender adds what it had to leave out to what it sends next (error feedback)."""

    @property
    def largest(self) -> float:
        """The largest magnitude that stays finite on the way."""

    def encoded_bytes(self, dtype: np.dtype[Any], count: int) -> int:
        """Length of the payload of `count` elements."""

    def encode(self, values: Array, seed: int) -> memoryview:
        """The payload; a pure function of the values and, where it rounds by chance, of the seed (128 bits)."""

    def decode(self, data: Payload, dtype: np.dtype[Any], count: int) -> Array:
        """The values in `dtype`. Raises `ValueError` for what `encode` would never make."""


@dataclass(frozen=True, slots=True)
class Full:
    """Every element in its own dtype, without a copy in either direction."""

    text: str = FULL
    remembers: bool = False
    largest: float = math.inf

    def encoded_bytes(self, dtype: np.dtype[Any], count: int) -> int:
        return count * dtype.itemsize

    def encode(self, values: Array, seed: int) -> memoryview:
        del seed
        return payload(values)

    def decode(self, data: Payload, dtype: np.dtype[Any], count: int) -> Array:
        return from_payload(data, dtype, count)


WHOLE: Final = Full()


@dataclass(frozen=True, slots=True)
class Cast:
    """Every element rounded to a narrower float; what is as narrow already travels whole."""

    text: str
    remembers: bool = False

    @property
    def largest(self) -> float:
        return float(ml_dtypes.finfo(DTYPES[self.text]).max)  # type: ignore[no-untyped-call]

    def _wire(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        narrow = DTYPES[self.text]
        return narrow if narrow.itemsize < dtype.itemsize else dtype

    def encoded_bytes(self, dtype: np.dtype[Any], count: int) -> int:
        return count * self._wire(dtype).itemsize

    def encode(self, values: Array, seed: int) -> memoryview:
        del seed
        with np.errstate(over="ignore"):  # what turns infinite is refused where updates are checked
            return payload(values.astype(self._wire(values.dtype), copy=False))

    def decode(self, data: Payload, dtype: np.dtype[Any], count: int) -> Array:
        with np.errstate(invalid="ignore"):  # a signalling NaN warns; it is refused where values are checked
            return from_payload(data, self._wire(dtype), count).astype(dtype, copy=False)


@dataclass(frozen=True, slots=True)
class Int8:
    """A float32 scale and then whole multiples of it from -127 to 127, rounded up or down by chance.

    The chance makes the expectation the value itself: stochastic rounding, as in QSGD (Alistarh et al. 2017,
    arXiv:1610.02132), with the chunk's largest magnitude as the norm.
    """

    text: str = "int8"
    remembers: bool = True
    largest: float = float(np.finfo(np.float32).max)

    def encoded_bytes(self, dtype: np.dtype[Any], count: int) -> int:
        del dtype
        return _SCALE.itemsize + count

    def encode(self, values: Array, seed: int) -> memoryview:
        data = np.empty(_SCALE.itemsize + values.size, np.uint8)
        steps = data[_SCALE.itemsize :].view(np.int8)
        with np.errstate(over="ignore", invalid="ignore"):
            scale = np.float32(_largest(values) / _MOST)
            data[: _SCALE.itemsize] = np.frombuffer(scale.tobytes(), np.uint8)
            steps[...] = _stochastic(values, scale, seed) if scale > 0 else 0
        return payload(data)

    def decode(self, data: Payload, dtype: np.dtype[Any], count: int) -> Array:
        found = from_payload(data, np.dtype(np.uint8), _SCALE.itemsize + count)
        steps = found[_SCALE.itemsize :].view(np.int8)
        # A hostile scale is no warning: it is refused where values are checked.
        with np.errstate(over="ignore", invalid="ignore"):
            scale = found[: _SCALE.itemsize].view(_SCALE)[0].astype(_arithmetic(dtype))
            values: Array = (steps.astype(scale.dtype) * scale).astype(dtype, copy=False)
        return values


@dataclass(frozen=True, slots=True)
class TopK:
    """The elements of largest magnitude, a fixed fraction of each chunk: ascending indices, then values.

    Sparsified updates converge with error feedback: Stich, Cordonnier and Jaggi 2018, arXiv:1809.07599.
    """

    fraction: float
    remembers: bool = True
    largest: float = math.inf

    @property
    def text(self) -> str:
        return f"topk:{self.fraction!r}"

    def _kept(self, count: int) -> int:
        return math.ceil(self.fraction * count)

    def encoded_bytes(self, dtype: np.dtype[Any], count: int) -> int:
        return self._kept(count) * (_INDEX.itemsize + dtype.itemsize)

    def encode(self, values: Array, seed: int) -> memoryview:
        del seed
        rest = values.size - self._kept(values.size)
        largest = np.argpartition(np.abs(values), rest)[rest:] if values.size else np.empty(0, np.int64)
        indices = np.sort(largest).astype(_INDEX)
        return payload(
            np.concatenate([indices.view(np.uint8), values[indices].view(np.uint8)], dtype=np.uint8)
        )

    def decode(self, data: Payload, dtype: np.dtype[Any], count: int) -> Array:
        found = from_payload(data, np.dtype(np.uint8), self.encoded_bytes(dtype, count))
        border = self._kept(count) * _INDEX.itemsize
        indices = np.frombuffer(found[:border], _INDEX)
        if indices.size and (indices[-1] >= count or (indices[1:] <= indices[:-1]).any()):
            raise ValueError(f"the indices do not ascend within {count} elements")
        values: Array = np.zeros(count, dtype)
        values[indices] = np.frombuffer(found[border:], dtype)
        return values


def _largest(values: Array) -> float:
    """The largest magnitude, NaN where there is one; no temporary as large as the values."""
    return float(np.maximum(values.max(), -values.min())) if values.size else 0.0


def _arithmetic(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What to multiply in: float16 and bfloat16 are storage formats."""
    return np.dtype(np.float64) if dtype == np.float64 else np.dtype(np.float32)


def _stochastic(values: Array, scale: np.float32, seed: int) -> npt.NDArray[np.float32]:
    """values / scale, each rounded down or up with the probability that makes it right on average; [n]."""
    scaled = values.astype(np.float32, copy=False) / scale
    scaled += _noise(values.size, seed)
    np.floor(scaled, out=scaled)
    return np.clip(scaled, -_MOST, _MOST, out=scaled)


def _noise(count: int, seed: int) -> npt.NDArray[np.float32]:
    """`count` numbers in (0, 1), 16 random bits each; [count].

    From raw PCG64 output, whose stream numpy keeps (NEP 19), unlike that of its distributions.
    """
    raw = np.random.PCG64(seed).random_raw((count + 3) // 4)
    return (raw.view(np.uint16)[:count] + np.float32(0.5)) * np.float32(2.0**-16)


_CODECS: tuple[Codec, ...] = (WHOLE, Cast("float32"), Cast("bfloat16"), Cast("float16"), Int8())
_PLAIN: Final[Mapping[str, Codec]] = MappingProxyType({each.text: each for each in _CODECS})
_SPELLINGS: Final = ", ".join([*_PLAIN, "topk:FRACTION"])


@lru_cache(maxsize=64)
def codec(text: str) -> Codec:
    """The codec that `text` spells. Raises `ValueError`.

    >>> codec("topk:1e-2").text
    'topk:0.01'
    """
    if text in _PLAIN:
        return _PLAIN[text]
    name, colon, rest = text.partition(":")
    if name != "topk" or not colon:
        raise ValueError(f"there is no codec {text[:80]!r}; use one of {_SPELLINGS}")
    return TopK(_fraction(rest))


def model_codec(text: str) -> Codec:
    """The codec of a broadcast that `text` spells. Raises `ValueError`, also for parts of a model."""
    found = codec(text)
    if isinstance(found, TopK):
        raise ValueError(
            f"{text} leaves most of a chunk out, and a model has to arrive whole; use another codec"
        )
    return found


def _fraction(text: str) -> float:
    try:
        fraction = float(text)
    except ValueError:
        fraction = math.nan
    if not 0.0 < fraction <= _LARGEST_FRACTION:
        raise ValueError(f"topk: {text[:80]!r} is not a fraction above 0 and at most {_LARGEST_FRACTION}")
    return fraction


def seed_of(seed: int, sender: str, round_number: int, index: int) -> int:
    """The seed for one chunk: the same whenever the sender encodes it anew, and in every run with the same seed.

    The first 16 bytes, big-endian, of SHA-256 over the federation's seed, the round and the index as unsigned
    64-bit integers, little-endian, and the sender's name in UTF-8; servers have the empty name.
    """
    key = struct.pack("<QQQ", seed, round_number, index) + sender.encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:16], "big")


def for_dtype(chosen: Codec, dtype: str) -> Codec:
    """The codec for the chunks of tensors of a dtype: integers travel whole."""
    return WHOLE if DTYPES[dtype].kind in "iu" else chosen
