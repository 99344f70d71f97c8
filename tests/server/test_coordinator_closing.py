"""The coordinator after the candidates are written down: who is left out, what closes the round, what is deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fdstream.digests import model_sha256
from fdstream.events import DeleteBefore, ReadEnds
from fdstream.ledger import Phase
from fdstream.messages import RoundClosed, RoundClosing, RoundExtended
from fdstream.server.coordinator import KEPT_SECONDS, Coordinator
from fdstream.topics import table
from tests.server.coordinating import DEADLINE, Bench, collecting, written_in
from tests.server.records import (
    LAYOUT,
    MODEL,
    NONCE,
    SECONDS,
    STRANGE,
    all_of,
    an_id,
    closed,
    closing,
    federation,
    only,
    report,
    result,
    round_opened,
    verdict,
)

# Verdicts that leave too few


def left_out(*excluded: int, **changes: Any) -> Bench:
    """Three reported, and verdicts leave these out."""
    bench = collecting("ada", "bob", "cyd", **changes)
    bench.control(bench.close(8, 9))
    bench.shards(verdict(0, *excluded), verdict(1))
    return bench


def test_those_left_out_hear_of_it_at_once() -> None:
    bench = left_out(0, 2)
    assert bench.ledger.phase is Phase.COLLECTING
    message = written_in(bench.duties(), RoundExtended)
    assert message == RoundExtended(NONCE, 1, 1, 0.5, (0, 2))
    assert bench.duties() == []


def test_whoever_was_told_is_not_told_again() -> None:
    bench = left_out(0, 2)
    bench.control(*bench.written())
    assert bench.duties() == []


def test_a_client_left_out_reports_again_and_the_next_ordinal_takes_it() -> None:
    bench = left_out(0, 2)
    bench.control(*bench.written())
    assert bench.reports(report("ada", an_id(8)), report("cyd", an_id(9))) == ["accepted"] * 2
    assert bench.close(20, 21) == RoundClosing(NONCE, 1, 2, (1, 3, 4), (20, 21))


def test_the_end_of_the_updates_does_not_pass_for_the_end_of_the_reports() -> None:
    bench = collecting("ada", "bob", "cyd")
    bench.control(bench.close(0, 0))
    bench.shards(verdict(0, 0, 2), verdict(1))
    bench.control(*bench.written())
    assert only(ReadEnds, bench.duties(DEADLINE)).topics == (table.reports(0),)
    assert bench.duties(DEADLINE) == []


def test_enough_left_after_verdicts_need_no_extension() -> None:
    bench = left_out(0)
    assert bench.ledger.phase is Phase.PUBLISHING
    assert bench.duties() == []


def test_those_left_out_hear_of_it_though_no_extension_is_left_for_deadlines() -> None:
    """The number of extensions bounds how long one waits for the absent, and these are here."""
    assert left_out(0, 2, max_extensions=0).written() == [RoundExtended(NONCE, 1, 1, 0.5, (0, 2))]


def test_others_who_reported_meanwhile_close_the_round_without_those_left_out() -> None:
    bench = collecting("ada", "bob", "cyd")
    bench.control(bench.close(8, 9))
    bench.reports(report("dot"), report("eve"))
    bench.shards(verdict(0, 0, 2), verdict(1))
    assert bench.close(20, 21) == RoundClosing(NONCE, 1, 2, (1, 3, 4), (20, 21))


def test_while_shards_compare_and_publish_the_coordinator_waits() -> None:
    bench = collecting("ada", "bob", "cyd")
    bench.control(closing(0, 1, 2))
    assert (bench.ledger.phase, bench.duties(1e9)) == (Phase.COMPARING, [])
    bench.shards(verdict(0), verdict(1))
    assert (bench.ledger.phase, bench.duties(1e9)) == (Phase.PUBLISHING, [])


# Closing the round


def sealing(*accepted: int, excluded: tuple[int, ...] = (), slots: int = 1, **changes: Any) -> Bench:
    """All results of round 1 are in; its reports are not read yet."""
    bench = Bench(federation(slots=slots, **changes), round_opened(), closing(*accepted))
    bench.shards(verdict(0), verdict(1, *excluded), result(0), result(1))
    assert bench.ledger.phase is Phase.SEALING
    return bench


def test_a_round_is_closed_with_its_cohort_its_metrics_and_the_next_model() -> None:
    bench = sealing(0, 1, 2, excluded=(1,))
    bench.reports(
        report(
            "ada", num_examples=1, metrics={"loss": 4.0}, evaluated_examples=3, evaluate_metrics={"a": 1.0}
        ),
        report(
            "bob", num_examples=9, metrics={"loss": 9.0}, evaluated_examples=9, evaluate_metrics={"a": 9.0}
        ),
        report(
            "cyd", num_examples=3, metrics={"loss": 0.0}, evaluated_examples=1, evaluate_metrics={"a": 0.0}
        ),
    )
    model = (result(0).model, result(1).model)
    sha256 = bytes.fromhex(model_sha256(LAYOUT, [part.digest for part in model]))
    message = written_in(bench.duties(), RoundClosed)
    assert message == RoundClosed(NONCE, 1, 1, 2, 4, {"loss": 1.0}, {"a": 0.75}, model, sha256)
    assert bench.duties() == []


def test_two_coordinators_close_a_round_with_the_same_record() -> None:
    """Also where one read a report more than the other, and draws other ids."""
    benches = [sealing(0, 1), sealing(0, 1)]
    for bench, clients in zip(benches, ["ab", "abc"], strict=True):
        bench.reports(*map(report, clients))
    benches[1].coordinator = Coordinator(benches[1].ledger, lambda: b"?" * 16)
    assert benches[0].written() == benches[1].written() != []


def test_a_round_is_not_closed_before_its_reports_are_read() -> None:
    bench = sealing(0, 1)
    bench.reports(report("ada"))
    assert bench.duties() == []
    bench.reports(report("bob"))
    assert len(bench.written()) == 1


def test_a_round_without_training_is_closed_with_the_model_it_began_with() -> None:
    bench = collecting(training=False)
    bench.reports(
        report("ada", num_examples=0, digests=(), evaluated_examples=4, evaluate_metrics={"a": 0.5})
    )
    bench.control(closing(0))
    message = written_in(bench.duties(), RoundClosed)
    assert (message.model, message.num_clients, message.num_examples) == (MODEL, 1, 0)
    assert message.evaluate_metrics == {"a": 0.5}


def test_a_closing_without_training_that_names_what_is_no_report_closes_with_those_that_are() -> None:
    bench = collecting(training=False)
    bench.reports(report("ada", num_examples=0, digests=(), evaluated_examples=4))
    bench.reports(report("bob", nonce=STRANGE, num_examples=0, digests=()))
    bench.control(closing(0, 1))
    message = written_in(bench.duties(), RoundClosed)
    assert message.num_clients == 1


# Deleting


def seal(bench: Bench, number: int) -> None:
    """Round r starts at 10 r, its model at 10 r + 1."""
    model = tuple(replace(part, start=10 * number + 1, state_start=10 * number + 2) for part in MODEL)
    # Without training, because these pass without verdicts and results; they are deleted all the same.
    bench.control(round_opened(number, model=model, start=10 * number, training=False))
    bench.control(replace(closing(), round=number))


def test_where_no_more_rounds_follow_nothing_waits_to_be_deleted() -> None:
    bench = Bench(federation(slots=2, num_rounds=3, keep_rounds=1))
    for number in (1, 2):
        seal(bench, number)
        assert not all_of(DeleteBefore, bench.duties())
        bench.control(closed(number))
    seal(bench, 3)
    assert all_of(DeleteBefore, bench.duties())


def deletions(last: int, *, slots: int, **changes: Any) -> dict[tuple[str, int], int]:
    """What is deleted when round `last` is closed."""
    bench = Bench(federation(slots=slots, num_rounds=99, **changes))
    for number in range(1, last + 1):
        seal(bench, number)
        assert not all_of(DeleteBefore, bench.duties()), "who looks may be a little late"
        found = all_of(DeleteBefore, bench.duties(SECONDS + KEPT_SECONDS))
        assert not all_of(DeleteBefore, bench.duties(SECONDS + KEPT_SECONDS)), "once"
        bench.control(closed(number))
    assert len(found) <= 1, "all in one question to the broker"
    return dict(found[0].offsets) if found else {}


def test_a_kept_round_bounds_what_is_deleted_in_each_topic_of_its_slot() -> None:
    found = deletions(3, slots=2, keep_rounds=2)
    third = {place: offset for place, offset in found.items() if place[0].startswith("round-1.")}
    model, state, updates, reports = (
        name(1) for name in (table.model, table.state, table.updates, table.reports)
    )
    assert third == {
        **{(model, shard): 31 for shard in (0, 1)},
        **{(state, shard): 32 for shard in (0, 1)},
        **{(updates, shard): 30 for shard in (0, 1)},
        (reports, 0): 30,
    }


@pytest.mark.parametrize(
    ("last", "keep_rounds", "slots", "expected"),
    [
        pytest.param(1, 1, 1, set(), id="the first round is kept"),
        pytest.param(2, 1, 1, {("round-0.updates", 20)}, id="one slot, one round kept"),
        pytest.param(2, 2, 2, set(), id="nothing is old yet"),
        pytest.param(3, 2, 2, {("round-0.updates", 20), ("round-1.updates", 30)}, id="two kept"),
        pytest.param(3, 1, 2, {("round-0.updates", 20), ("round-1.updates", 30)}, id="a ring keeps two"),
        pytest.param(5, 4, 2, {("round-0.updates", 20), ("round-1.updates", 30)}, id="four kept"),
        pytest.param(9, 0, 2, set(), id="all kept"),
    ],
)
def test_rounds_older_than_those_kept_are_deleted_up_to_where_a_kept_one_begins(
    last: int, keep_rounds: int, slots: int, expected: set[tuple[str, int]]
) -> None:
    found = deletions(last, slots=slots, keep_rounds=keep_rounds)
    updates = {(topic, offset) for (topic, _), offset in found.items() if topic.endswith("updates")}
    assert updates == expected


def test_control_and_shards_are_never_deleted_from() -> None:
    assert {topic for topic, _ in deletions(9, slots=2, keep_rounds=2)}.isdisjoint(
        {table.CONTROL, table.SHARDS}
    )
