"""Codecs: what is read is what the sender knows was read, lengths follow from the codec, and nothing else passes.

Each lossy codec has a naive twin here, written an element at a time.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fdstream.codecs import WHOLE, Codec, codec, for_dtype, model_codec, seed_of
from fdstream.dtypes import DTYPES, Array, dtype_of

SPELLINGS = ["full", "float32", "bfloat16", "float16", "int8", "topk:0.01", "topk:0.5"]
FLOATS = ["float16", "bfloat16", "float32", "float64"]
FLOAT32 = np.dtype(np.float32)

finite = hnp.arrays(np.float32, st.integers(0, 70), elements=st.floats(-1e4, 1e4, width=32))
seeds = st.integers(0, 2**128 - 1)


def sent(chosen: Codec, values: Array, seed: int = 0) -> Array:
    data = chosen.encode(values, seed)
    assert data.nbytes == chosen.encoded_bytes(values.dtype, values.size)
    return chosen.decode(data, values.dtype, values.size)


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 100])
def test_what_is_sent_has_its_length_its_dtype_and_nothing_beyond_its_rounding(
    text: str, dtype: str, count: int
) -> None:
    values = np.linspace(-3, 5, count).astype(dtype_of(dtype))
    found = sent(codec(text), values)
    assert (found.dtype, found.shape) == (values.dtype, values.shape)
    if not text.startswith("topk"):
        assert np.abs(found.astype(float) - values.astype(float)).max(initial=0) <= 5 / 127 + 1e-6


@pytest.mark.parametrize("text", SPELLINGS)
@given(values=finite, seed=seeds)
def test_encoding_is_a_pure_function(text: str, values: Array, seed: int) -> None:
    chosen = codec(text)
    assert bytes(chosen.encode(values, seed)) == bytes(chosen.encode(values.copy(), seed))


@given(values=finite)
def test_full_is_the_values_themselves_without_a_copy(values: Array) -> None:
    data = WHOLE.encode(values, 0)
    assert bytes(data) == values.tobytes()
    if values.size:
        assert np.shares_memory(np.frombuffer(data, np.uint8), values)


@pytest.mark.parametrize("text", ["bfloat16", "float16"])
@given(values=finite)
def test_a_cast_rounds_each_value_once(text: str, values: Array) -> None:
    expected = [float(np.float32(value).astype(DTYPES[text])) for value in values]
    assert sent(codec(text), values).tolist() == expected


def test_bfloat16_is_the_upper_half_of_a_float32() -> None:
    data = codec("bfloat16").encode(np.array([1.0, -2.5], np.float32), 0)
    assert bytes(data) == b"".join(struct.pack("<f", value)[2:] for value in (1.0, -2.5))


def test_what_is_as_narrow_already_is_not_touched() -> None:
    values = np.array([1.5, 3e38], ml_dtypes.bfloat16)
    assert sent(codec("float16"), values).tobytes() == values.tobytes()
    assert sent(codec("float32"), values).tobytes() == values.tobytes()


def naive_int8(values: Array, noise: list[float]) -> list[float]:
    largest = max((abs(float(value)) for value in values), default=0.0)
    scale = np.float32(largest / 127)
    if not scale > 0:
        return [0.0] * len(values)
    steps = [
        max(-127, min(127, math.floor(np.float32(np.float32(value / scale) + np.float32(u)))))
        for value, u in zip(values, noise, strict=True)
    ]
    return [float(np.float32(step) * scale) for step in steps]


@given(values=finite, seed=seeds)
def test_int8_is_its_naive_twin(values: npt.NDArray[np.float32], seed: int) -> None:
    words = np.random.PCG64(seed).random_raw((values.size + 3) // 4).tobytes()
    bits = struct.unpack(f"<{values.size}H", words[: 2 * values.size])
    noise = [(word + 0.5) / 65536 for word in bits]
    assert sent(codec("int8"), values, seed).tolist() == naive_int8(values, noise)


def test_int8_is_right_on_average() -> None:
    values = np.array([1.0, 0.3, -0.7, 0.001, 0.0], np.float32)
    draws = [sent(codec("int8"), values, seed) for seed in range(4000)]
    deviation = np.abs(np.mean(draws, axis=0) - values)
    assert deviation.max() < 4 * (1 / 127 / 2) / math.sqrt(4000)
    assert len({draw.tobytes() for draw in draws}) == 2**3


def naive_topk(values: Array, fraction: float) -> set[float]:
    kept = math.ceil(fraction * len(values))
    return set(sorted((abs(float(value)) for value in values), reverse=True)[:kept])


@pytest.mark.parametrize("fraction", [0.01, 0.3, 0.5])
@given(values=hnp.arrays(np.float32, st.integers(0, 70), elements=st.floats(-9, 9, width=32), unique=True))
def test_topk_sends_the_largest_and_nothing_else(fraction: float, values: Array) -> None:
    found = sent(codec(f"topk:{fraction}"), values)
    kept = np.flatnonzero(found)
    assert found[kept].tolist() == values[kept].tolist()
    assert {abs(float(value)) for value in found[kept]} == naive_topk(values, fraction) - {0.0}


@pytest.mark.parametrize("text", ["float32", "bfloat16", "float16", "int8", "topk:0.5"])
@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_stays_so_and_is_refused_where_updates_are_checked(text: str, bad: float) -> None:
    values = np.array([0.5, bad, 1.0, 2.0], np.float32)
    assert not np.isfinite(sent(codec(text), values)).all()


def test_what_float16_cannot_hold_turns_infinite() -> None:
    assert np.isinf(sent(codec("float16"), np.array([1e6], np.float32))).all()
    assert codec("float16").largest == 65504.0


@pytest.mark.parametrize("text", SPELLINGS)
@pytest.mark.parametrize("change", [-1, 1])
def test_another_length_is_refused(text: str, change: int) -> None:
    data = bytes(codec(text).encode(np.ones(8, np.float32), 0))
    data = data[:change] if change < 0 else data + bytes(change)
    with pytest.raises(ValueError, match="bytes"):
        codec(text).decode(data, FLOAT32, 8)


@pytest.mark.parametrize("indices", [(1, 1), (2, 1), (0, 8), (0, 2**32 - 1)])
def test_indices_that_do_not_ascend_within_the_chunk_are_refused(indices: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="do not ascend"):
        codec("topk:0.25").decode(struct.pack("<2I2f", *indices, 1.0, 2.0), FLOAT32, 8)


@pytest.mark.parametrize("text", SPELLINGS)
@given(data=st.binary(max_size=40), count=st.integers(0, 8))
def test_no_payload_makes_a_reader_fail_otherwise(text: str, data: bytes, count: int) -> None:
    chosen = codec(text)
    try:
        found = chosen.decode(data, FLOAT32, count)
    except ValueError:
        return
    assert (found.dtype, found.shape) == (FLOAT32, (count,))


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_spelling_is_read_back(text: str) -> None:
    assert codec(text).text == text
    assert codec(codec(text).text) == codec(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "int4",
        "topk",
        "topk:",
        "topk:0",
        "topk:0.6",
        "topk:nan",
        "topk:x",
        "full:1",
        "FLOAT16",
        "builtins.list",
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"codec|fraction"):
        codec(text)


def test_a_model_has_to_arrive_whole() -> None:
    assert model_codec("int8") == codec("int8")
    with pytest.raises(ValueError, match="has to arrive whole"):
        model_codec("topk:0.1")


@pytest.mark.parametrize("dtype", DTYPES)
def test_integers_travel_whole(dtype: str) -> None:
    lossy: Any = codec("int8")
    assert for_dtype(lossy, dtype) is (lossy if dtype in FLOATS else WHOLE)


def test_every_part_of_its_key_changes_a_seed() -> None:
    keys = [
        (seed, sender, number, index)
        for seed in (0, 1)
        for sender in ("", "a")
        for number in (1, 2)
        for index in (0, 1)
    ]
    assert len({seed_of(*key) for key in keys}) == len(keys)


def test_codecs_of_half_the_bytes_or_less_are_that() -> None:
    sizes = {text: codec(text).encoded_bytes(FLOAT32, 230_400) for text in SPELLINGS}
    assert sizes == {
        "full": 921_600,
        "float32": 921_600,
        "bfloat16": 460_800,
        "float16": 460_800,
        "int8": 230_404,
        "topk:0.01": 18_432,
        "topk:0.5": 921_600,
    }


@pytest.mark.parametrize("text", ["float32", "bfloat16", "float16"])
def test_a_signalling_nan_is_decoded_without_a_warning(text: str) -> None:
    """Found by `make fuzz`: warnings about a stranger's bytes belong to nobody, and under -W error they raise."""
    travel = codec(text)
    wire = DTYPES[text]
    signalling = {"float32": 0x7F800001, "bfloat16": 0x7F81, "float16": 0x7C01}[text]
    data = signalling.to_bytes(wire.itemsize, "little") * 3
    assert np.isnan(travel.decode(data, np.dtype(np.float64), 3)).all()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("scale", [b"\x00\x00\xa0\x7f", b"\x00\x00\x80\x7f", b"\xff\xff\x7f\xff"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_scale_that_is_no_number_gives_values_and_no_warning(scale: bytes, dtype: str) -> None:
    """A signalling NaN, an infinity, a scale too large for any step; whoever sums the values looks at them."""
    values = codec("int8").decode(scale + b"\x7f\x02", np.dtype(dtype), 2)
    assert not (np.isfinite(values).all() and dtype == "float32")
