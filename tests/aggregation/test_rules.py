"""Median, trimmed mean, Krum and clipping are those of their papers, and refuse cohorts that cannot be."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from random import Random
from statistics import median as plain_median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.aggregation.clipping import ClippedMean, factor
from fdstream.aggregation.krum import lowest_scores
from fdstream.aggregation.rule import MAX_MEASURED_CLIENTS, MEAN, Reduce
from fdstream.aggregation.squares import squared_distances, squared_norm
from fdstream.aggregation.strategies import clipped, strategy, strategy_of
from fdstream.aggregation.strategy import Vector
from fdstream.aggregation.trimmed_mean import trimmed
from fdstream.errors import UsageError
from fdstream.messages import Settings

COLUMNS = st.lists(st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3), min_size=1, max_size=9)
BASE = Settings(1, 3, 3, 60.0, 5, 1.0, "fedavg", 2, 0, final_evaluation=False)


def reduction(spelling: str) -> Reduce:
    reduce = strategy(spelling).rule.reduce
    assert reduce is not None
    return reduce


@given(COLUMNS)
def test_the_median_is_that_of_the_standard_library(rows: list[list[float]]) -> None:
    found = reduction("median")(np.array(rows, np.float32))
    expected = np.array([plain_median(column) for column in zip(*rows, strict=True)]) + 0.0
    assert found.tobytes() == expected.tobytes()


@given(COLUMNS, st.sampled_from([0.1, 0.25, 0.4, 0.49]))
def test_the_trimmed_mean_is_the_mean_of_what_is_left(rows: list[list[float]], beta: float) -> None:
    found = reduction(f"trimmed-mean:{beta}")(np.array(rows, np.float32))
    left_out = math.floor(Fraction(str(beta)) * len(rows))
    kept = np.sort(np.array(rows, np.float32).astype(np.float64), axis=0)[left_out : len(rows) - left_out]
    np.testing.assert_allclose(found, kept.mean(axis=0), rtol=1e-12, atol=1e-10)


@pytest.mark.parametrize("spelling", ["median", "trimmed-mean:0.3"])
@given(COLUMNS, st.randoms(use_true_random=False))
def test_neither_order_nor_block_shows(spelling: str, rows: list[list[float]], random: Random) -> None:
    tile = np.array(rows, np.float32)
    whole = reduction(spelling)(tile.copy())
    random.shuffle(rows)
    assert reduction(spelling)(np.array(rows, np.float32)).tobytes() == whole.tobytes()
    alone = [reduction(spelling)(tile[:, [column]])[0] for column in range(3)]
    assert np.array(alone).tobytes() == whole.tobytes()


def test_a_zero_in_the_middle_has_no_sign() -> None:
    for rows in ([[-0.0]], [[-0.0], [0.0]], [[-1.0], [-0.0], [5.0]], [[-0.0], [-0.0]]):
        assert not np.signbit(reduction("median")(np.array(rows, np.float32))[0])


@pytest.mark.parametrize(
    ("beta", "members", "count"), [(0.29, 100, 29), (0.1, 30, 3), (0.49, 3, 1), (1e-9, 9, 0)]
)
def test_what_is_trimmed_follows_from_the_decimal(beta: float, members: int, count: int) -> None:
    assert trimmed(beta, members) == count


def plain_krum(points: Vector, liars: int) -> list[int]:
    """Blanchard et al., section 3, in float64."""
    scores = []
    for place, point in enumerate(points):
        others = sorted(float(((point - o) ** 2).sum()) for n, o in enumerate(points) if n != place)
        scores.append(sum(others[: len(points) - liars - 2]))
    return list(np.argsort(scores, kind="stable"))


@pytest.mark.parametrize("liars", [1, 2, 3])
def test_krum_is_that_of_plain_numpy_and_leaves_the_far_out(liars: int) -> None:
    rng = np.random.default_rng(liars)
    points = rng.standard_normal((2 * liars + 3, 50))
    points[:liars] += 100.0
    order = lowest_scores(squared_distances(points).tolist(), liars)
    assert order == plain_krum(points, liars)
    assert set(order[-liars:]) == set(range(liars))
    rule = strategy(f"multi-krum:{liars},{liars + 1}").rule
    weights = rule.weights([9] * len(points), squared_distances(points).tolist())
    assert weights.total == liars + 1
    assert [place for place, weight in enumerate(weights.of_members) if weight] == sorted(order[: liars + 1])


def test_of_equal_scores_the_first_in_the_log_is_taken() -> None:
    same = squared_distances(np.ones((5, 4)))
    assert lowest_scores(same.tolist(), 1) == [0, 1, 2, 3, 4]


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5), st.floats(1e-3, 1e3))
def test_a_longer_update_is_shortened_to_the_bound(elements: list[float], bound: float) -> None:
    values = np.array(elements, np.float32)
    by = factor(squared_norm(values), bound)
    norm = float(np.linalg.norm(values.astype(np.float64)))
    assert by == pytest.approx(min(1.0, bound / norm) if norm else 1.0, rel=1e-6)
    assert norm * by <= bound * (1 + 1e-6)


def test_an_update_at_the_bound_stays_as_it_is() -> None:
    assert factor(squared_norm(np.array([3.0, 4.0])), 5.0) == 1.0
    assert factor(squared_norm(np.array([3.0, 4.0])), 2.5) == 0.5


@pytest.mark.parametrize("bound", [1e-3, 1.0, 17.0, 1e6])
def test_clipping_begins_right_above_the_bound(bound: float) -> None:
    at_most = int(Fraction(bound) ** 2 * 2**72)  # squared, in steps of 2^-72, rounded down
    assert factor(at_most, bound) == 1.0
    for beyond in (1 + 1e-6, 1.005, 2.0, 1e3):
        shortened = factor(int(at_most * Fraction(beyond) ** 2), bound)
        assert shortened * beyond == pytest.approx(1.0, rel=1e-9)


def test_clipping_counts_each_client_once() -> None:
    weights = ClippedMean(5.0).weights([1, 1 << 24], [squared_norm(np.array([6.0, 8.0])), 0])
    assert (weights.of_members, weights.total) == ((0.5, 1.0), 2)


def test_clipping_goes_with_means_alone() -> None:
    assert clipped(strategy("fedadam"), 0.0).rule == MEAN
    assert clipped(strategy("fedadam"), 2.0).rule == ClippedMean(2.0)
    with pytest.raises(UsageError, match="median needs no clipping: leave --clip out"):
        clipped(strategy("median"), 2.0)


@pytest.mark.parametrize(
    ("spelling", "fewest"),
    [("median", 3), ("trimmed-mean:0.2", 5), ("krum:2", 7), ("multi-krum:1,2", 5), ("multi-krum:1,4", 7)],
)
def test_too_few_clients_are_refused_at_the_start(spelling: str, fewest: int) -> None:
    settings = replace(BASE, strategy=spelling, min_clients=fewest, max_clients=fewest)
    assert strategy_of(settings).name == spelling.partition(":")[0]
    with pytest.raises(UsageError, match="raise"):
        strategy_of(replace(settings, min_clients=fewest - 1))


def test_more_clients_than_fit_into_a_verdict_are_refused_at_the_start() -> None:
    with pytest.raises(UsageError, match="krum compares at most 256 clients a round"):
        strategy_of(replace(BASE, strategy="krum:1", min_clients=5, max_clients=257))
    with pytest.raises(UsageError, match="clipping compares at most 20,000 clients a round"):
        strategy_of(replace(BASE, clip=1.0, max_clients=MAX_MEASURED_CLIENTS + 1))
