"""Models in files: what was saved is what numpy loads, and a file is whole or not there."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.dtypes import DTYPES, Array
from fdstream.npz import save_npz


def loaded(path: Path) -> dict[str, Array]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def round_trip(folder: Path, weights: dict[str, Array]) -> dict[str, Array]:
    save_npz(folder / "model.npz", weights)
    assert [file.name for file in folder.iterdir()] == ["model.npz"]
    return loaded(folder / "model.npz")


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "bfloat16"])
def test_tensors_come_back_in_their_dtype(dtype: str, tmp_path: Path) -> None:
    array = np.arange(6).reshape(2, 3).astype(DTYPES[dtype])
    np.testing.assert_array_equal(round_trip(tmp_path, {"w": array})["w"], array, strict=True)


def test_bfloat16_is_widened_without_loss(tmp_path: Path) -> None:
    bits = np.arange(1 << 16, dtype=np.uint16)
    finite = bits[bits & 0x7F80 != 0x7F80].view(ml_dtypes.bfloat16)
    found = round_trip(tmp_path, {"w": finite})["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.astype(ml_dtypes.bfloat16), finite, strict=True)


@pytest.mark.parametrize(
    "array",
    [
        np.array(2.5, np.float32),
        np.empty((0, 3), np.float64),
        np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
        np.arange(10, dtype=np.float32)[::3],
    ],
    ids=["scalar", "empty", "columns first", "every third"],
)
def test_any_shape_and_order_comes_back(array: Array, tmp_path: Path) -> None:
    np.testing.assert_array_equal(round_trip(tmp_path, {"w": array})["w"], array, strict=True)


@given(
    names=st.lists(
        st.sampled_from(["file", "args", "arr_0", "dense/kernel:0", "ä ß", "[0]", "w.1"]), unique=True
    )
)
def test_tensors_keep_their_names_and_order(
    names: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    weights = {name: np.array([index], np.int64) for index, name in enumerate(names)}
    found = round_trip(tmp_path_factory.mktemp("models"), weights)
    assert list(found) == list(weights)
    assert {name: array.tolist() for name, array in found.items()} == {
        name: array.tolist() for name, array in weights.items()
    }


def test_a_file_that_was_there_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "model.npz").write_bytes(b"older")
    assert round_trip(tmp_path, {"w": np.zeros(3, np.float32)})["w"].shape == (3,)


def test_what_cannot_be_written_leaves_the_file_as_it_was_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    save_npz(path, {"w": np.ones(3, np.float32)})
    unwritable = np.array([object()])
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save_npz(path, {"w": np.zeros(3, np.float32), "x": unwritable})
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]
    np.testing.assert_array_equal(loaded(path)["w"], np.ones(3))


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        save_npz(tmp_path / "nowhere" / "model.npz", {})


def test_a_folder_in_the_files_place_stays(tmp_path: Path) -> None:
    (tmp_path / "model.npz").mkdir()
    with pytest.raises(OSError, match="directory"):
        save_npz(tmp_path / "model.npz", {})
    assert [file.name for file in tmp_path.iterdir()] == ["model.npz"]


def test_a_model_without_tensors_is_a_file_too(tmp_path: Path) -> None:
    assert round_trip(tmp_path, {}) == {}


def test_a_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    save_npz(tmp_path / "model.npz", {"w": np.zeros(3)})
    (tmp_path / "other").touch()
    assert (tmp_path / "model.npz").stat().st_mode == (tmp_path / "other").stat().st_mode
