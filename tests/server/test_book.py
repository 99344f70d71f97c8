"""The book of reports: every rule has one name, the log's order decides, and a bad report costs its sender alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from math import fsum
from typing import Any

import pytest

from fdstream.fitting import LATE, MAX_REPORTS_OF_A_CLIENT
from fdstream.messages import MAX_METRIC, MAX_METRICS, Refusal
from fdstream.server.book import (
    ACCEPTED,
    DUPLICATE,
    FAILED,
    ReportBook,
    weighted_means,
)
from tests.server.records import (
    ROUND_OFFSET,
    STRANGE,
    Stage,
    Tape,
    an_id,
    federation,
    report,
    round_opened,
)


def stage(*, training: bool = True, number: int = 1, start: int = 0) -> Stage:
    """A round that collects reports."""
    scene = Stage(federation())
    scene.book = ReportBook(round_opened(number, training=training, start=start), ROUND_OFFSET)
    scene.tape.ends["reports", 0] = start
    return scene


def book_of(scene: Stage) -> ReportBook:
    assert scene.book is not None
    return scene.book


def candidates(scene: Stage, *excluded: int, at_most: int = 9) -> tuple[int, ...]:
    return book_of(scene).candidates(dict.fromkeys(excluded, "bad"), at_most)


# What becomes of a report


def test_the_first_report_of_each_client_is_accepted() -> None:
    scene = stage()
    assert scene.reports(report("ada"), report("bob")) == [ACCEPTED, ACCEPTED]
    assert candidates(scene) == (0, 1)


def test_a_second_report_of_a_client_is_a_duplicate_and_the_first_stands() -> None:
    scene = stage()
    assert scene.reports(report("ada"), report("ada", an_id(2))) == [ACCEPTED, DUPLICATE]
    assert candidates(scene) == (0,)


REFUSED = [
    pytest.param({"nonce": STRANGE}, "of another federation", id="another nonce"),
    pytest.param({"round": 3}, "of no such round", id="a later round"),
    pytest.param({"round_offset": ROUND_OFFSET + 1}, "of no such round", id="another RoundOpened"),
    pytest.param({"num_examples": 0}, "num_examples below 1", id="no examples"),
    pytest.param({"digests": ()}, "wrong number of digests", id="no digests"),
    pytest.param({"digests": (bytes(16),)}, "wrong number of digests", id="too few digests"),
    pytest.param({"digests": (bytes(16),) * 3}, "wrong number of digests", id="too many digests"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_a_report_that_does_not_fit_is_refused_and_harms_nobody(changes: dict[str, Any], reason: str) -> None:
    scene = stage(number=2)
    fits = report("ada", round=2)
    assert scene.reports(replace(fits, **changes), fits) == [reason, ACCEPTED]
    assert candidates(scene) == (1,)


def test_a_report_for_an_earlier_round_is_late() -> None:
    scene = stage(number=2)
    assert scene.reports(report("ada", round=1), report("ada", round=2)) == [LATE, ACCEPTED]


def test_an_attempt_is_reported_once_whoever_reports_it() -> None:
    scene = stage()
    own = report("ada", an_id(1))
    assert scene.reports(own, own, report("bob", an_id(1))) == [ACCEPTED, *["attempt already reported"] * 2]
    assert candidates(scene) == (0,)


def test_a_failure_is_told_and_is_no_candidate() -> None:
    scene = stage()
    failure = report("ada", failure="the disk is full", num_examples=0, digests=())
    assert scene.reports(failure) == [FAILED]
    assert candidates(scene) == ()
    assert book_of(scene).failures == {"ada": "the disk is full"}


def test_a_client_that_failed_may_still_report() -> None:
    scene = stage()
    assert scene.reports(report("ada", failure="once"), report("ada")) == [FAILED, ACCEPTED]
    assert candidates(scene) == (1,)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [({"nonce": STRANGE}, "of another federation"), ({"round_offset": 7}, "of no such round")],
)
def test_a_failure_of_elsewhere_is_no_failure_of_this_round(changes: dict[str, Any], outcome: str) -> None:
    scene = stage()
    assert scene.reports(report("ada", failure="once", **changes)) == [outcome]
    assert book_of(scene).failures == {}


def test_a_round_without_training_takes_reports_without_an_update() -> None:
    scene = stage(training=False)
    evaluated = report("ada", num_examples=0, digests=(), evaluated_examples=5)
    assert scene.reports(evaluated, report("bob")) == [ACCEPTED, "wrong number of digests"]


def test_what_is_no_report_is_refused_and_takes_its_place() -> None:
    scene = stage()
    assert scene.reports(Refusal("truncated", ""), report("ada")) == ["not a report", ACCEPTED]
    assert candidates(scene) == (1,)


# Reporting again


def test_a_client_left_out_by_a_verdict_reports_again_twice_and_no_more() -> None:
    scene = stage()
    tries = [report("ada", an_id(number)) for number in range(4)]
    assert scene.reports(tries[0]) == [ACCEPTED]
    assert candidates(scene, 0) == ()
    assert scene.reports(tries[1]) == [ACCEPTED]
    assert candidates(scene, 0, 1) == ()
    assert scene.reports(tries[2], tries[3]) == [ACCEPTED, "too many reports of one client"]
    assert candidates(scene, 0, 1, 2) == ()
    assert MAX_REPORTS_OF_A_CLIENT == 3


def test_a_duplicate_stands_in_once_the_first_is_left_out() -> None:
    scene = stage()
    scene.reports(report("ada"), report("bob"), report("ada", an_id(2)))
    assert candidates(scene) == (0, 1)
    assert candidates(scene, 0) == (1, 2)
    assert candidates(scene, 0, 2) == (1,)


def test_refused_reports_do_not_use_up_a_clients_chances() -> None:
    scene = stage()
    scene.reports(*[report("ada", an_id(number), num_examples=0) for number in range(9)])
    assert scene.reports(report("ada")) == [ACCEPTED]


# The candidates


def test_the_first_max_clients_in_the_order_of_the_log_are_candidates() -> None:
    scene = stage(start=5)
    scene.reports(*map(report, ["cyd", "ada", "eve", "bob"]))
    assert candidates(scene, at_most=2) == (5, 6)
    assert candidates(scene, 5, at_most=2) == (6, 7)
    assert candidates(scene, 5, at_most=9) == (6, 7, 8)


def test_the_number_of_candidates_counts_beyond_the_most_and_without_the_excluded() -> None:
    scene = stage()
    scene.reports(*map(report, ["ada", "bob", "cyd"]))
    book = book_of(scene)
    assert candidates(scene, at_most=1) == (0,)
    assert book.num_candidates({}) == 3
    assert book.num_candidates({1: "bad"}) == 2
    assert candidates(scene, 1) == (0, 2)


def test_who_reads_all_at_once_comes_to_the_same_candidates_as_who_saw_the_exclusions_come() -> None:
    reports = [report("ada", an_id(1)), report("bob"), report("ada", an_id(2)), report("cyd")]
    early, late = stage(), stage()
    for number, one in enumerate(reports):
        early.reports(one)
        candidates(early, *([0] if number > 1 else []))
    late.reports(*reports)
    assert candidates(early, 0) == candidates(late, 0) == (1, 2, 3)


# Reading


def test_a_record_read_twice_or_out_of_turn_is_not_judged() -> None:
    tape = Tape()
    book = ReportBook(round_opened(start=1), ROUND_OFFSET)
    entries = [tape.entry("reports", report(client)) for client in ("ada", "bob", "cyd", "eve")]
    turns = [entries[0], entries[2], entries[1], entries[1], entries[2], entries[3]]
    assert [book.add(entry) for entry in turns] == [None, None, ACCEPTED, None, ACCEPTED, ACCEPTED]
    assert book.candidates({}, 9) == (1, 2, 3)
    assert book.next_offset == 4


def test_the_book_covers_reports_once_the_last_of_them_is_read() -> None:
    scene = stage()
    book = book_of(scene)
    assert book.covers(())
    assert not book.covers((0,))
    scene.reports(report("ada"))
    assert book.covers((0,))
    assert not book.covers((0, 1))


# Means


def test_a_mean_is_weighted_by_examples() -> None:
    rows = [(1, {"loss": 4.0}), (3, {"loss": 0.0})]
    assert weighted_means(iter(rows)) == {"loss": 1.0}


def test_a_metric_is_averaged_over_those_who_name_it() -> None:
    rows = [(1, {"loss": 4.0}), (3, {"loss": 0.0, "accuracy": 0.5})]
    assert weighted_means(iter(rows)) == {"accuracy": 0.5, "loss": 1.0}


def test_no_examples_at_all_give_no_mean() -> None:
    assert weighted_means(iter([(0, {"loss": 4.0}), (0, {"loss": 2.0})])) == {}
    assert weighted_means(iter([])) == {}


def test_the_order_of_the_rows_cannot_show_in_a_mean() -> None:
    values = [1e16, 1.0, -1e16, 1e-3]
    assert len({sum(order) for order in permutations(values)}) > 1
    means = {weighted_means((1, {"m": v}) for v in order)["m"] for order in permutations(values)}
    assert means == {fsum(values) / 4}


def test_of_too_many_metrics_the_first_by_name_stay() -> None:
    rows = [(1, {f"m{number:03}": 1.0}) for number in reversed(range(MAX_METRICS + 5))]
    assert list(weighted_means(iter(rows))) == [f"m{number:03}" for number in range(MAX_METRICS)]


def test_the_mean_of_the_largest_metrics_still_fits_a_record() -> None:
    for metric in (MAX_METRIC, -MAX_METRIC):
        rows = [(weight, {"m": metric}) for weight in range(1, 200)]
        for count in range(1, 200):
            assert abs(weighted_means(iter(rows[:count]))["m"]) <= MAX_METRIC
