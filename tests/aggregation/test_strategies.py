"""Every strategy equals a scalar twin, written from its paper in plain Python, bit for bit."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.aggregation.strategies import STRATEGIES, Strategy, strategy
from fdstream.errors import UsageError

Scalars = tuple[float, ...]
Twin = Callable[[float, float, Scalars, dict[str, float]], tuple[float, Scalars]]


def twin_fedavg(w: float, d: float, state: Scalars, h: dict[str, float]) -> tuple[float, Scalars]:
    return w + h["lr"] * d, state


def twin_fedavgm(w: float, d: float, state: Scalars, h: dict[str, float]) -> tuple[float, Scalars]:
    velocity = h["momentum"] * state[0] + d
    return w + h["lr"] * velocity, (velocity,)


def adaptive_twin(second: Callable[[float, float, dict[str, float]], float]) -> Twin:
    def twin(w: float, d: float, state: Scalars, h: dict[str, float]) -> tuple[float, Scalars]:
        m = h["beta1"] * state[0] + (1 - h["beta1"]) * d
        v = second(state[1], d * d, h)
        return w + h["lr"] * m / (math.sqrt(v) + h["tau"]), (m, v)

    return twin


def sign(x: float) -> float:
    return float((x > 0) - (x < 0))


TWINS: dict[str, Twin] = {
    "fedavg": twin_fedavg,
    "fedavgm": twin_fedavgm,
    "fedadagrad": adaptive_twin(lambda v, dd, _: v + dd),
    "fedadam": adaptive_twin(lambda v, dd, h: h["beta2"] * v + (1 - h["beta2"]) * dd),
    "fedyogi": adaptive_twin(lambda v, dd, h: v - (1 - h["beta2"]) * dd * sign(v - dd)),
    **dict.fromkeys(("median", "trimmed-mean", "krum", "multi-krum"), lambda w, d, state, _: (w + d, state)),
}

NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.floats(-1e-6, 1e-6), st.sampled_from([0.0, 1.0, -1e-3]))
SETTINGS = {
    "lr": st.floats(1e-6, 1e6),
    "tau": st.floats(1e-9, 1e6),
    "momentum": st.floats(0, 1, exclude_max=True),
    "beta1": st.floats(0, 1, exclude_max=True),
    "beta2": st.floats(0, 1, exclude_max=True),
    "beta": st.floats(0, 0.5, exclude_min=True, exclude_max=True),
    "f": st.integers(1, 256),
    "m": st.integers(1, 256),
}
SPELLINGS = {"trimmed-mean": "trimmed-mean:0.2", "krum": "krum:1", "multi-krum": "multi-krum:1,2"}


def plain(name: str) -> Strategy:
    """With as few hyperparameters as may be."""
    return strategy(SPELLINGS.get(name, name))


@pytest.mark.parametrize("name", STRATEGIES)
@given(st.data(), st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=4))
def test_rounds_equal_the_scalar_twin_bit_for_bit(
    name: str, data: st.DataObject, means: list[list[float]]
) -> None:
    hyper = {key: data.draw(SETTINGS[key], key) for key in plain(name).hyper}
    chosen = STRATEGIES[name](**hyper)
    weights = np.array(data.draw(st.lists(NUMBERS, min_size=3, max_size=3)))
    twins: list[tuple[float, Scalars]] = [(w, chosen.initial) for w in weights.tolist()]
    state = chosen.initial_state(3, np.dtype(np.float64))
    for mean in means:
        weights, state = chosen.step(weights, np.array(mean), state)
        twins = [TWINS[name](w, d, s, hyper) for (w, s), d in zip(twins, mean, strict=True)]
    assert weights.tobytes() == np.array([w for w, _ in twins]).tobytes()
    for part, vector in enumerate(state):
        assert vector.tobytes() == np.array([s[part] for _, s in twins]).tobytes()


@pytest.mark.parametrize("name", STRATEGIES)
def test_elements_do_not_see_each_other_and_arguments_stay_as_they_were(name: str) -> None:
    chosen = plain(name)
    rng = np.random.default_rng(1)
    weights, mean = rng.standard_normal((2, 1001))
    state = tuple(np.abs(part + rng.standard_normal(1001)) for part in chosen.initial)
    before = [array.tobytes() for array in (weights, mean, *state)]
    whole, whole_state = chosen.step(weights, mean, state)
    for cut in (slice(0, 7), slice(7, 8), slice(8, 1001, 3)):
        part, part_state = chosen.step(weights[cut], mean[cut], tuple(s[cut] for s in state))
        assert part.tobytes() == whole[cut].tobytes()
        assert [s.tobytes() for s in part_state] == [s[cut].tobytes() for s in whole_state]
    assert [array.tobytes() for array in (weights, mean, *state)] == before


@pytest.mark.parametrize(("name", "parts"), list(zip(STRATEGIES, (0, 1, 2, 2, 2, 0, 0, 0, 0), strict=True)))
def test_state_parts_say_how_much_state_a_step_takes_and_gives(name: str, parts: int) -> None:
    chosen = plain(name)
    state = chosen.initial_state(2, np.dtype(np.float32))
    assert len(state) == chosen.state_parts == parts
    assert all(part.dtype == np.float32 and part.shape == (2,) for part in state)
    _, after = chosen.step(np.zeros(2), np.ones(2), tuple(part.astype(np.float64) for part in state))
    assert len(after) == parts


@pytest.mark.parametrize("name", ["fedadagrad", "fedadam", "fedyogi"])
def test_adaptive_second_moments_start_at_tau_squared_and_stay_positive(name: str) -> None:
    chosen = strategy(f"{name}:tau=0.5")
    assert chosen.initial == (0.0, 0.25)
    state = chosen.initial_state(5, np.dtype(np.float64))
    weights = np.zeros(5)
    for mean in ([0.0, 1e6, 1e-9, -3.0, 0.5],) * 3 + ([0.0] * 5,) * 3:
        weights, state = chosen.step(weights, np.array(mean), state)
        assert (state[1] > 0).all()
        assert np.isfinite(weights).all()


@pytest.mark.parametrize("name", STRATEGIES)
@given(st.data())
def test_the_canonical_text_reads_back_to_the_same_strategy(name: str, data: st.DataObject) -> None:
    chosen = STRATEGIES[name](**{key: data.draw(SETTINGS[key]) for key in plain(name).hyper})
    again = strategy(chosen.text)
    assert again == chosen
    assert (again.text, again.initial) == (chosen.text, chosen.initial)
    assert hash(again) == hash(chosen)


def test_hyperparameters_may_stand_in_their_order() -> None:
    assert strategy("fedadam:0.1,tau=1e-2") == strategy("fedadam:lr=0.1,tau=0.01")
    assert [strategy(text).text for text in ("median", *SPELLINGS.values())] == [
        "median",
        "trimmed-mean:beta=0.2",
        "krum:f=1",
        "multi-krum:f=1,m=2",
    ]


def test_settings_left_out_keep_their_defaults() -> None:
    assert strategy("fedadam").text == "fedadam:lr=0.01,beta1=0.9,beta2=0.99,tau=0.001"
    assert strategy("fedadam:tau=1e-2,lr=1").text == "fedadam:lr=1.0,beta1=0.9,beta2=0.99,tau=0.01"
    assert isinstance(strategy("fedavg"), Strategy)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fedsgd", "no strategy 'fedsgd'; use one of fedavg, fedavgm, fedadam, fedyogi, fedadagrad"),
        ("", "no strategy ''"),
        ("FedAvg", "no strategy 'FedAvg'"),
        ("fedadam:", "fedadam: '' is not one of its settings"),
        ("fedadam:gamma=1", "'gamma' is not one of its settings; .* choose from lr, beta1, beta2, tau"),
        ("fedadam:lr=1,lr=1", "'lr' is given twice"),
        ("fedadam:lr", "lr is '', not a number"),
        ("fedadam:lr=fast", "lr is 'fast', not a number"),
        ("fedadam:lr=0", "lr is 0; it must be above 0 and at most 1e6"),
        ("fedavg:lr=-1", "lr is -1; it must be above 0"),
        ("fedavgm:lr=inf", "lr is inf; it must be"),
        ("fedavgm:lr=nan", "lr is nan; it must be"),
        ("fedavgm:momentum=1", "momentum is 1; it must be at least 0 and below 1"),
        ("fedyogi:beta2=-0.1", "beta2 is -0.1; it must be"),
        ("fedadagrad:beta1=nan", "beta1 is nan; it must be"),
        ("fedadagrad:tau=0", "tau is 0; it must be above 0"),
        ("fedadam:0.1,0.9,0.9,0.1,5", "'5' is not one of its settings"),
        ("fedadam:0.1,lr=1", "'lr' is given twice"),
        ("median:0.1", "median: '0.1' is not one of its settings; it has none"),
        ("trimmed-mean", "say its beta, as in trimmed-mean:beta=0.1"),
        ("trimmed-mean:0.5", "beta is 0.5; it must be above 0 and below 0.5"),
        ("trimmed-mean:nan", "beta is nan; it must be"),
        ("krum", "krum: say its f, as in krum:f=1"),
        ("krum:0", "f is 0; it must be a whole number from 1 to 256"),
        ("krum:1.5", "f is 1.5; it must be a whole number"),
        ("krum:inf", "f is inf; it must be a whole number"),
        ("multi-krum:2", "multi-krum: say its m, as in multi-krum:f=1,m=2"),
    ],
)
def test_bad_texts_are_refused_with_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        strategy(text)
