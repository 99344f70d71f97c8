"""Element types: which ones a model may have, what updates travel as, and arrays <-> bytes.

The names here are the only dtypes that ever come off the wire; nothing else is looked up by name. Bytes on
the wire are little-endian and so are the hosts, hence no byte is ever swapped. This file knows no tensors'
names, no chunks and no records.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import ml_dtypes
import numpy as np
import numpy.typing as npt

from fdstream.errors import UsageError

Array = npt.NDArray[Any]
Payload = bytes | bytearray | memoryview

if sys.byteorder != "little":
    raise UsageError("fdstream runs on little-endian hosts only: its wire format is the host's memory format")

DTYPES: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "float16": np.dtype(np.float16),
        "float32": np.dtype(np.float32),
        "float64": np.dtype(np.float64),
        "bfloat16": np.dtype(ml_dtypes.bfloat16),
        "int8": np.dtype(np.int8),
        "int16": np.dtype(np.int16),
        "int32": np.dtype(np.int32),
        "int64": np.dtype(np.int64),
        "uint8": np.dtype(np.uint8),
        "uint16": np.dtype(np.uint16),
        "uint32": np.dtype(np.uint32),
        "uint64": np.dtype(np.uint64),
    }
)

MAX_EXACT_INTEGER: Final = 1 << 53
"""Integers up to this magnitude are exact in float64; models hold none beyond it."""

_WIDE = frozenset({"float64", "int32", "int64", "uint32", "uint64"})


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype called `name`. Raises `ValueError` for a name that is not in `DTYPES`."""
    try:
        return DTYPES[name]
    except KeyError:
        raise ValueError(f"dtype {name!r} is not supported; use one of {', '.join(DTYPES)}") from None


@lru_cache(maxsize=64)
def name_of(dtype: np.dtype[Any]) -> str:
    """Its name, which numpy puts together anew each time: 10,000 tensors would feel it."""
    return dtype.name


def update_dtype(dtype: str | np.dtype[Any]) -> np.dtype[Any]:
    """What the difference of two values of `dtype` travels as, and what strategy state is stored as.

    float64 for float64 and the 32- and 64-bit integers, float32 for everything narrower: exact for integers
    of up to 16 bits, one rounding to 24 bits for float16, bfloat16 and float32.
    """
    name = dtype if isinstance(dtype, str) else name_of(dtype)
    dtype_of(name)
    return DTYPES["float64"] if name in _WIDE else DTYPES["float32"]


def payload(values: Array) -> memoryview:
    """The bytes of a contiguous one-dimensional array, without a copy; works for bfloat16 too."""
    return values.view(np.uint8).data


def from_payload(data: Payload, dtype: np.dtype[Any], count: int) -> Array:
    """`count` elements over the bytes of `data`, without a copy, read-only where the buffer is.

    Raises `ValueError` where the payload has another length.
    """
    expected = count * dtype.itemsize
    found = data.nbytes if isinstance(data, memoryview) else len(data)
    if found != expected:
        raise ValueError(f"payload has {found} bytes, expected {expected} ({count} elements of {dtype.name})")
    return np.frombuffer(data, dtype=dtype, count=count)
