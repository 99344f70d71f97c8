"""What is said of a round follows from its records, in whatever order the partitions are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import pytest

from fdstream.dashboard.rounds import NOT_IN_COHORT, REFUSED, REPORTED, Round, spread
from fdstream.events import Entry
from fdstream.log import Record
from fdstream.messages import Exclusion, Report, RoundClosed, ShardVerdict
from fdstream.topics import table
from tests import test_ledger as scripts
from tests.test_ledger import MODEL, NONCE, closing, result

OPENED_SECONDS = 1000.0
CONTROL_OFFSET = 7
TOPIC = table.reports(1)


def made(*, training: bool = True, min_clients: int = 2) -> Round:
    opened = scripts.round_opened(1, training=training)
    entry = Entry(Record(table.CONTROL, 0, CONTROL_OFFSET, OPENED_SECONDS, b""), opened)
    return Round(opened, entry, active_shards=2, min_clients=min_clients)


def report(client: str, attempt: str = "", *, failure: str | None = None, **changes: object) -> Report:
    name = (attempt or client).encode().ljust(16)
    made = Report(NONCE, client, name, 1, CONTROL_OFFSET, 10, {}, 0, {}, (b"d" * 16,) * 2, failure=failure)
    return replace(made, **changes)  # type: ignore[arg-type]


def entry(offset: int, message: Report, seconds: float | None = None) -> Entry:
    at = OPENED_SECONDS + 1 + offset if seconds is None else seconds
    return Entry(Record(TOPIC, 0, offset, at, b""), message)


def verdict(shard: int, *excluded: int, ordinal: int = 1, reason: str = "digest differs") -> ShardVerdict:
    left_out = tuple(Exclusion(offset, reason) for offset in excluded)
    return ShardVerdict(NONCE, 1, ordinal, shard, left_out)


def closed(clients: int = 2) -> RoundClosed:
    return RoundClosed(NONCE, 1, 1, clients, 20, {"loss": 0.5}, {}, MODEL, bytes(32))


def outcomes(round_: Round) -> dict[str, tuple[str, str]]:
    return {row.client: (row.outcome, row.reason) for row in round_.rows.values()}


def phases(round_: Round) -> list[tuple[str, float, float | None]]:
    """Seconds since the round opened."""
    return [
        (each.phase, each.start - OPENED_SECONDS, None if each.end is None else each.end - OPENED_SECONDS)
        for each in round_.phases()
    ]


def test_reports_become_rows_with_the_time_they_took() -> None:
    round_ = made()
    row = round_.hear(entry(0, report("a", metrics={"loss": 0.5})))
    assert row is not None
    assert (row.seconds, row.num_examples, row.metrics, row.outcome) == (1.0, 10, {"loss": 0.5}, REPORTED)
    assert round_.counts == (1, 0)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (report("a", failure="no disk"), "it failed: no disk"),
        (report("a", num_examples=0), "num_examples below 1"),
        (report("a", digests=()), "wrong number of digests"),
        (report("a", nonce=b"o" * 16), "of another federation"),
        (report("a", round_offset=1), "of no such round"),
    ],
)
def test_a_refused_report_shows_why(bad: Report, reason: str) -> None:
    round_ = made()
    round_.hear(entry(0, bad))
    assert outcomes(round_) == {"a": (REFUSED, reason)}
    assert round_.counts == (0, 1)


def test_a_bad_report_takes_nothing_away_from_a_good_one() -> None:
    round_ = made()
    round_.hear(entry(0, report("a")))
    for offset, bad in enumerate(
        (report("a", "x", failure="late thought"), report("a", "y", num_examples=0)), 1
    ):
        assert round_.hear(entry(offset, bad)) is None
    assert outcomes(round_) == {"a": (REPORTED, "")}


def test_records_of_other_rounds_and_copies_change_nothing() -> None:
    round_ = made()
    round_.hear(entry(0, report("a")))
    assert round_.hear(entry(0, report("a"))) is None  # delivered again
    assert round_.hear(entry(1, report("b", round=3))) is None
    assert list(round_.rows) == ["a"]


def test_whom_a_shard_leaves_out_may_report_again_in_any_order_of_reading() -> None:
    """The verdict lies in another partition than the reports."""
    steps: dict[str, Callable[[Round], object]] = {
        "first": lambda round_: round_.hear(entry(0, report("a", "one"))),
        "second": lambda round_: round_.hear(entry(1, report("a", "two"))),
        "verdict": lambda round_: round_.judge(OPENED_SECONDS + 3, verdict(0, 0)),
    }
    found = set()
    for order in permutations(steps):
        if order.index("first") > order.index("second"):
            continue
        round_ = made()
        for name in order:
            steps[name](round_)
        found.add((round_.rows["a"].offset, *outcomes(round_)["a"]))
    assert found == {(1, REPORTED, "")}


def test_who_is_left_out_and_does_not_report_again_is_refused_with_the_shards_reason() -> None:
    round_ = made()
    for offset, client in enumerate(("a", "b")):
        round_.hear(entry(offset, report(client)))
    left_out = round_.judge(OPENED_SECONDS + 3, verdict(0, 1))
    assert [row.client for row in left_out] == ["b"]
    assert outcomes(round_) == {"a": (REPORTED, ""), "b": (REFUSED, "digest differs")}
    assert round_.judge(OPENED_SECONDS + 4, verdict(0, 0)) == []  # a copy is noise
    assert outcomes(round_)["a"] == (REPORTED, "")


def test_who_came_too_late_for_the_cohort_is_told_so() -> None:
    round_ = made()
    for offset, client in enumerate(("a", "b", "c")):
        round_.hear(entry(offset, report(client)))
    round_.close(OPENED_SECONDS + 4, closing(1, accepted=(0, 1)))
    late = round_.seal(OPENED_SECONDS + 6, closed())
    assert [row.client for row in late] == ["c"]
    assert outcomes(round_)["c"] == (REPORTED, NOT_IN_COHORT)


# Phases


def whole_round() -> list[Callable[[Round], object]]:
    return [
        lambda r: r.close(OPENED_SECONDS + 10, closing(1, accepted=(0, 1))),
        lambda r: r.judge(OPENED_SECONDS + 11, verdict(0)),
        lambda r: r.judge(OPENED_SECONDS + 12, verdict(1)),
        lambda r: r.publish(OPENED_SECONDS + 13, result(1, 0)),
        lambda r: r.publish(OPENED_SECONDS + 15, result(1, 1)),
        lambda r: r.seal(OPENED_SECONDS + 16, closed()),
    ]


WHOLE = [("collecting", 0, 10), ("comparing", 10, 12), ("publishing", 12, 15), ("sealing", 15, 16)]


def test_a_round_passes_through_its_phases() -> None:
    round_, seen = made(), []
    for step in (lambda _: None, *whole_round()):
        step(round_)
        seen.append(phases(round_)[-1][0])
        assert (phases(round_)[-1][2] is None) is (round_.closed is None)
    expected = "collecting comparing comparing publishing publishing sealing sealing"
    assert seen == expected.split()
    assert phases(round_) == WHOLE


def test_phases_do_not_depend_on_which_partition_was_read_first() -> None:
    """control: closing, closed; shard 0: verdict, result; shard 1: verdict, result. Each in its own order."""
    close, judge0, judge1, publish0, publish1, seal = range(6)
    kept = [(close, seal), (judge0, publish0), (judge1, publish1)]
    for order in permutations(range(6)):
        if any(order.index(one) > order.index(other) for one, other in kept):
            continue
        round_, steps = made(), whole_round()
        for index in order:
            steps[index](round_)
        assert phases(round_) == WHOLE


def test_what_shards_said_may_be_missing() -> None:
    round_ = made()
    round_.close(OPENED_SECONDS + 10, closing(1, accepted=(0, 1)))
    round_.seal(OPENED_SECONDS + 16, closed())
    assert phases(round_) == [("collecting", 0, 10), ("closing", 10, 16)]


def test_too_few_remain_so_the_round_collects_again() -> None:
    round_ = made(min_clients=2)
    round_.close(OPENED_SECONDS + 10, closing(1, accepted=(0, 1)))
    round_.judge(OPENED_SECONDS + 11, verdict(0, 1))
    round_.judge(OPENED_SECONDS + 12, verdict(1))
    assert phases(round_) == [("collecting", 0, 10), ("comparing", 10, 12), ("collecting", 12, None)]
    round_.close(OPENED_SECONDS + 20, closing(1, 2, accepted=(0, 2)))
    round_.judge(OPENED_SECONDS + 21, verdict(0, ordinal=2))
    round_.judge(OPENED_SECONDS + 22, verdict(1, ordinal=2))
    found = " ".join(phase for phase, *_ in phases(round_))
    assert found == "collecting comparing collecting comparing publishing"
    assert round_.judged_shards == {0, 1}


def test_an_evaluation_is_collected_and_sealed() -> None:
    round_ = made(training=False)
    round_.close(OPENED_SECONDS + 10, closing(1, accepted=(0, 1)))
    assert phases(round_) == [("collecting", 0, 10), ("sealing", 10, None)]


def test_no_phase_ends_before_it_starts_whatever_the_brokers_clocks_say() -> None:
    round_ = made()
    round_.close(OPENED_SECONDS + 10, closing(1, accepted=(0, 1)))
    for shard, seconds in enumerate((9.0, 9.5)):
        round_.judge(OPENED_SECONDS + seconds, verdict(shard))
        round_.publish(OPENED_SECONDS + seconds + 0.2, result(1, shard))
    round_.seal(OPENED_SECONDS + 11, closed())
    starts = [start for _, start, _ in phases(round_)]
    assert starts == sorted(starts)
    assert all(end is not None and end >= start for _, start, end in phases(round_))


# Sums


def test_what_clients_found_together_is_kept_when_single_ones_are_dropped() -> None:
    round_ = made()
    for offset, client in enumerate("abc"):
        round_.hear(entry(offset, report(client, metrics={"loss": offset / 2})))
    round_.hear(entry(3, report("d", failure="no disk")))
    round_.drop_rows()
    assert round_.rows == {}
    assert round_.counts == (3, 1)
    assert round_.spread["train"] == {"loss": [0.0, 0.25, 0.5, 0.75, 1.0]}


def test_spread_is_least_quartiles_and_most_of_those_who_have_the_metric() -> None:
    assert spread([{"a": 3.0}, {}, {"b": 1.0, "a": 1.0}]) == {
        "a": [1.0, 1.5, 2.0, 2.5, 3.0],
        "b": [1.0] * 5,
    }
    assert spread([]) == {}


def test_update_records_are_counted_from_offsets() -> None:
    round_ = made()
    assert round_.update_records == 0
    round_.close(OPENED_SECONDS + 10, closing(1))
    assert round_.update_records == 18  # two partitions up to 9


def test_whom_the_coordinator_did_not_take_is_refused_with_its_reason() -> None:
    """Trust is no function of the log: what was judged stands in RoundClosing."""
    round_ = made()
    for offset, client in enumerate(("a", "b", "c")):
        round_.hear(entry(offset, report(client)))
    refused = (Exclusion(2, "not on the list of clients"), Exclusion(9, "of a report that nobody has"))
    marked = round_.close(OPENED_SECONDS + 4, replace(closing(1, accepted=(0, 1)), refused=refused))
    assert [row.client for row in marked] == ["c"]
    assert outcomes(round_)["c"] == (REFUSED, "not on the list of clients")
