"""What a user's function may hand back, and what is refused with a sentence that helps."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fdstream.dtypes import DTYPES, Array
from fdstream.errors import UsageError
from fdstream.weights import (
    UserFunctionError,
    checked_metrics,
    evaluate_result,
    to_named,
    to_user,
    train_result,
)

MODEL: dict[str, Array] = {
    "kernel": np.ones((2, 3), np.float32),
    "bias": np.zeros(3, np.float32),
    "steps": np.array(7, np.int32),
}
FLOATS = ["float16", "float32", "float64", "bfloat16"]


def trained(**changes: Any) -> dict[str, Any]:
    return {**MODEL, **changes}


@given(
    st.lists(
        st.sampled_from(sorted(DTYPES)).flatmap(
            lambda name: hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3).map(
                lambda shape: np.ones(shape, DTYPES[name])
            )
        ),
        max_size=12,
    ),
    st.booleans(),
)
def test_the_user_gets_back_the_container_dtypes_and_shapes_given(arrays: list[Array], as_list: bool) -> None:
    weights = arrays if as_list else {f"t{index}": array for index, array in enumerate(arrays)}
    back = to_user(to_named(weights))
    if arrays:
        assert isinstance(back, list) == as_list
        assert as_list or list(back) == list(weights)
    values = list(back.values()) if isinstance(back, dict) else back
    for given_array, got in zip(arrays, values, strict=True):
        assert (got.shape, got.dtype) == (given_array.shape, given_array.dtype)
        assert not got.flags.writeable
        assert np.shares_memory(got, given_array) or not got.size


def test_a_numpy_scalar_reaches_the_user_as_an_array() -> None:
    user = to_user({"w": np.float32(3)})  # type: ignore[dict-item]  # what arithmetic on 0-d arrays leaves
    assert isinstance(user, dict)
    assert isinstance(user["w"], np.ndarray)
    assert not user["w"].flags.writeable


@pytest.mark.parametrize("count", [0, 1, 10, 11, 100, 10_000])
def test_list_names_sort_in_the_order_of_the_list(count: int) -> None:
    named = to_named([np.array(index) for index in range(count)])
    assert len(named) == count
    assert [int(array) for _, array in sorted(named.items())] == list(range(count))


def test_names_of_a_list_are_refused_in_a_dict() -> None:
    with pytest.raises(UsageError, match="give the list"):
        to_named({"[0]": np.zeros(1), "[1]": np.zeros(1)})


def test_arrays_are_made_contiguous_and_native() -> None:
    tensor = to_named({"w": np.arange(6, dtype=">f4").reshape(2, 3).T})["w"]
    assert tensor.flags.c_contiguous
    assert tensor.dtype == np.dtype(np.float32)
    assert tensor.dtype.isnative
    assert tensor.tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (3, "gave int: weights are a dict or a list"),
        ("weights", "gave str: weights are a dict or a list"),
        ({1: np.zeros(1)}, "a tensor named '1': a name is a printable string"),
        ({"": np.zeros(1)}, "a tensor named ''"),
        ({"w": np.array([True])}, "'w' of dtype bool: the supported ones are float16"),
        ({"w": np.array([1j])}, "dtype complex128"),
        ({"w": np.array(["a"])}, "dtype str"),
        ({"w": np.array([None])}, "dtype object"),
        ({"w": np.zeros(1, ml_dtypes.float8_e5m2)}, "dtype float8_e5m2"),
        ({"w": [[1.0], [1.0, 2.0]]}, "numpy cannot read"),
        ({"w": np.array([np.nan])}, r"NaN or infinity in 'w' \(float64\)"),
        ([np.zeros(1), np.array([-np.inf], np.float16)], r"NaN or infinity in '\[1\]' \(float16\)"),
        ({"w": np.array([np.nan], ml_dtypes.bfloat16)}, "NaN or infinity"),
        ({"w": np.array([2**60])}, "keep them in -9007199254740992 to 9007199254740992"),
    ],
)
def test_weights_that_cannot_be_sent_are_refused(weights: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        to_named(weights)


def test_a_result_keeps_the_models_names_order_shapes_and_dtypes() -> None:
    returned = dict(reversed(trained(kernel=np.full((2, 3), 0.5)).items()))
    result = train_result(MODEL, returned, np.int64(12), {"loss": np.float32(0.5), "steps": 3})
    assert list(result.weights) == list(MODEL)
    assert {name: array.dtype for name, array in result.weights.items()} == {
        name: array.dtype for name, array in MODEL.items()
    }
    assert (result.weights["kernel"] == 0.5).all()
    assert (result.num_examples, type(result.num_examples)) == (12, int)
    assert result.metrics == {"loss": 0.5, "steps": 3.0}


@pytest.mark.parametrize("returned", FLOATS)
@pytest.mark.parametrize("model", FLOATS)
def test_any_float_is_cast_to_the_models_dtype(model: str, returned: str) -> None:
    received = {"w": np.zeros(2, DTYPES[model])}
    result = train_result(received, {"w": np.array([0.5, -2], DTYPES[returned])}, 1, {})
    assert result.weights["w"].dtype == DTYPES[model]
    assert result.weights["w"].astype(float).tolist() == [0.5, -2]


@given(hnp.arrays(np.int64, 3, elements=st.integers(-(2**40), 2**40)))
def test_integers_change_dtype_only_where_no_value_changes(values: Array) -> None:
    received = {"w": np.zeros(3, np.int16)}
    if np.array_equal(values, np.clip(values, -(2**15), 2**15 - 1)):
        assert train_result(received, {"w": values}, 1, {}).weights["w"].tolist() == values.tolist()
    else:
        with pytest.raises(UserFunctionError, match="keep them in -32768 to 32767"):
            train_result(received, {"w": values}, 1, {})


def test_a_list_comes_back_as_a_list_or_a_tuple() -> None:
    received = to_named([np.zeros(2), np.zeros(3)])
    assert list(train_result(received, (np.ones(2), np.ones(3)), 1, {}).weights) == list(received)
    with pytest.raises(UserFunctionError, match=r"3 tensors for the 2 received.*as many"):
        train_result(received, [np.ones(2), np.ones(3), np.ones(1)], 1, {})


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        (None, "fed.report returned NoneType"),
        ({"kernel": MODEL["kernel"]}, "1 tensor for the 3 received, without 'bias', 'steps'"),
        (trained(extra=np.zeros(1)), "4 tensors for the 3 received, with 'extra'"),
        (trained(kernel=np.ones((3, 2))), r"'kernel' of shape \(3, 2\), the model's is \(2, 3\)"),
        (trained(steps=np.ones(1, np.int32)), r"'steps' of shape \(1,\), the model's is \(\)"),
        (trained(bias=np.zeros(3, np.int32)), r"as int32, the model's is float32: .*astype\('float32'\)"),
        (trained(steps=np.array(7.0)), "as float64, the model's is int32"),
        (trained(steps=np.array(2**31)), "keep them in -2147483648 to 2147483647"),
        (trained(bias=np.array([1, np.inf, 0])), r"NaN or infinity in 'bias' \(float32\): lower"),
        (trained(bias=np.array([1, 1e300, 0])), "NaN or infinity in 'bias'"),
    ],
)
def test_weights_that_do_not_fit_the_model_are_refused(weights: Any, says: str) -> None:
    with pytest.raises(UserFunctionError, match=says):
        train_result(MODEL, weights, 1, {}, source="fed.report")


@pytest.mark.parametrize("num_examples", [0, -1, 1.0, True, None, "3", np.float64(3), 2**24 + 1, np.bool_(1)])
def test_num_examples_is_a_positive_whole_number(num_examples: Any) -> None:
    with pytest.raises(UserFunctionError, match=r"num_examples .* whole number"):
        evaluate_result(num_examples, {})


@pytest.mark.parametrize(
    ("metrics", "says"),
    [
        (None, "metrics as NoneType"),
        ([("loss", 1.0)], "metrics as list of 1"),
        ({"loss": np.nan}, "metric 'loss' = nan: return a finite number"),
        ({"loss": "0.5"}, "metric 'loss' = '0.5'"),
        ({"loss": True}, "metric 'loss' = True"),
        ({"loss": np.zeros(2)}, "metric 'loss'"),
        ({"loss": 10**400}, "metric 'loss'"),
        ({7: 1.0}, "a metric named '7'"),
        ({"x" * 257: 1.0}, "a metric named 'xxx"),
        ({f"m{index}": 0.0 for index in range(65)}, "65 metrics: at most 64"),
    ],
)
def test_metrics_are_named_finite_numbers(metrics: Any, says: str) -> None:
    with pytest.raises(UserFunctionError, match=says):
        checked_metrics("train", metrics)
