"""The owner of a shard folds what comes and gives a verdict that is a function of the log, with a reason for each."""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest

from fdstream.events import Follow, Unfollow
from fdstream.ledger import Phase
from fdstream.messages import Exclusion, Refusal, ShardVerdict, UpdateChunk
from fdstream.server.shard import MAX_REASONS
from fdstream.topics import table
from tests.server.owning import Owned, give_model
from tests.server.records import (
    NONCE,
    STRANGE,
    Tape,
    closed,
    closing,
    data_of,
    only,
    round_opened,
    update,
)

ADA, BOB = update("ada"), update("bob", 4.0, num_examples=6)
FIRST, LAST = ADA.of(0)  # chunks 0 and 2


# Following


def test_an_owner_follows_the_updates_and_the_model_from_where_the_round_says() -> None:
    owned = Owned(1, model=False)
    assert owned.owner.begin() == [Follow(table.updates(1), 1, 0), Follow(table.model(1), 1, 0)]


def test_an_owner_follows_the_state_where_the_strategy_has_one() -> None:
    owned = Owned(1, spelling="fedavgm", model=False)
    assert Follow(table.state(1), 1, 0) in owned.owner.begin()


def test_once_the_model_is_here_nobody_follows_it() -> None:
    owned = Owned(0, spelling="fedavgm", model=False)
    effects = give_model(owned.owner, owned.parts)
    assert effects == [Unfollow(table.model(1), 0), Unfollow(table.state(1), 0)]
    assert give_model(owned.owner, owned.parts) == []


def test_updates_begin_at_the_rounds_start_and_nothing_before_is_read() -> None:
    owned = Owned(start=2)
    assert owned.owner.begin()[0] == Follow(table.updates(1), 0, 2)
    assert owned.chunks(FIRST, FIRST, FIRST, FIRST) == [None, None, None, "duplicate"]


# Folding


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        pytest.param(Refusal("truncated", ""), "not an update chunk", id="unreadable"),
        pytest.param(replace(FIRST, nonce=STRANGE), "of another federation", id="another nonce"),
        pytest.param(replace(FIRST, round=2), "of no such round", id="a later round"),
        pytest.param(ADA.of(1)[0], "of no such chunk", id="another shard's chunk"),
        pytest.param(replace(FIRST, index=4), "of no such chunk", id="beyond the last chunk"),
        pytest.param(replace(FIRST, data=data_of(1.0, 3)), "wrong size", id="too short"),
        pytest.param(replace(FIRST, data=data_of(1.0, 5)), "wrong size", id="too long"),
        pytest.param(replace(FIRST, data=b""), "wrong size", id="empty"),
    ],
)
def test_what_is_no_chunk_of_this_shard_and_round_is_refused_and_harms_nobody(
    chunk: UpdateChunk | Refusal, reason: str
) -> None:
    owned = Owned()
    assert owned.chunks(chunk) == [reason]
    owned.take(ADA, BOB)
    owned.control(closing(0, 1, ends=(5, 0)))
    assert owned.reasons() == {}


def test_a_chunk_of_an_earlier_round_is_late() -> None:
    owned = Owned()
    owned.control(closed(), round_opened(2))
    owned.owner = owned.another()
    assert owned.chunks(FIRST) == ["late"]


def test_of_an_attempt_the_first_chunk_with_an_index_counts() -> None:
    owned = Owned()
    spoilt = replace(FIRST, data=data_of(float("nan")))
    assert owned.chunks(FIRST, FIRST, spoilt, replace(FIRST, num_examples=9)) == [None, *["duplicate"] * 3]
    assert owned.chunks(LAST) == [None]
    owned.reports(ADA.report)
    owned.control(closing(0, ends=(5, 0)))
    assert owned.reasons() == {}


def test_a_chunk_read_twice_is_folded_once() -> None:
    owned = Owned()
    owned.take(ADA)
    assert owned.read_again(0) == [None, None]
    owned.take(BOB)
    owned.control(closing(0, 1, ends=(4, 0)))
    assert owned.reasons() == {}


def test_a_chunk_out_of_turn_waits_for_those_before_it() -> None:
    owned = Owned()
    tape = Tape()
    entries = [tape.entry(table.updates(1), chunk) for chunk in (FIRST, LAST)]
    assert [owned.owner.on_update(entry) for entry in reversed(entries)] == [None, None]
    assert owned.owner.next_offset == 1


# Verdicts


def faulty(*chunks: UpdateChunk) -> Owned:
    """Ada's chunks are these, and all of Bob's; both have reported."""
    owned = Owned()
    owned.chunks(*chunks, *BOB.of(0))
    owned.reports(ADA.report, BOB.report)
    owned.control(closing(0, 1, ends=(len(chunks) + 2, 0)))
    return owned


SPOILT = "a value is not finite or beyond the limit"
EXAMPLES = "its chunks name different numbers of examples"
AGAINST_REPORT = "chunks and report name different numbers of examples"


@pytest.mark.parametrize(
    ("chunks", "reason"),
    [
        pytest.param((), "no chunk of it arrived", id="nothing came"),
        pytest.param((FIRST,), "1 of 2 chunks are missing", id="the last chunk is missing"),
        pytest.param((LAST,), "1 of 2 chunks are missing", id="the first chunk is missing"),
        pytest.param(
            (FIRST, replace(LAST, data=b"")), "1 of 2 chunks are missing", id="a chunk of a wrong size"
        ),
        pytest.param((FIRST, replace(LAST, data=data_of(float("nan")))), SPOILT, id="not a number"),
        pytest.param((FIRST, replace(LAST, data=data_of(float("inf")))), SPOILT, id="infinite"),
        pytest.param((FIRST, replace(LAST, data=data_of(2.0**40))), SPOILT, id="too large for its examples"),
        pytest.param((FIRST, replace(LAST, num_examples=3)), EXAMPLES, id="chunks disagree"),
        pytest.param(
            (replace(FIRST, num_examples=3), replace(LAST, num_examples=3)),
            AGAINST_REPORT,
            id="report disagrees",
        ),
        pytest.param(
            (FIRST, replace(LAST, data=data_of(2.0))),
            "the chunks do not match the report's digest",
            id="digest",
        ),
    ],
)
def test_a_report_that_its_chunks_do_not_bear_out_is_left_out_with_the_reason(
    chunks: tuple[UpdateChunk, ...], reason: str
) -> None:
    assert faulty(*chunks).verdict() == ShardVerdict(NONCE, 1, 1, 0, (Exclusion(0, reason),))


def test_what_the_codec_cannot_read_is_left_out_with_the_reason() -> None:
    owned = Owned(codec="topk:0.5")
    indices = {"good": (0, 3), "bad": (3, 3)}
    data = {name: struct.pack("<2I2f", *places, 1.0, 2.0) for name, places in indices.items()}
    good, bad = (replace(FIRST, data=data[name]) for name in indices)
    assert owned.chunks(good, replace(LAST, data=data["bad"]), replace(LAST, data=data["good"])) == [
        None,
        "the codec cannot read it: the indices do not ascend within 4 elements",
        "duplicate",
    ]
    assert owned.chunks(replace(bad, attempt=b"short" + bytes(11), data=bytes(15))) == ["wrong size"]
    owned.reports(ADA.report)
    owned.control(closing(0, ends=(4, 0)))
    assert owned.reasons() == {0: "the codec cannot read it: the indices do not ascend within 4 elements"}


def test_one_element_beyond_the_bounds_is_enough() -> None:
    values = np.ones(4, np.float32)
    values[3] = np.inf
    assert faulty(FIRST, replace(LAST, data=values.tobytes())).reasons() == {0: SPOILT}


def test_a_value_at_the_limit_is_taken() -> None:
    largest = update("ada", 2.0**39, num_examples=2)
    owned = Owned()
    owned.take(largest)
    owned.control(closing(0, ends=(2, 0)))
    assert owned.reasons() == {}


def test_the_order_of_an_updates_chunks_does_not_matter() -> None:
    assert faulty(LAST, FIRST).reasons() == {}


def test_a_report_that_was_refused_and_is_named_all_the_same_is_left_out() -> None:
    owned = Owned()
    owned.take(BOB)
    owned.reports(replace(ADA.report, num_examples=0))
    owned.control(closing(0, 1, ends=(2, 0)))
    assert owned.reasons() == {1: "no such report"}


def test_only_the_accepted_are_compared() -> None:
    owned = Owned()
    owned.take(BOB)
    owned.reports(ADA.report)
    owned.control(closing(0, ends=(2, 0)))
    assert owned.reasons() == {}


def test_a_verdict_on_very_many_gives_the_first_their_reasons_and_names_them_all() -> None:
    owned = Owned()
    count = MAX_REASONS + 3
    owned.reports(*[Refusal("truncated", "")] * count)
    owned.control(closing(*range(count)))
    excluded = owned.verdict().excluded
    assert [exclusion.report for exclusion in excluded] == list(range(count))
    assert [place for place, exclusion in enumerate(excluded) if not exclusion.reason] == [1000, 1001, 1002]


# What a verdict waits for, and what it does not


def test_an_owner_waits_for_the_data_below_the_end_and_never_for_time() -> None:
    owned = Owned()
    owned.chunks(FIRST)
    owned.reports(ADA.report)
    owned.control(closing(0, ends=(2, 0)))
    assert owned.duties() == []
    owned.chunks(LAST)
    assert owned.reasons() == {}


def test_an_owner_waits_for_the_reports_it_has_to_compare() -> None:
    owned = Owned()
    owned.chunks(FIRST, LAST)
    owned.control(closing(0, ends=(2, 0)))
    assert owned.duties() == []
    owned.reports(ADA.report)
    assert owned.reasons() == {}


def test_a_verdict_needs_no_model() -> None:
    owned = Owned(model=False)
    owned.take(ADA)
    owned.control(closing(0, ends=(2, 0)))
    assert owned.reasons() == {}


def test_a_verdict_is_given_once() -> None:
    owned = faulty(FIRST, LAST)
    owned.verdict()
    assert owned.duties() == []


def test_what_lies_beyond_the_end_is_left_out_whether_it_was_read_before_the_closing_or_not() -> None:
    verdicts = []
    for early in (True, False):
        owned = Owned()
        owned.chunks(FIRST, *BOB.of(0), *([LAST] if early else []))
        owned.reports(ADA.report, BOB.report)
        owned.control(closing(0, 1, ends=(3, 0)))
        owned.chunks(*([] if early else [LAST]))
        verdicts.append(set(owned.reasons()))
    assert verdicts == [{0}, {0}]


def test_a_copy_beyond_the_end_harms_nobody() -> None:
    owned = Owned()
    owned.take(ADA)
    assert owned.chunks(FIRST) == ["duplicate"]
    owned.control(closing(0, ends=(2, 0)))
    assert owned.reasons() == {}


def test_beyond_the_end_nothing_is_read_until_the_round_goes_on() -> None:
    owned = Owned()
    owned.take(ADA, BOB)
    owned.control(closing(0, 1, ends=(4, 0)))
    owned.chunks(*update("cyd").of(0))
    assert owned.owner.next_offset == 4
    owned.duties()
    owned.agree(0)
    assert owned.ledger.phase is Phase.COLLECTING
    assert only(Follow, owned.duties()) == Follow(table.updates(1), 0, 4)
    assert owned.duties() == []
    assert owned.read_again(4) == [None, None]
    assert owned.owner.next_offset == 6


def test_the_next_ordinal_gets_a_verdict_of_its_own() -> None:
    owned = Owned()
    cyd = update("cyd")
    owned.take(ADA, BOB)
    owned.control(closing(0, 1, ends=(4, 0)))
    owned.duties()
    owned.agree(0)
    owned.duties()
    owned.take(cyd)
    owned.control(closing(1, 2, ordinal=2, ends=(6, 0)))
    assert owned.verdict() == ShardVerdict(NONCE, 1, 2, 0, ())


def test_an_owner_has_nothing_to_do_in_another_round() -> None:
    owned = faulty(FIRST, LAST)
    owned.control(closed(), round_opened(2), replace(closing(), round=2))
    assert owned.ledger.phase is Phase.COMPARING
    assert owned.duties() == []
