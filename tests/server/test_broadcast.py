"""What is published of a chunk: what clients get is what the codec makes of the weights, which servers keep whole."""

from __future__ import annotations

import numpy as np
import pytest

from fdstream.aggregation.apply import next_chunk
from fdstream.aggregation.strategies import strategy
from fdstream.codecs import WHOLE, model_codec, seed_of
from fdstream.dtypes import Array, dtype_of, payload, update_dtype
from fdstream.layout import ChunkSpec
from fdstream.server.broadcast import Broadcast

SEED = 7
STRATEGIES = ["fedavg", "fedavgm", "fedadam"]
LOSSY = ["bfloat16", "float16", "int8"]
SIZE = 12


def spec_of(dtype: str) -> ChunkSpec:
    return ChunkSpec(3, 1, dtype, 0, SIZE)


def values(dtype: str = "float32") -> Array:
    return (np.linspace(-2, 3, SIZE) * 7).astype(dtype_of(dtype))


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_a_codec_there_are_the_weights_and_the_strategys_state(name: str) -> None:
    chosen = strategy(name)
    broadcast = Broadcast(chosen, WHOLE, SEED)
    parts = broadcast.initial(spec_of("float32"), values(), 1)
    assert len(parts) == broadcast.state_parts + 1 == chosen.state_parts + 1
    assert parts[0] is not None
    assert payload(parts[0]).tobytes() == values().tobytes()


@pytest.mark.parametrize("text", LOSSY)
@pytest.mark.parametrize("name", STRATEGIES)
def test_the_weights_that_servers_go_on_with_are_never_rounded_by_the_codec(name: str, text: str) -> None:
    chosen, spec = strategy(name), spec_of("float32")
    broadcast = Broadcast(chosen, model_codec(text), SEED)
    whole = Broadcast(chosen, WHOLE, SEED)
    parts, exact = broadcast.initial(spec, values(), 1), whole.initial(spec, values(), 1)
    for version in range(2, 6):
        total = np.linspace(-1, 1, SIZE) / version
        parts = broadcast.next(spec, parts, total, 3, version)
        exact = whole.next(spec, exact, total, 3, version)
        assert [part.tobytes() for part in (parts[-1], *parts[1:-1])] == [part.tobytes() for part in exact]
        expected = model_codec(text).encode(exact[0], seed_of(SEED, "", version, spec.index))
        assert payload(parts[0]).tobytes() == bytes(expected)


def test_without_a_codec_the_next_weights_are_the_strategys() -> None:
    chosen, spec, total = strategy("fedavg"), spec_of("float32"), np.ones(SIZE)
    found = Broadcast(chosen, WHOLE, SEED).next(spec, (values(),), total, 2, 2)
    assert found[0].tobytes() == next_chunk(chosen, values(), total, 2, ())[0].tobytes()


@pytest.mark.parametrize("text", [*LOSSY, "full"])
@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "int64"])
def test_parts_are_read_as_they_were_written(text: str, dtype: str) -> None:
    broadcast, spec = Broadcast(strategy("fedadam"), model_codec(text), SEED), spec_of(dtype)
    parts = broadcast.initial(spec, values(dtype), 1)
    assert {part.dtype for part in parts[1:]} == {update_dtype(dtype)}
    for number, part in enumerate(parts):
        read = broadcast.read(spec, number, payload(part).tobytes())
        assert payload(read).tobytes() == payload(part).tobytes()
        with pytest.raises(ValueError, match="bytes"):
            broadcast.read(spec, number, payload(part).tobytes()[:-1])


def test_integers_are_published_whole() -> None:
    broadcast = Broadcast(strategy("fedavg"), model_codec("int8"), SEED)
    assert broadcast.initial(spec_of("int32"), values("int32"), 1)[0].tolist() == values("int32").tolist()


def test_a_model_never_turns_infinite_on_its_way() -> None:
    large = np.full(SIZE, 1e30, np.float32)
    published = Broadcast(strategy("fedavg"), model_codec("float16"), SEED).initial(
        spec_of("float32"), large, 1
    )
    assert (
        model_codec("float16").decode(payload(published[0]), np.dtype(np.float32), SIZE).tolist()
        == [65504.0] * SIZE
    )
    assert published[1].tobytes() == large.tobytes()
