"""Global models in files: numpy's .npz, one array a tensor. Knows no Kafka and no records."""

from __future__ import annotations

import uuid
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import numpy as np

from fdstream.dtypes import DTYPES, Array


def save_npz(path: Path, weights: Mapping[str, Array]) -> None:
    """Write the tensors under their names, for `numpy.load`; the file appears whole or not at all.

    numpy's format has no bfloat16: those tensors are widened to float32, which loses nothing. Raises `OSError`.
    """
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with unfinished.open("xb") as file:
            _write(file, weights)
        unfinished.replace(path)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # a full disk does not say whose it is
        raise


def _write(file: IO[bytes], weights: Mapping[str, Array]) -> None:
    """As `numpy.savez` does, which cannot take tensors with the names of its own parameters."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in weights.items():
            readable = array.astype(np.float32) if array.dtype == DTYPES["bfloat16"] else array
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, readable, allow_pickle=False)
