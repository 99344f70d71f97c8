"""A model's values, a chunk at a time: arrays -> chunks, chunks -> arrays, (trained - received) -> chunks.

Nothing here ever holds a second copy of the model: chunks inside one contiguous tensor are views of it,
others are put together one by one. This file knows no records and no digests.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Final

import numpy as np

from fdstream.codecs import WHOLE, Codec, for_dtype
from fdstream.dtypes import (
    MAX_EXACT_INTEGER,
    Array,
    Payload,
    dtype_of,
    update_dtype,
)
from fdstream.errors import UsageError
from fdstream.layout import ChunkSpec, Group, Layout, tensors_of

_LONG_INTEGERS: Final = frozenset({"int64", "uint64"})


class FlatModel:
    """Room for one model: an array per dtype group, allocated once and filled chunk by chunk.

    Distinct chunks may be filled by distinct threads. Until every chunk is filled the values are arbitrary.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._vectors = {group.dtype: np.empty(group.size, dtype_of(group.dtype)) for group in layout.groups}

    def chunk(self, spec: ChunkSpec) -> Array:
        """The chunk's elements, 1-D in the tensors' dtype: a writable view."""
        return self._vectors[spec.dtype][spec.start : spec.stop]

    def fill(self, spec: ChunkSpec, data: Payload, codec: Codec = WHOLE) -> None:
        """Copy a chunk's payload in. Raises `ValueError`, changing nothing, where the codec cannot read it."""
        values = for_dtype(codec, spec.dtype).decode(data, dtype_of(spec.dtype), spec.size)
        self.chunk(spec)[...] = values

    def tensors(self) -> dict[str, Array]:
        """The named tensors in layout order: read-only views without a copy, in a dict of the caller's own."""
        return dict(self._tensors)

    @cached_property
    def _tensors(self) -> dict[str, Array]:
        views = {
            tensor.name: self._vectors[group.dtype][start : start + tensor.size].reshape(tensor.shape)
            for group in self._layout.groups
            for tensor, start in zip(group.tensors, group.starts, strict=False)
        }
        for view in views.values():
            view.flags.writeable = False
        return {tensor.name: views[tensor.name] for tensor in self._layout.tensors}


def weight_chunks(layout: Layout, weights: Mapping[str, Array]) -> Iterator[tuple[ChunkSpec, Array]]:
    """Each chunk of named arrays with its elements, 1-D in the tensors' dtype; do not write to them.

    Raises `UsageError` before the first chunk for arrays of another layout, and at the chunk for an integer
    beyond 2^53, which the strategies' float64 could not hold.
    """
    _check_tensors(layout, weights)
    groups = {group.dtype: group for group in layout.groups}
    return ((spec, _gather(groups[spec.dtype], spec, weights)) for spec in layout.chunks)


def update_chunks(
    layout: Layout, received: FlatModel, new: Mapping[str, Array]
) -> Iterator[tuple[ChunkSpec, Array]]:
    """Each chunk of `new` minus `received`, 1-D in the update dtype, subtracted in that dtype.

    A difference that overflows becomes infinite, which `fdstream.aggregation.fixed_point.admissible` refuses.
    Raises `UsageError` like `weight_chunks`.
    """
    for spec, values in weight_chunks(layout, new):
        yield spec, _difference(values, received.chunk(spec))


def _difference(new: Array, old: Array) -> Array:
    dtype = update_dtype(new.dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.subtract(new, old, dtype=dtype, casting="unsafe")


def _check_tensors(layout: Layout, weights: Mapping[str, Array]) -> None:
    ordered = {tensor.name: weights[tensor.name] for tensor in layout.tensors if tensor.name in weights}
    try:
        difference = layout.mismatch(tensors_of(ordered | dict(weights)))
    except ValueError as error:
        raise UsageError(f"these weights cannot be used: {error}") from error
    if difference is not None:
        raise UsageError(f"these weights do not fit the model: {difference}; keep names, dtypes and shapes")


def _gather(group: Group, spec: ChunkSpec, weights: Mapping[str, Array]) -> Array:
    pieces = list(_pieces(group, spec, weights))
    if len(pieces) == 1:
        values = pieces[0].astype(dtype_of(spec.dtype), copy=False)
    else:
        values = np.concatenate(pieces, dtype=dtype_of(spec.dtype)) if pieces else np.empty(0, spec.dtype)
    if spec.dtype in _LONG_INTEGERS:
        _check_exact(group, spec, values)
    return values


def _pieces(group: Group, spec: ChunkSpec, weights: Mapping[str, Array]) -> Iterator[Array]:
    """The parts of the tensors that a chunk covers, each 1-D in C order."""
    first = bisect_right(group.starts, spec.start) - 1
    for tensor, start in zip(group.tensors[first:], group.starts[first:], strict=False):
        if start >= spec.stop:
            return
        array = np.asarray(weights[tensor.name])
        # Slicing an iterator copies only the slice, where reshaping a strided array would copy all of it.
        flat = array.reshape(-1) if array.flags.c_contiguous else array.flat
        piece: Array = flat[max(spec.start - start, 0) : spec.stop - start]
        if piece.size:
            yield piece


def _check_exact(group: Group, spec: ChunkSpec, values: Array) -> None:
    if values.min() >= -MAX_EXACT_INTEGER and values.max() <= MAX_EXACT_INTEGER:
        return
    place = int(np.flatnonzero((values < -MAX_EXACT_INTEGER) | (values > MAX_EXACT_INTEGER))[0]) + spec.start
    name = group.tensors[bisect_right(group.starts, place) - 1].name
    raise UsageError(f"tensor {name!r} holds an integer beyond 2^53, which cannot be averaged exactly")
