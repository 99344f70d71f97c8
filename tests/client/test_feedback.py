"""Error feedback: nothing that a codec leaves out is lost while a client lives, and no try counts twice."""

from __future__ import annotations

import numpy as np
import pytest

from fdstream.client.feedback import Feedback
from fdstream.client.session import Outcome
from fdstream.codecs import codec, for_dtype, seed_of
from fdstream.dtypes import Array, update_dtype
from fdstream.events import Tell, Upload, Uploaded
from fdstream.messages import Report, UpdateChunk
from tests.client.scene import LAYOUT, Scene, weights_of

ROUNDS = 6


def test_what_was_left_out_is_owed_from_the_next_round_on() -> None:
    feedback = Feedback()
    feedback.begin(1)
    first = feedback.wanted(0, np.array([1.0, 4.0], np.float32))
    assert first.tolist() == [1.0, 4.0]
    feedback.left(0, first, np.array([0.0, 4.0], np.float32))
    feedback.reported()
    feedback.begin(2)
    assert feedback.wanted(0, np.array([0.5, 0.5], np.float32)).tolist() == [1.5, 0.5]


def test_a_second_try_in_a_round_starts_where_the_first_did() -> None:
    feedback = Feedback()
    for _ in range(2):
        feedback.begin(1)
        assert feedback.wanted(0, np.ones(1, np.float32)).tolist() == [1.0]
        feedback.left(0, np.ones(1, np.float32), np.zeros(1, np.float32))
        feedback.reported()
    feedback.begin(2)
    assert feedback.wanted(0, np.zeros(1, np.float32)).tolist() == [1.0]


def test_what_was_never_reported_is_not_owed() -> None:
    feedback = Feedback()
    feedback.begin(1)
    feedback.left(0, np.ones(1, np.float32), np.zeros(1, np.float32))
    feedback.begin(2)
    assert feedback.wanted(0, np.zeros(1, np.float32)).tolist() == [0.0]


# In a session


def update(step: int) -> Array:
    """A float32 update of the scene's ten weights whose elements all differ."""
    return np.arange(1, 11, dtype=np.float32).reshape(2, 5) * np.float32(step)


def trained(version: int) -> Outcome:
    weights = weights_of(version)
    return Outcome({"w": weights["w"] + update(version), "steps": weights["steps"] + 1}, 7)


def drawn(scene: Scene, version: int) -> list[UpdateChunk]:
    """The chunks of one update, which is acknowledged and reported."""
    effects = scene.session.report("a", trained(version))
    upload = next(effect for effect in effects if isinstance(effect, Upload))
    chunks = [chunk for _, chunk in upload.messages if isinstance(chunk, UpdateChunk)]
    (report,) = scene.session.step(Uploaded(upload.tag, {0: 0, 1: 0}))
    assert isinstance(report, Upload)
    scene.session.step(Uploaded(report.tag, {0: version}))
    return chunks


@pytest.mark.parametrize("text", ["int8", "topk:0.5", "bfloat16"])
def test_a_session_sends_what_the_naive_twin_sends(text: str) -> None:
    scene, chosen = Scene("a", codec=text), codec(text)
    owed: dict[int, Array] = {}
    for number in range(1, ROUNDS + 1):
        assert scene.begin(number) == ["a"]
        chunks = {chunk.index: chunk for chunk in drawn(scene, number)}
        for spec in LAYOUT.chunks:
            values = {"float32": update(number).reshape(-1), "int64": np.ones(3)}[spec.dtype][
                spec.start : spec.stop
            ]
            travels = for_dtype(chosen, spec.dtype)
            wanted = values + owed.get(spec.index, values.dtype.type(0))
            data = travels.encode(wanted, seed_of(0, "a", number, spec.index))
            assert bytes(chunks[spec.index].data) == bytes(data), (number, spec)
            if travels.remembers:
                owed[spec.index] = wanted - travels.decode(data, update_dtype(spec.dtype), spec.size)
        scene.close(number)
    assert any(array.any() for array in owed.values()) == chosen.remembers


def test_in_the_long_run_topk_sends_everything() -> None:
    scene, total = Scene("a", codec="topk:0.25"), np.zeros(10, np.float32)
    for number in range(1, 61):
        scene.begin(number)
        for chunk in drawn(scene, number):
            spec = LAYOUT.chunks[chunk.index]
            if spec.dtype == "float32":
                values = codec("topk:0.25").decode(chunk.data, np.dtype(np.float32), spec.size)
                total[spec.start : spec.stop] += values
        scene.close(number)
    wanted = sum(update(number).reshape(-1) for number in range(1, 61))
    assert (total > 0.5 * wanted).all(), (total, wanted)


@pytest.mark.parametrize(("text", "told"), [("topk:0.5", True), ("int8", True), ("bfloat16", False)])
def test_a_client_that_starts_late_is_told_that_it_has_no_memory(text: str, told: bool) -> None:
    scene = Scene("a", codec=text)
    for number in (1, 2):  # seen from outside: it joins in round 2
        scene.open(number)
        if number == 1:
            scene.close(1)
    scene.receive(2)
    tells = [effect for effect in scene.session.report("a", trained(2)) if isinstance(effect, Tell)]
    expected = [Tell("without memory", {"client": "a", "round": 2, "codec": text})]
    assert tells == (expected if told else [])


def test_a_client_that_was_there_is_told_nothing() -> None:
    scene = Scene("a", codec="topk:0.5")
    for number in (1, 2):
        scene.begin(number)
        assert isinstance(scene.answer("a", trained(number)), Report)  # which takes uploads alone
        scene.close(number)


def test_what_the_codec_turns_infinite_becomes_a_failure() -> None:
    scene = Scene("a", codec="float16")
    scene.begin(1)
    weights = {"w": weights_of(1)["w"] + np.float32(1e6), "steps": weights_of(1)["steps"]}
    assert scene.answer("a", Outcome(weights, 1)).failure == scene.session.refusal("a")
    assert "infinite" in str(scene.session.refusal("a"))
