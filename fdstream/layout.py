"""Named tensors <-> chunks <-> shards: which bytes of a model travel in which record.

Tensors are grouped by dtype, groups in order of first appearance; a group is the flat vector of its tensors
in C order, one after another. Each group is cut into chunks of equally many elements (the last may be
shorter), and chunks are numbered through over all groups. So a chunk has one dtype and may span tensors.
Chunk i belongs to shard i modulo the number of shards. A model without elements still has one chunk, empty,
of float32.

This file knows no array's values (`fdstream.flat` moves those), no records and no I/O.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Final

import numpy as np

from fdstream.dtypes import DTYPES, Array, dtype_of, name_of, update_dtype
from fdstream.errors import UsageError

DEFAULT_CHUNK_BYTES: Final = 900 * 1024
"""With its record's other fields below every default size limit of Kafka and librdkafka (1,000,000 bytes)."""

SMALL_CHUNK_BYTES: Final = 128 * 1024
"""Below it a record costs as much as its bytes: for an even share alone no chunk is made smaller."""

MAX_TENSORS: Final = 10_000
MAX_CHUNKS: Final = 1 << 20
MAX_MODEL_BYTES: Final = 1 << 42
MAX_NAME_BYTES: Final = 256
MAX_DIMENSIONS: Final = 32
MIN_CHUNK_BYTES: Final = 8  # one element of the widest dtype

_EMPTY_DTYPE: Final = "float32"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One named tensor. Raises `ValueError` outside the limits above and `fdstream.dtypes.DTYPES`."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.name.isprintable():
            raise ValueError(f"a tensor's name must be printable: {self.name[:MAX_NAME_BYTES]!r}")
        if not 1 <= len(self.name.encode()) <= MAX_NAME_BYTES:
            raise ValueError(
                f"a tensor's name must have 1 to {MAX_NAME_BYTES} UTF-8 bytes: {self.name[:99]!r}"
            )
        if self.dtype not in DTYPES:
            raise ValueError(f"tensor {self.name!r} is {self.dtype}; use one of {', '.join(DTYPES)}")
        if len(self.shape) > MAX_DIMENSIONS or any(extent < 0 for extent in self.shape):
            raise ValueError(
                f"tensor {self.name!r} has shape {self.shape}: 0 to {MAX_DIMENSIONS} extents >= 0"
            )
        # Zeros count as ones, because numpy cannot make (0, 2**62) either.
        if math.prod(max(extent, 1) for extent in self.shape) * 8 > MAX_MODEL_BYTES:
            raise ValueError(
                f"tensor {self.name!r} of shape {self.shape} is larger than {MAX_MODEL_BYTES} bytes"
            )

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class ChunkSpec:
    """Elements `start` to `stop` of the flat vector of one dtype group. `shard` is `index` mod shards."""

    index: int
    shard: int
    dtype: str
    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Group:
    """The tensors of one dtype in order; tensor i is `starts[i]` to `starts[i + 1]` of the flat vector."""

    dtype: str
    tensors: tuple[TensorSpec, ...]
    starts: tuple[int, ...]  # [len(tensors) + 1]

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.starts[-1]


@dataclass(frozen=True)
class Layout:
    """How a model is cut; equal layouts cut equally everywhere. Raises `ValueError` past the limits."""

    tensors: tuple[TensorSpec, ...]
    chunk_bytes: int  # payload of the largest chunk, as weights and as update
    shards: int

    def __post_init__(self) -> None:
        if self.chunk_bytes < MIN_CHUNK_BYTES:
            raise ValueError(f"chunk_bytes is {self.chunk_bytes}, less than {MIN_CHUNK_BYTES}")
        if self.shards < 1:
            raise ValueError(f"shards is {self.shards}, less than 1")
        if len(self.tensors) > MAX_TENSORS:
            raise ValueError(f"the model has {len(self.tensors)} tensors, more than {MAX_TENSORS}")
        names = [tensor.name for tensor in self.tensors]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"two tensors are called {twice!r}")
        if self.model_bytes > MAX_MODEL_BYTES:
            raise ValueError(f"the model has {self.model_bytes} bytes, more than {MAX_MODEL_BYTES}")
        count = sum(-(-group.size // self._elements_per_chunk(group.dtype)) for group in self.groups)
        if count > MAX_CHUNKS:
            raise ValueError(f"the model needs {count} chunks, more than {MAX_CHUNKS}: raise chunk_bytes")

    @classmethod
    def of(cls, weights: Mapping[str, Array], *, chunk_bytes: int | None, shards: int) -> Layout:
        """The layout of named arrays in the mapping's order; `chunk_bytes` None: even. Raises `UsageError`."""
        try:
            if chunk_bytes is not None:
                return cls(tensors_of(weights), chunk_bytes, shards)
            largest = cls(tensors_of(weights), DEFAULT_CHUNK_BYTES, shards)
            return replace(largest, chunk_bytes=largest.even_chunk_bytes)
        except ValueError as error:
            raise UsageError(f"the model cannot be laid out: {error}") from error

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        """The dtype groups in order of first appearance."""
        members: dict[str, list[TensorSpec]] = {}
        for tensor in self.tensors:
            members.setdefault(tensor.dtype, []).append(tensor)
        if not any(tensor.size for tensor in self.tensors):
            members.setdefault(_EMPTY_DTYPE, [])
        return tuple(
            Group(dtype, tuple(tensors), tuple(accumulate((t.size for t in tensors), initial=0)))
            for dtype, tensors in members.items()
        )

    @cached_property
    def chunks(self) -> tuple[ChunkSpec, ...]:
        """Every chunk, by index."""
        ranges = [
            (group.dtype, start, min(start + step, group.size))
            for group in self.groups
            for step in (self._elements_per_chunk(group.dtype),)
            for start in range(0, group.size, step)
        ] or [(_EMPTY_DTYPE, 0, 0)]
        return tuple(ChunkSpec(index, index % self.shards, *range_) for index, range_ in enumerate(ranges))

    def chunks_of(self, shard: int) -> tuple[ChunkSpec, ...]:
        """The chunks of one shard, by index."""
        return self.chunks[shard :: self.shards]

    @cached_property
    def active_shards(self) -> tuple[int, ...]:
        """The shards that have chunks: 0 and those after it."""
        return tuple(range(min(self.shards, len(self.chunks))))

    @cached_property
    def num_elements(self) -> int:
        return sum(tensor.size for tensor in self.tensors)

    @cached_property
    def model_bytes(self) -> int:
        """Size of the weights in their own dtypes."""
        return sum(tensor.size * DTYPES[tensor.dtype].itemsize for tensor in self.tensors)

    @cached_property
    def fingerprint(self) -> bytes:
        """SHA-256 (32 bytes) over a canonical form of the layout; all integers little-endian:

        the 18 bytes `fdstream-layout-1` and a zero; u64 chunk_bytes; u32 shards; u32 number of tensors; then
        for each tensor u32 length of its name and the name in UTF-8, u32 length of its dtype's name and the
        name in ASCII, u32 number of dimensions and each extent as u64.
        """
        hasher = hashlib.sha256(b"fdstream-layout-1\0")
        hasher.update(struct.pack("<QII", self.chunk_bytes, self.shards, len(self.tensors)))
        for tensor in self.tensors:
            for text in (tensor.name.encode(), tensor.dtype.encode()):
                hasher.update(struct.pack("<I", len(text)) + text)
            hasher.update(struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape))
        return hasher.digest()

    def mismatch(self, other_tensors: Iterable[TensorSpec]) -> str | None:
        """A clause naming the first difference of another model's tensors to these, or None."""
        others = {tensor.name: tensor for tensor in other_tensors}
        for tensor in self.tensors:
            other = others.get(tensor.name)
            if other is None:
                return f"tensor {tensor.name!r} is missing"
            if other != tensor:
                return f"tensor {tensor.name!r} is {_kind(other)}, expected {_kind(tensor)}"
        surplus = others.keys() - {tensor.name for tensor in self.tensors}
        if surplus:
            return f"tensor {min(surplus)!r} is not part of the model"
        pairs = zip(others, self.tensors, strict=True)
        moved = next(((name, tensor.name) for name, tensor in pairs if name != tensor.name), None)
        return f"tensor {moved[0]!r} stands where {moved[1]!r} is expected" if moved else None

    @property
    def even_chunk_bytes(self) -> int:
        """The largest chunk, up to this layout's, that gives every shard as much, or SMALL_CHUNK_BYTES.

        Shards are what brokers and servers share: the round takes as long as the one with the most of it.
        """
        total_bytes = sum(group.size * _wire_itemsize(group.dtype) for group in self.groups)
        chunks = self.shards * -(-total_bytes // (self.shards * self.chunk_bytes)) or 1
        even_bytes = -(-total_bytes // (chunks * MIN_CHUNK_BYTES)) * MIN_CHUNK_BYTES  # whole elements
        return min(max(even_bytes, SMALL_CHUNK_BYTES), self.chunk_bytes)

    def _elements_per_chunk(self, dtype: str) -> int:
        return self.chunk_bytes // _wire_itemsize(dtype)


def _wire_itemsize(dtype: str) -> int:
    """Bytes of an element where it takes most: in the model or in an update."""
    return max(dtype_of(dtype).itemsize, update_dtype(dtype).itemsize)


def tensors_of(weights: Mapping[str, Array]) -> tuple[TensorSpec, ...]:
    """The specs of named arrays in the mapping's order. Raises `ValueError`, also for what is no array."""
    for name, array in weights.items():
        if not isinstance(name, str):
            raise ValueError(f"a tensor is named {name!r}: use a string")
        if type(array) is not np.ndarray and not _is_plain(array):
            raise ValueError(f"tensor {name!r} is a {type(array).__name__}: use a numpy array")
    return tuple(_spec(name, name_of(array.dtype), array.shape) for name, array in weights.items())


def _is_plain(array: object) -> bool:
    """Whether every element counts. `np.ma` takes a tenth of a second to import: for subclasses alone."""
    return isinstance(array, np.ndarray) and not isinstance(array, np.ma.MaskedArray)


@lru_cache(maxsize=MAX_TENSORS)
def _spec(name: str, dtype: str, shape: tuple[int, ...]) -> TensorSpec:
    """A model's tensors come again every round, and nothing is as slow in looking at them as these checks."""
    return TensorSpec(name, dtype, shape)


def _kind(tensor: TensorSpec) -> str:
    return f"{tensor.dtype}{list(tensor.shape)}"
