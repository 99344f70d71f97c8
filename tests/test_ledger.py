"""The ledger: first records count, noise does not, and the order between partitions cannot show."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from fdstream.events import Entry
from fdstream.layout import TensorSpec
from fdstream.ledger import NO_PREVIOUS, TRANSITIONS, Ledger, Phase
from fdstream.log import Record
from fdstream.messages import (
    Exclusion,
    FederationFinished,
    FederationOpened,
    GlobalEvaluated,
    Message,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    Settings,
    ShardModel,
    ShardResult,
    ShardVerdict,
)
from fdstream.topics import table

NONCE = b"n" * 16
MODEL = tuple(ShardModel(b"a" * 16, 0, b"d" * 16, 0, b"s" * 16) for _ in range(2))
SETTINGS = Settings(2, 2, 3, 60.0, 5, 0.5, "fedavg", 2, 0, final_evaluation=False)
OPENED = FederationOpened(NONCE, (TensorSpec("w", "float32", (8,)),), 16, 2, 2, SETTINGS, {}, MODEL)


def round_opened(number: int, *, training: bool = True, nonce: bytes = NONCE) -> RoundOpened:
    previous = (
        NO_PREVIOUS if number == 1 else hashlib.sha256(b"").digest()
    )  # the script's records have no bytes
    return RoundOpened(nonce, number, training, MODEL, (0, 0), 0, (0, 0), b"x" * 16, previous)


def closing(number: int, ordinal: int = 1, accepted: tuple[int, ...] = (0, 1, 2)) -> RoundClosing:
    return RoundClosing(NONCE, number, ordinal, accepted, (9, 9))


def verdict(number: int, shard: int, *excluded: int, ordinal: int = 1) -> ShardVerdict:
    return ShardVerdict(NONCE, number, ordinal, shard, tuple(Exclusion(offset, "bad") for offset in excluded))


def result(number: int, shard: int, ordinal: int = 1, attempt: bytes = b"r" * 16) -> ShardResult:
    return ShardResult(NONCE, number, ordinal, shard, ShardModel(attempt, 5, b"e" * 16, 0, b"s" * 16))


def closed(number: int) -> RoundClosed:
    return RoundClosed(NONCE, number, 1, 3, 30, {}, {}, MODEL, bytes(32))


class Script:
    """Folds records at rising offsets of their partitions."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.offsets: dict[tuple[str, int], int] = {}

    def entry(self, message: Message) -> Entry:
        shard = message.shard if isinstance(message, ShardVerdict | ShardResult) else None
        place = (table.CONTROL, 0) if shard is None else (table.SHARDS, shard)
        offset = self.offsets.get(place, 0)
        self.offsets[place] = offset + 1
        return Entry(Record(*place, offset, 1000.0 + offset, b""), message)

    def fold(self, *messages: Message) -> list[bool]:
        return [self.ledger.fold(self.entry(message)) for message in messages]


ROUND: list[Message] = [
    OPENED,
    round_opened(1),
    closing(1),
    verdict(1, 0),
    verdict(1, 1, 2),
    result(1, 0),
    result(1, 1),
]


def test_a_round_passes_through_every_phase() -> None:
    script, phases = Script(), []
    messages: list[Message] = [*ROUND, closed(1), round_opened(2)]
    for message in messages:
        assert script.fold(message) == [True]
        phases.append(script.ledger.phase)
    expected = "READY COLLECTING COMPARING COMPARING PUBLISHING PUBLISHING SEALING READY COLLECTING"
    assert [phase.name for phase in phases] == expected.split()
    assert script.ledger.round == 2


def test_a_round_counts_only_behind_the_closed_record_that_it_names() -> None:
    script = Script()
    script.fold(*ROUND, closed(1))
    assert script.fold(replace(round_opened(2), previous=b"?" * 32), round_opened(2)) == [False, True]


def test_the_cohort_is_the_accepted_less_what_any_shard_leaves_out() -> None:
    script = Script()
    script.fold(*ROUND)
    assert script.ledger.cohort == (0, 1)
    assert script.ledger.excluded == {2: "bad"}
    assert [model.start for model in script.ledger.next_model()] == [5, 5]


def test_too_few_left_reopens_the_round_under_the_next_ordinal() -> None:
    script = Script()
    script.fold(OPENED, round_opened(1), closing(1), verdict(1, 0, 0), verdict(1, 1, 1))
    ledger = script.ledger
    assert (ledger.phase, ledger.ordinal, set(ledger.excluded)) == (Phase.COLLECTING, 2, {0, 1})
    assert script.fold(RoundExtended(NONCE, 1, 1, 1.0, (0, 1)), closing(1, 2, (2, 3, 4))) == [True, True]
    script.fold(verdict(1, 0, ordinal=2), verdict(1, 1, ordinal=2))
    assert ledger.phase is Phase.PUBLISHING
    assert ledger.cohort == (2, 3, 4)


@pytest.mark.parametrize("index", range(len(ROUND)))
def test_a_copy_of_any_record_is_noise(index: int) -> None:
    script = Script()
    script.fold(*ROUND)
    before = (script.ledger.phase, script.ledger.cohort, script.ledger.next_model())
    assert script.fold(ROUND[index]) == [False]
    assert (script.ledger.phase, script.ledger.cohort, script.ledger.next_model()) == before


def test_the_first_record_of_a_key_counts_whatever_later_ones_say() -> None:
    script = Script()
    script.fold(OPENED, round_opened(1), closing(1, 1, (0, 1)), closing(1, 1, (5, 6, 7)))
    script.fold(
        verdict(1, 0),
        verdict(1, 0, 0),
        verdict(1, 1),
        result(1, 0),
        result(1, 0, attempt=b"z" * 16),
        result(1, 1),
    )
    assert script.ledger.cohort == (0, 1)
    assert script.ledger.next_model()[0].attempt == b"r" * 16


@pytest.mark.parametrize(
    "stranger",
    [
        round_opened(1, nonce=b"o" * 16),
        round_opened(3),
        closing(2),
        closed(1),
        ShardVerdict(b"o" * 16, 1, 1, 0, ()),
        RoundClosing(NONCE, 1, 1, (), (9, 9, 9)),
    ],
)
def test_strangers_and_records_out_of_turn_are_noise(stranger: Message) -> None:
    script = Script()
    script.fold(OPENED)
    assert script.fold(stranger) == [False]
    assert script.ledger.phase is Phase.READY


def test_a_record_in_another_shards_partition_is_noise() -> None:
    script = Script()
    script.fold(OPENED, round_opened(1), closing(1))
    entry = Entry(Record(table.SHARDS, 1, 0, 0.0, b""), verdict(1, 0))
    assert not script.ledger.fold(entry)


def test_partitions_may_be_read_in_any_order_against_each_other() -> None:
    messages = [
        *ROUND,
        closed(1),
        round_opened(2),
        closing(2),
        verdict(2, 1, 0),
        verdict(2, 0),
        result(2, 1),
        result(2, 0),
    ]
    script = Script()
    by_place: dict[tuple[str, int], list[Entry]] = {}
    for message in messages:
        entry = script.entry(message)
        by_place.setdefault((entry.record.topic, entry.record.partition), []).append(entry)
    for seed in range(200):
        random, ledger = Random(seed), Ledger()
        # The federation's first record is read before anything that a shard wrote: shards are followed after it.
        queues = {place: list(entries) for place, entries in by_place.items()}
        ledger.fold(queues[table.CONTROL, 0].pop(0))
        while any(queues.values()):
            ledger.fold(random.choice([queue for queue in queues.values() if queue]).pop(0))
        assert (ledger.round, ledger.phase, ledger.cohort) == (2, Phase.SEALING, (1, 2)), f"seed {seed}"


def test_who_reads_control_alone_still_sees_rounds_close() -> None:
    script = Script()
    script.fold(OPENED, round_opened(1), closing(1), closed(1), round_opened(2))
    assert (script.ledger.round, script.ledger.phase) == (2, Phase.COLLECTING)
    assert script.ledger.asks_for_reports


def test_reports_are_asked_for_until_a_closing_and_again_after_an_extension() -> None:
    script = Script()
    asked = []
    messages: list[Message] = [OPENED, round_opened(1), closing(1), RoundExtended(NONCE, 1, 1, 1.0, (0,))]
    for message in [*messages, closing(1, 2), closed(1)]:
        script.fold(message)
        asked.append(script.ledger.asks_for_reports)
    assert asked == [False, True, False, True, False, False]


def test_an_extension_renews_the_deadline_and_asks_more_clients() -> None:
    script = Script()
    script.fold(OPENED, round_opened(1))
    assert (script.ledger.fraction, script.ledger.waiting_since_seconds) == (0.5, 1001.0)
    script.fold(RoundExtended(NONCE, 1, 1, 0.75, ()))
    assert (script.ledger.fraction, script.ledger.waiting_since_seconds) == (0.75, 1002.0)


def test_finishing_counts_only_if_nothing_came_between() -> None:
    script = Script()
    script.fold(OPENED, round_opened(1))
    late = FederationFinished(NONCE, 1, 0, True, "gave up")
    script.fold(RoundExtended(NONCE, 1, 1, 1.0, ()))
    assert script.fold(late) == [False]
    assert script.fold(GlobalEvaluated(NONCE, 1, {"accuracy": 0.5})) == [True]
    assert script.fold(FederationFinished(NONCE, 2, 0, True, "gave up")) == [True]
    assert script.ledger.phase is Phase.FINISHED


def test_nothing_but_an_evaluation_counts_after_the_end() -> None:
    script = Script()
    script.fold(OPENED, FederationFinished(NONCE, 0, 0, True, "gave up"))
    assert script.fold(round_opened(1), RoundExtended(NONCE, 1, 1, 1.0, ())) == [False, False]
    assert script.fold(GlobalEvaluated(NONCE, 1, {"accuracy": 0.5})) == [True]
    assert (script.ledger.phase, script.ledger.round) == (Phase.FINISHED, 0)
    assert not script.ledger.asks_for_reports


def test_an_evaluation_round_needs_no_verdicts() -> None:
    script = Script()
    script.fold(OPENED, round_opened(1, training=False), closing(1))
    assert script.ledger.phase is Phase.SEALING
    assert script.ledger.next_model() == MODEL


def test_a_long_federation_stays_small() -> None:
    script = Script()
    script.fold(OPENED)
    for number in range(1, 200):
        script.fold(
            round_opened(number), closing(number), verdict(number, 0), verdict(number, 1), closed(number)
        )
    assert len(script.ledger.history) <= 6
    assert len(script.ledger._facts) <= 12


def test_the_diagram_in_the_docs_is_the_table() -> None:
    text = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text("utf-8")
    drawn = text.split("stateDiagram-v2\n")[1].split("```")[0]
    assert drawn == diagram()


def diagram() -> str:
    """The transitions as Mermaid, in the table's order."""
    lines = ["  [*] --> ABSENT", *(f"  {t.source.name} --> {t.target.name}: {t.event}" for t in TRANSITIONS)]
    return "\n".join([*lines, "  FINISHED --> [*]", ""])


def test_what_a_round_asked_late_is_noise_once_it_is_closed() -> None:
    script = Script()
    script.fold(*ROUND, closed(1))
    assert script.fold(RoundExtended(NONCE, 1, 1, 1.0, ()), closing(1, 2)) == [False, False]
    assert not script.ledger.asks_for_reports
