"""A server: it listens to the whole history first, routes records to its shards, and refuses aloud and cheaply."""

from __future__ import annotations

from dataclasses import replace

from fdstream.events import Append, Effects, Ends, Follow, ReadEnds, Tell, Tick, Unfollow, Upload, Uploaded
from fdstream.ledger import Phase
from fdstream.messages import (
    FederationOpened,
    GlobalEvaluated,
    Message,
    ModelChunk,
    RoundClosed,
    RoundClosing,
    RoundOpened,
    ShardResult,
    ShardVerdict,
)
from fdstream.server.early import Early
from fdstream.topics import table
from tests.server.records import (
    NONCE,
    all_of,
    an_id,
    closed,
    closing,
    federation,
    only,
    report,
    round_opened,
    update,
    verdict,
)
from tests.server.serving import Serving, follows, joined, proposal, serving, written

ADA, BOB, CYD = update("ada"), update("bob", 4.0, num_examples=6), update("cyd", 4.0, num_examples=4)


# Listening


def test_a_server_follows_control_from_its_beginning() -> None:
    assert Serving().server.begin() == [Follow(table.CONTROL, 0, 0)]


def test_a_server_only_listens_until_it_has_read_the_history_that_was_there() -> None:
    scene = Serving(control_end=3)
    assert scene.assign(0, 1) == []
    assert scene.control(federation(), round_opened()) == []
    assert scene.step(Tick(1e9)) == []
    assert not scene.server.caught_up
    effects = scene.control(closed())
    assert scene.server.caught_up
    assert [ask.tag[0] for ask in all_of(ReadEnds, effects)] == ["open"]


def test_a_record_that_cannot_be_read_is_part_of_the_history_too() -> None:
    scene = Serving(control_end=1)
    scene.assign(0)
    scene.unreadable(table.CONTROL)
    assert scene.server.caught_up
    assert scene.server.needs_proposal


def test_a_joiner_starts_in_the_middle_of_a_round_from_the_log() -> None:
    scene = joined(federation(), round_opened(start=3), shards={1})
    assert set(follows(scene.last)) == {
        (table.SHARDS, 0, 0),
        (table.SHARDS, 1, 0),
        (table.reports(1), 0, 3),
        (table.updates(1), 1, 3),
        (table.model(1), 1, 0),
    }


def test_a_joiner_finds_a_round_that_is_about_to_end_and_makes_its_shard_of_the_next_model() -> None:
    scene = joined(federation(), round_opened(), closing(0, 1, ends=(4, 2)), shards={1})
    scene.shards(verdict(0), verdict(1))
    scene.reports(ADA, BOB)
    scene.model(1)
    effects = scene.updates(1, ADA, BOB)
    assert scene.server.ledger.phase is Phase.PUBLISHING
    assert only(Upload, all_of(Upload, effects)).topic == table.model(0)


def test_a_history_is_not_told_again() -> None:
    history: list[Message] = [federation(), round_opened(), closed(), round_opened(2)]
    live = Serving()
    assert [tell.name for tell in all_of(Tell, live.control(*history))].count("round closed") == 1
    assert all_of(Tell, joined(*history).all) == []


# Opening


def test_only_the_coordinator_of_a_federation_that_nobody_opened_needs_a_proposal() -> None:
    scene = Serving()
    assert not scene.server.needs_proposal
    scene.assign(1)
    assert not scene.server.needs_proposal
    scene.assign(0, 1)
    assert scene.server.needs_proposal
    scene.server.propose(proposal())
    assert not scene.server.needs_proposal


def test_who_joins_an_open_federation_proposes_nothing() -> None:
    assert not joined(federation(), shards={0}).server.needs_proposal


def test_nobody_proposes_before_the_history_is_read() -> None:
    scene = Serving(control_end=1)
    scene.assign(0)
    assert not scene.server.needs_proposal


def proposed(scene: Serving) -> FederationOpened:
    """The server uploads its initial model and writes the record."""
    upload = only(Upload, scene.server.propose(proposal()))
    list(upload.messages)
    append = only(Append, scene.step(Uploaded(upload.tag, {0: 0, 1: 0})))
    assert isinstance(append.message, FederationOpened)
    return append.message


def test_the_first_federation_opened_wins_and_the_second_proposer_adopts_it() -> None:
    theirs = federation(num_rounds=7)
    scene = serving(0, 1)
    own = proposed(scene)
    effects = scene.control(theirs, own)
    assert scene.server.ledger.federation == theirs
    assert scene.refused(effects) == []
    opened = scene.opens()
    assert (opened.nonce, opened.model) == (NONCE, theirs.model)


def test_a_proposer_acts_on_its_own_record_only_once_it_is_read_back() -> None:
    scene = serving(0, 1)
    own = proposed(scene)
    assert scene.step(Tick(1e9)) == []
    assert scene.server.ledger.phase is Phase.ABSENT
    scene.control(own)
    assert scene.opens().model == own.model


def test_an_upload_that_ends_after_somebody_else_opened_changes_nothing() -> None:
    scene = serving(0)
    upload = only(Upload, scene.server.propose(proposal()))
    list(upload.messages)
    scene.control(federation())
    (late,) = all_of(Append, scene.step(Uploaded(upload.tag, {0: 0, 1: 0})))
    scene.control(late.message)
    assert scene.server.ledger.federation == federation()


# Who does what


def test_without_shard_0_a_server_judges_nothing() -> None:
    scene = joined(federation(slots=1), round_opened(), shards={1})
    scene.reports(ADA, BOB, CYD)
    assert scene.step(Tick(1e9)) == []


def test_who_takes_over_shard_0_judges_at_once() -> None:
    scene = joined(federation(slots=1), round_opened(), shards={1})
    scene.reports(ADA, BOB, CYD)
    effects = scene.assign(0, 1)
    assert only(ReadEnds, all_of(ReadEnds, effects)).topics == (table.updates(0),)


def test_a_shard_that_goes_to_others_is_finished_for_the_round_in_hand_and_no_further() -> None:
    scene = joined(federation(), round_opened(), shards={0, 1})
    scene.assign(1)
    assert scene.server.owners.keys() == {0, 1}
    effects = scene.control(closed(), round_opened(2))
    assert scene.server.owners.keys() == {1}
    left = {(effect.topic, effect.partition) for effect in all_of(Unfollow, effects)}
    assert {(table.updates(slot), 0) for slot in range(table.SLOTS)} <= left
    assert {partition for _, partition in left} == {0}


def test_a_shard_that_comes_in_is_read_from_the_start_of_the_round() -> None:
    scene = joined(federation(), round_opened(start=3), shards={1})
    assert follows(scene.assign(0, 1)) == [(table.updates(1), 0, 3), (table.model(1), 0, 0)]
    assert follows(scene.assign(0, 1)) == []


def test_shards_without_chunks_take_no_part() -> None:
    opened = federation()
    model = (*opened.model, opened.model[0], opened.model[0], opened.model[0])
    five = replace(opened, shards=5, model=model)
    round_1 = replace(round_opened(), model=model, updates_start=(0,) * 5, shards_start=(0,) * 5)
    scene = joined(five, round_1, shards=set(range(5)))
    assert scene.server.owners.keys() == {0, 1, 2}
    assert {partition for topic, partition, _ in follows(scene.last) if topic == table.SHARDS} == {0, 1, 2}


def test_a_round_without_training_has_no_owners_and_reads_its_reports() -> None:
    scene = joined(federation(), round_opened(training=False), shards={0, 1})
    assert scene.server.owners == {}
    assert (table.reports(1), 0, 0) in follows(scene.last)


def test_what_was_uploaded_for_a_round_that_is_over_is_nobodys() -> None:
    scene = joined(federation(), round_opened(), closed(), round_opened(2), shards={1})
    assert scene.step(Uploaded((1, 1, 1, "weights"), {1: 0})) == []
    assert scene.step(Uploaded((0, 2, 1, "weights"), {0: 0})) == []


def test_the_shards_topic_is_followed_once_for_all_rounds() -> None:
    scene = joined(federation(), round_opened(), shards={0})
    effects = scene.control(closed(), round_opened(2))
    assert table.SHARDS not in {topic for topic, _, _ in follows(effects)}


# A whole round


def test_what_comes_before_the_record_that_opens_its_round_is_not_read_again() -> None:
    """Clients may read RoundOpened sooner; the second chunk, and all reports, come behind it."""
    scene = joined(federation(), round_opened(), shards={0})
    chunks = [replace(chunk, round=2) for chunk in ADA.of(0)]
    scene.read(table.updates(0), [replace(chunks[0], round=1), chunks[0]])  # of the slot's last use, and ours
    scene.unreadable(table.reports(0))
    effects = scene.control(closed(), replace(round_opened(2), updates_start=(1, 0)))
    assert {(table.updates(0), 0, 2), (table.reports(0), 0, 1)} <= set(follows(effects))
    assert scene.read(table.updates(0), chunks[1:]) == []
    owner = scene.server.owners[0]
    assert owner.next_offset == 3
    assert owner._updates[chunks[0].attempt].digests.keys() == {chunk.index for chunk in chunks}


def test_what_comes_in_one_go_with_the_record_that_opens_its_round_is_not_read_again() -> None:
    scene = joined(federation(), round_opened(), shards={0})
    scene.control(closed())
    chunks = [replace(chunk, round=2) for chunk in ADA.of(0)]
    opened = scene.tape.entry(table.CONTROL, round_opened(2))
    behind = [scene.tape.entry(table.updates(0), chunk) for chunk in chunks]
    effects = scene.server.step(opened, *behind, scene.tape.entry(table.reports(0), ADA.report))
    assert {(table.updates(0), 0, len(chunks)), (table.reports(0), 0, 1)} <= set(follows(effects))


def test_of_what_comes_before_its_round_only_so_much_is_kept() -> None:
    scene = joined(federation(), round_opened(), shards={0})
    scene.server._early = Early(room_bytes=0)
    scene.read(table.updates(0), [replace(chunk, round=2) for chunk in ADA.of(0)])
    effects = scene.control(closed(), round_opened(2))
    assert (table.updates(0), 0, 0) in follows(effects)


def test_one_server_carries_a_round_from_its_opening_to_the_next() -> None:
    scene = serving(0, 1)
    scene.control(federation(max_clients=2))
    opened = scene.opens()
    scene.control(opened)
    scene.answer_open()
    scene.model(0)
    scene.model(1)
    for shard in (0, 1):
        assert scene.updates(shard, ADA, BOB) == []
    effects = scene.reports(ADA, BOB)
    (ask,) = [ends for ends in all_of(ReadEnds, effects) if ends.tag[0] == "close"]
    (closing_1,) = written(scene.step(Ends(ask.tag, {table.updates(1): (4, 2)})), RoundClosing)
    effects = scene.control(closing_1)
    verdicts, uploads = written(effects, ShardVerdict), all_of(Upload, effects)
    assert [(v.shard, v.excluded) for v in verdicts] == [(0, ()), (1, ())]
    assert all_of(Upload, scene.shards(*verdicts)) == []
    results = []
    for upload in uploads:
        assert all(isinstance(chunk, ModelChunk) for _, chunk in upload.messages)
        results += written(scene.step(Uploaded(upload.tag, {upload.tag[0]: 5})), ShardResult)
    sealed = only_closed(scene.shards(*results))
    assert (sealed.num_clients, sealed.num_examples) == (2, 8)
    assert sealed.model == tuple(r.model for r in results)
    (second,) = written(scene.control(sealed), RoundOpened)
    assert (second.round, second.model) == (2, sealed.model)


def only_closed(effects: Effects) -> RoundClosed:
    (message,) = written(effects, RoundClosed)
    return message


# What is heard


def test_each_report_is_told_with_what_became_of_it() -> None:
    scene = joined(federation(), round_opened(), shards={1})
    told = [
        tell.facts["outcome"]
        for one in (report("ada"), report("ada", an_id(2)), report("bob", failure="no disk"))
        for tell in all_of(Tell, scene.report(one))
        if tell.name == "report"
    ]
    assert told == ["accepted", "duplicate", "failed"]


def test_a_report_that_is_delivered_twice_is_told_once() -> None:
    scene = joined(federation(), round_opened(), shards={0})
    entry = scene.tape.entry(table.reports(1), report("ada"))
    assert [len(all_of(Tell, scene.step(entry))) for _ in range(2)] == [1, 0]


def test_the_phases_and_the_end_of_a_round_are_told() -> None:
    scene = joined(federation(), shards={1})
    effects = scene.control(round_opened(), closed())
    assert [tell.facts.get("phase", tell.name) for tell in all_of(Tell, effects)] == [
        Phase.COLLECTING,
        "round closed",
        Phase.READY,
    ]


def test_a_global_evaluation_holds_nothing_up_and_is_known() -> None:
    scene = joined(federation(), round_opened(), shards={1})
    scene.control(GlobalEvaluated(NONCE, 1, {"accuracy": 0.5}))
    assert scene.server.ledger.phase is Phase.COLLECTING
    assert scene.server.ledger.evaluated[1].metrics == {"accuracy": 0.5}
