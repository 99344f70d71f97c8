"""The coordinator opens rounds and judges who is in: asked once, and nothing acted on before the log says it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from fdstream.events import Append, ReadEnds
from fdstream.ledger import Phase
from fdstream.messages import FederationFinished, RoundClosed, RoundClosing, RoundExtended, RoundOpened
from fdstream.server.coordinator import Coordinator
from fdstream.topics import table
from tests.server.coordinating import DEADLINE, Bench, collecting, written_in
from tests.server.records import (
    MODEL,
    NONCE,
    SETTINGS,
    all_of,
    an_id,
    closed,
    closing,
    extended,
    federation,
    new_ids,
    only,
    report,
    result,
    round_opened,
    verdict,
)

# Opening rounds


def opened_by(bench: Bench, starts: dict[str, tuple[int, ...]]) -> RoundOpened:
    """The round that is opened next where its topics end like this."""
    ask = only(ReadEnds, bench.duties())
    assert set(ask.topics) == starts.keys()
    assert bench.answer(ask, starts) == []
    return written_in(bench.duties(), RoundOpened)


STARTS_1 = {table.updates(1): (3, 4), table.reports(1): (5,), table.SHARDS: (6, 7)}


def test_the_first_round_starts_where_its_topics_end_with_the_federations_model() -> None:
    opened = opened_by(Bench(federation()), STARTS_1)
    assert opened == RoundOpened(NONCE, 1, True, MODEL, (3, 4), 5, (6, 7), an_id(1), previous=bytes(32))


def test_a_round_is_opened_once_and_asked_about_once() -> None:
    bench = Bench(federation())
    ask = only(ReadEnds, bench.duties())
    assert bench.duties() == []
    bench.answer(ask, STARTS_1)
    assert len(bench.duties()) == 1
    assert bench.duties() == []


def test_the_next_round_uses_the_next_slot_the_closed_model_and_names_its_predecessor() -> None:
    bench = Bench(federation(), round_opened())
    model = tuple(replace(part, attempt=b"z" * 16) for part in MODEL)
    bench.control(closed(model=model), value=b"the bytes of RoundClosed")
    starts = {table.updates(0): (0, 1), table.reports(0): (2,), table.SHARDS: (3, 4)}
    opened = opened_by(bench, starts)
    assert (opened.round, opened.model) == (2, model)
    assert (opened.updates_start, opened.reports_start, opened.shards_start) == ((0, 1), 2, (3, 4))
    assert opened.previous == hashlib.sha256(b"the bytes of RoundClosed").digest()


def test_the_next_round_is_opened_right_behind_the_record_that_closes_the_last() -> None:
    """Readers get both at once; should another's RoundClosed come first, this one is noise and written anew."""
    bench = collecting("ada", "bob", slots=2)
    starts = {table.updates(0): (3, 4), table.reports(0): (5,), table.SHARDS: (6, 7)}
    bench.answer(only(ReadEnds, bench.duties()), starts)
    bench.control(closing(0, 1))
    bench.shards(verdict(0), verdict(1), result(0), result(1))
    (append,) = all_of(Append, bench.duties())
    assert isinstance(append.message, RoundClosed)
    assert append.then is not None
    opened = append.then(b"ours")
    assert isinstance(opened, RoundOpened)
    assert (opened.round, opened.model, opened.updates_start) == (2, append.message.model, (3, 4))
    assert opened.previous == hashlib.sha256(b"ours").digest()
    bench.control(append.message, value=b"theirs")
    assert bench.control(opened) == [False]
    anew = written_in(bench.duties(), RoundOpened)
    assert anew.previous == hashlib.sha256(b"theirs").digest()
    assert bench.control(anew) == [True]


def test_behind_its_own_record_the_next_round_is_opened_once() -> None:
    bench = collecting("ada", "bob", slots=2)
    starts = {table.updates(0): (3, 4), table.reports(0): (5,), table.SHARDS: (6, 7)}
    bench.answer(only(ReadEnds, bench.duties()), starts)
    bench.control(closing(0, 1))
    bench.shards(verdict(0), verdict(1), result(0), result(1))
    (append,) = all_of(Append, bench.duties())
    assert append.then is not None
    append.then(b"ours")
    bench.control(append.message, value=b"ours")
    assert bench.duties() == []


def test_each_round_samples_with_a_fresh_nonce() -> None:
    bench = Bench(federation(slots=1))
    starts = {table.updates(0): (0, 0), table.reports(0): (0,), table.SHARDS: (0, 0)}
    first = opened_by(bench, starts)
    bench.control(first, closed())
    assert opened_by(bench, starts).sampling_nonce != first.sampling_nonce


def test_where_the_next_round_starts_is_asked_while_this_one_collects_so_that_it_opens_at_once() -> None:
    bench = collecting(slots=2)
    ask = only(ReadEnds, bench.duties())
    bench.answer(ask, {table.updates(0): (1, 2), table.reports(0): (3,), table.SHARDS: (4, 5)})
    assert bench.duties() == []
    bench.control(closed())
    opened = written_in(bench.duties(), RoundOpened)
    assert (opened.round, opened.updates_start, opened.reports_start) == (2, (1, 2), 3)


def test_asking_ahead_does_not_keep_a_round_from_its_deadline() -> None:
    bench = collecting("ada", "bob", slots=2)
    only(ReadEnds, bench.duties())
    ask = only(ReadEnds, bench.past_deadline(reports_end=2))
    assert ask.topics == (table.updates(1),)


def test_with_one_slot_the_next_round_is_asked_about_only_after_this_one() -> None:
    """Its topics are in use: their ends are not behind this round yet."""
    assert collecting(slots=1).duties() == []


def test_nothing_is_asked_for_a_round_that_will_not_be() -> None:
    assert collecting(slots=2, num_rounds=1).duties() == []


def test_a_last_round_without_training_evaluates_the_final_model() -> None:
    bench = Bench(federation(slots=1, num_rounds=1, final_evaluation=True), round_opened(), closed())
    starts = {table.updates(0): (0, 0), table.reports(0): (0,), table.SHARDS: (0, 0)}
    opened = opened_by(bench, starts)
    assert (opened.round, opened.training) == (2, False)


@pytest.mark.parametrize("final_evaluation", [False, True])
def test_after_the_last_round_the_federation_finishes_once(final_evaluation: bool) -> None:
    bench = Bench(federation(num_rounds=1, final_evaluation=final_evaluation), round_opened(), closed())
    if final_evaluation:
        bench.control(round_opened(2, training=False), closed(2))
    finished = written_in(bench.duties(), FederationFinished)
    assert finished == FederationFinished(
        NONCE, bench.ledger.control_offset, 1, False, "all 1 rounds are done"
    )
    assert bench.duties() == []
    bench.control(finished)
    assert bench.ledger.phase is Phase.FINISHED
    assert bench.duties() == []


# Closing the collection


def test_below_the_most_clients_nothing_is_closed_before_the_deadline() -> None:
    bench = collecting("ada", "bob")
    assert bench.duties(DEADLINE - 0.001) == []


def test_with_the_most_clients_the_round_closes_at_once() -> None:
    bench = collecting("ada", "bob", "cyd")
    assert bench.close(8, 9) == RoundClosing(NONCE, 1, 1, (0, 1, 2), (8, 9))


def test_who_reports_after_the_most_are_in_is_not_accepted() -> None:
    bench = collecting("cyd", "bob", "eve", "ada")
    assert bench.close(8, 9).accepted == (0, 1, 2)


def test_a_closing_is_asked_for_and_written_once() -> None:
    bench = collecting("ada", "bob", "cyd")
    assert len(bench.duties()) == 1
    assert bench.duties() == []
    assert bench.duties(DEADLINE) == []


def test_ends_name_no_report_that_was_read_after_they_were_asked_for() -> None:
    """Its chunks may lie beyond those ends."""
    bench = collecting("ada", "bob", max_clients=9)
    ask = only(ReadEnds, bench.past_deadline(reports_end=2))
    bench.reports(report("cyd"))
    message = written_in(bench.answer(ask, {table.updates(0): (1, 1)}), RoundClosing)
    assert message.accepted == (0, 1)


def test_the_first_closing_wins_also_for_who_wrote_the_second() -> None:
    bench = collecting("ada", "bob", "cyd")
    own = bench.close(8, 9)
    theirs = closing(0, 1, ends=(6, 6))
    assert bench.control(theirs, own) == [True, False]
    assert bench.ledger.closing == theirs
    bench.shards(verdict(0), verdict(1), result(0), result(1))
    sealed = written_in(bench.duties(), RoundClosed)
    assert (sealed.num_clients, sealed.num_examples) == (2, 4)


def test_ends_that_come_after_somebody_else_closed_are_for_nothing() -> None:
    bench = collecting("ada", "bob", "cyd")
    ask = only(ReadEnds, bench.duties())
    bench.control(closing(0, 1, ends=(6, 6)))
    assert bench.answer(ask, {table.updates(0): (8, 9)}) == []


def test_ends_asked_for_an_earlier_ordinal_do_not_close_the_next() -> None:
    bench = collecting("ada", "bob", "cyd")
    ask = only(ReadEnds, bench.duties())
    bench.control(closing(0, 1))
    bench.shards(verdict(0, 0), verdict(1))
    assert (bench.ledger.phase, bench.ledger.ordinal) == (Phase.COLLECTING, 2)
    assert bench.answer(ask, {table.updates(0): (8, 9)}) == []


# The deadline


def test_at_the_deadline_enough_clients_close_the_round() -> None:
    bench = collecting("ada", "bob")
    ask = only(ReadEnds, bench.past_deadline(reports_end=2))
    message = written_in(bench.answer(ask, {table.updates(0): (4, 5)}), RoundClosing)
    assert message == RoundClosing(NONCE, 1, 1, (0, 1), (4, 5))


def test_absence_is_judged_only_after_every_report_is_read_that_was_there_at_the_deadline() -> None:
    bench = collecting("ada", max_extensions=0)
    assert bench.past_deadline(reports_end=3) == []
    bench.reports(report("bob", num_examples=0))
    assert bench.duties(DEADLINE) == []
    bench.reports(report("bob"))
    assert only(ReadEnds, bench.duties(DEADLINE)).topics == (table.updates(0),)


def test_nothing_is_judged_before_the_end_of_the_reports_is_known() -> None:
    bench = collecting("ada")
    only(ReadEnds, bench.duties(DEADLINE))
    assert bench.duties(DEADLINE + 1e6) == []


def test_the_end_that_was_read_at_one_deadline_is_read_again_at_the_next() -> None:
    bench = collecting("ada")
    bench.control(written_in(bench.past_deadline(reports_end=1), RoundExtended), seconds=DEADLINE)
    assert bench.duties(DEADLINE) == []
    second = DEADLINE + SETTINGS.deadline_seconds
    assert bench.past_deadline(second, reports_end=2) == []
    bench.reports(report("bob"))
    assert only(ReadEnds, bench.duties(second)).topics == (table.updates(0),)


def test_a_deadline_below_the_minimum_asks_twice_as_many_clients_and_starts_anew() -> None:
    bench = collecting("ada")
    message = written_in(bench.past_deadline(reports_end=1), RoundExtended)
    assert message == RoundExtended(NONCE, 1, 1, 0.5, ())
    assert bench.duties(DEADLINE) == []
    bench.control(message, seconds=DEADLINE + 5.0)
    assert bench.duties(DEADLINE + 5.0 + SETTINGS.deadline_seconds - 0.001) == []
    assert len(bench.duties(DEADLINE + 5.0 + SETTINGS.deadline_seconds)) == 1


def test_more_than_all_clients_are_never_asked() -> None:
    bench = collecting("ada", fraction=0.75)
    assert written_in(bench.past_deadline(reports_end=1), RoundExtended).fraction == 1.0


def test_the_deadline_counts_from_the_brokers_time_of_the_round() -> None:
    bench = Bench(federation(slots=1))
    bench.control(round_opened(), seconds=5000.0)
    assert bench.duties(5000.0 + SETTINGS.deadline_seconds - 0.001) == []
    assert len(bench.duties(5000.0 + SETTINGS.deadline_seconds)) == 1


def test_after_the_last_extension_the_federation_gives_up_with_a_reason() -> None:
    bench = collecting("ada")
    bench.control(extended(1, fraction=0.5), extended(2), seconds=DEADLINE)
    late = DEADLINE + SETTINGS.deadline_seconds
    finished = written_in(bench.past_deadline(late, reports_end=1), FederationFinished)
    reason = "round 1 had 1 of 2 clients after its deadline of 60 s and 2 extensions"
    assert finished == FederationFinished(NONCE, bench.ledger.control_offset, 0, True, reason)
    assert bench.duties(late) == []


def test_giving_up_is_void_where_another_coordinator_extended_first() -> None:
    bench = collecting("ada", max_extensions=0)
    finished = written_in(bench.past_deadline(reports_end=1), FederationFinished)
    assert bench.control(extended(1), finished) == [True, False]
    assert bench.ledger.phase is Phase.COLLECTING


def test_a_round_without_training_closes_at_its_deadline_with_whoever_is_there() -> None:
    bench = collecting(training=False)
    ask = only(ReadEnds, bench.past_deadline(reports_end=0))
    message = written_in(bench.answer(ask, {table.updates(0): (0, 0)}), RoundClosing)
    assert message.accepted == ()


def test_a_coordinator_that_takes_over_does_what_is_owed() -> None:
    bench = collecting("ada", "bob", "cyd")
    asked = bench.duties()
    bench.coordinator = Coordinator(bench.ledger, new_ids())
    assert bench.duties() == asked != []
