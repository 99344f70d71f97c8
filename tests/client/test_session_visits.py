"""A session that takes part in one round at a time: what it reads first, and what it finds that others have done."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import pytest

from fdstream.client.session import Outcome, Session, Standing
from fdstream.errors import RemoteError
from fdstream.events import Effects, Ends, Entry, Follow, ReadEnds, Unfollow
from fdstream.layout import Layout
from fdstream.log import Lost
from fdstream.messages import Message, Report, Signature
from fdstream.topics import table
from tests.client.scene import NONCE, SETTINGS, TENSORS, History, extended, only_upload, report_of, trained

HISTORY = ReadEnds(("history",), (table.CONTROL,))


class Visitors:
    """A history, and one session that visits it."""

    def __init__(self, fraction: float = 1.0) -> None:
        layout = Layout(TENSORS, 16, shards=2)
        self.history = History(replace(SETTINGS, fraction=fraction), layout=layout)
        self.session = Session((), new_id=lambda: b"visitor's attempt")
        self.control: list[Entry] = []
        self.reports: list[Entry] = []  # of the round that is open
        self.read = 0  # control records that the session has got
        self.write(self.history.opened)

    def write(self, *messages: Message) -> None:
        self.control += map(self.history.pages.control, messages)

    def report(
        self,
        client: str,
        number: int,
        *,
        failure: str | None = None,
        round_offset: int | None = None,
        **more: Any,
    ) -> int:
        """Somebody reports for a client in the open round; the report's offset."""
        offset = self.control[-1].record.offset if round_offset is None else round_offset
        attempt = b"another's" + len(self.reports).to_bytes(7, "big")
        digests = () if failure else (bytes(16),) * 2
        made = Report(NONCE, client, attempt, number, offset, 5, {}, 0, {}, digests, failure=failure, **more)
        self.reports.append(self.history.pages.entry(table.reports(number % 2), 0, made))
        return self.reports[-1].record.offset

    def step_all(self, entries: list[Entry]) -> Effects:
        return [effect for entry in entries for effect in self.session.step(entry)]

    def read_control(self, client: str) -> Effects:
        """A visit of the client, as far as control goes; what it leads to."""
        begun = self.session.visit([client])
        assert begun == [HISTORY, Follow(table.CONTROL, 0, self.read)]
        effects = self.session.step(Ends(HISTORY.tag, {table.CONTROL: (len(self.control),)}))
        effects += self.step_all(self.control[self.read :])
        self.read = len(self.control)
        return effects

    def answer(self, ask: Effects) -> Effects:
        """The end of the reports, and all of them."""
        (question,) = ask
        assert isinstance(question, ReadEnds)
        (topic,) = question.topics
        end = self.history.pages.ends[topic, 0]
        effects = self.session.step(Ends(question.tag, {topic: (end,)}))
        return effects + self.step_all(self.reports)

    def visit(self, client: str) -> Standing:
        """Everything up to the model; how the client stands."""
        self.answer(self.read_control(client))
        return self.session.standing(client)


def test_history_is_read_to_its_end_before_anything_is_asked() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1), scene.history.closed(1), scene.history.round_opened(2))
    scene.session.visit(["ada"])
    assert scene.session.step(Ends(HISTORY.tag, {table.CONTROL: (4,)})) == []
    assert scene.step_all(scene.control[:3]) == []
    assert not scene.session.knows
    assert scene.step_all(scene.control[3:]) == [ReadEnds(("reports", 2), (table.reports(0),))]


def test_records_that_come_before_their_end_is_known_ask_nothing_either() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.session.visit(["ada"])
    assert scene.step_all(scene.control) == []
    (asked,) = scene.session.step(Ends(HISTORY.tag, {table.CONTROL: (2,)}))
    assert asked == ReadEnds(("reports", 1), (table.reports(1),))


def test_who_has_not_reported_gets_the_model_and_reports_once() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    begun = scene.answer(scene.read_control("ada"))
    assert begun == [Follow(table.model(1), shard, 0) for shard in (0, 1)]
    assert (scene.session.knows, scene.session.due()) == (False, [])
    scene.step_all(scene.history.chunks[1])
    assert (scene.session.knows, scene.session.due()) == (True, ["ada"])
    upload = only_upload(scene.session.report("ada", Outcome(failure="no data today")))
    assert report_of(upload).client == "ada"
    assert scene.session.due() == []


def test_who_has_reported_elsewhere_gets_no_model() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.report("bob", 1)
    scene.report("ada", 1)
    effects = scene.answer(scene.read_control("ada"))
    assert effects == [Follow(table.reports(1), 0, 0), Unfollow(table.reports(1), 0)]
    assert scene.session.knows
    assert scene.session.due() == []
    assert scene.session.standing("ada") is Standing.REPORTED


def test_the_next_visit_reads_only_what_is_new() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.report("ada", 1)
    assert scene.visit("ada") is Standing.REPORTED
    scene.session.leave()
    scene.report("bob", 1)
    ask = scene.read_control("bob")
    (followed, *_) = scene.session.step(Ends(("reports", 1), {table.reports(1): (2,)}))
    assert ask == [ReadEnds(("reports", 1), (table.reports(1),))]
    assert followed == Follow(table.reports(1), 0, 1)
    scene.step_all(scene.reports)
    assert scene.session.standing("bob") is Standing.REPORTED


def test_what_others_reports_carry_is_not_kept() -> None:
    """A thousand clients' small updates would be half a gigabyte."""
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    tracemalloc.start()
    for number in range(100):
        scene.report(f"client-{number}", 1, data=bytes(100_000))
    scene.answer(scene.read_control("client-3"))
    scene.reports.clear()
    kept_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept_bytes < 100 * 5_000
    assert scene.session.standing("client-3") is Standing.REPORTED


def test_who_signs_though_nobody_asks_for_it_has_reported_too() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.report("ada", 1, signature=Signature(bytes(32), bytes(64)))
    assert scene.visit("ada") is Standing.REPORTED


@pytest.mark.parametrize("wrong", ["round", "offset"])
def test_a_report_of_another_round_is_none(wrong: str) -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    if wrong == "round":
        scene.report("ada", 3)  # the same slot
    else:
        scene.report("ada", 1, round_offset=99)
    assert scene.visit("ada") is Standing.DUE


def test_who_failed_is_asked_again_only_where_the_round_is_extended_afterwards() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    opened = scene.control[-1].record.offset
    scene.report("ada", 1, failure="no data today")
    assert scene.visit("ada") is Standing.FAILED
    scene.session.leave()
    scene.write(extended(1, 1))
    scene.control[-1] = replace(
        scene.control[-1], record=replace(scene.control[-1].record, timestamp_seconds=2e9)
    )
    assert scene.visit("ada") is Standing.DUE
    scene.session.leave()
    late = scene.report("ada", 1, failure="again", round_offset=opened)
    scene.reports[-1] = replace(
        scene.reports[-1], record=replace(scene.reports[-1].record, timestamp_seconds=3e9)
    )
    assert scene.visit("ada") is Standing.FAILED
    assert late == 1


def test_who_was_left_out_is_asked_again_until_three_reports_are_there() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    opened = scene.control[-1].record.offset
    for extension in (1, 2, 3):
        excluded = scene.report("ada", 1, round_offset=opened)
        assert scene.visit("ada") is Standing.REPORTED
        scene.session.leave()
        scene.write(extended(1, extension, excluded))
        assert scene.visit("ada") is (Standing.DUE if extension < 3 else Standing.LEFT_OUT)
        scene.session.leave()


def test_who_is_not_drawn_is_not_asked() -> None:
    scene = Visitors(fraction=1e-9)
    scene.write(scene.history.round_opened(1))
    assert scene.visit("ada") is Standing.NOT_ASKED
    assert scene.session.knows


def test_between_rounds_nothing_is_asked() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1), scene.history.closed(1))
    assert scene.read_control("ada") == []
    assert scene.session.knows
    assert scene.session.due() == []


def test_a_round_that_opens_during_a_visit_is_recalled_too() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.answer(scene.read_control("ada"))
    scene.write(scene.history.closed(1), scene.history.round_opened(2))
    asked = scene.step_all(scene.control[-2:])
    assert asked == [ReadEnds(("reports", 2), (table.reports(0),))]
    assert not scene.session.knows


def test_deleted_reports_are_waited_for_by_nobody() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.report("ada", 1)
    scene.read_control("ada")
    scene.session.step(Ends(("reports", 1), {table.reports(1): (1,)}))
    scene.session.step(Lost(table.reports(1), 0, 0))
    assert scene.session.standing("ada") is Standing.DUE  # until control says that the round is over
    scene.write(scene.history.closed(1))
    scene.step_all(scene.control[-1:])
    assert scene.session.knows
    assert scene.session.due() == []


def test_a_visit_ends_with_nothing_followed() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.answer(scene.read_control("ada"))
    everything = {(table.CONTROL, 0), (table.reports(1), 0), (table.model(1), 0), (table.model(1), 1)}
    left = scene.session.leave()
    assert {(effect.topic, effect.partition) for effect in left if isinstance(effect, Unfollow)} == everything


def test_only_the_client_of_the_visit_keeps_its_memory() -> None:
    scene = Visitors()
    scene.session._updates._feedback["ada"].has_sent = True
    scene.session.visit(["ada"])
    assert scene.session._updates._feedback["ada"].has_sent
    scene.session.visit(["bob"])
    assert "ada" not in scene.session._updates._feedback


def test_a_history_that_became_shorter_is_another() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.read_control("ada")
    scene.session.visit(["ada"])
    with pytest.raises(RemoteError, match="deleted and made again"):
        scene.session.step(Ends(HISTORY.tag, {table.CONTROL: (1,)}))


def test_rounds_of_another_life_are_not_taken_for_nothing() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.read_control("ada")
    scene.write(replace(scene.history.round_opened(1), nonce=b"m" * 16))
    with pytest.raises(RemoteError, match="deleted and made again"):
        scene.read_control("ada")


def test_a_stranger_in_a_history_read_from_its_beginning_is_noise() -> None:
    scene = Visitors()
    scene.write(replace(scene.history.round_opened(1), nonce=b"m" * 16), scene.history.round_opened(1))
    assert scene.visit("ada") is Standing.DUE


def test_a_session_that_stays_asks_for_no_ends() -> None:
    scene = Visitors()
    session = Session(["ada"], new_id=lambda: b"x" * 16)
    assert session.begin() == [Follow(table.CONTROL, 0, 0)]
    scene.write(scene.history.round_opened(1))
    effects = [effect for entry in scene.control for effect in session.step(entry)]
    assert effects == [Follow(table.model(slot), shard, 0) for slot in (1, 0) for shard in (0, 1)]


def test_trained_outcomes_go_out_as_ever() -> None:
    scene = Visitors()
    scene.write(scene.history.round_opened(1))
    scene.answer(scene.read_control("ada"))
    scene.step_all(scene.history.chunks[1])
    upload = only_upload(scene.session.report("ada", trained(1)))
    assert upload.topic == table.updates(1)
    assert len(list(upload.messages)) == 5
