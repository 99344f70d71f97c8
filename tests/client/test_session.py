"""A client's part in a round, event by event: what it writes, in which order, and what it leaves."""

from __future__ import annotations

import numpy as np
import pytest

from fdstream.client.session import Outcome, Session, Standing
from fdstream.digests import chunk_digest, shard_digest
from fdstream.errors import RemoteError, UsageError
from fdstream.events import Append, Follow, Tell, Unfollow, Upload, Uploaded
from fdstream.log import Lost
from fdstream.messages import (
    FederationFinished,
    GlobalEvaluated,
    Message,
    Report,
    UpdateChunk,
)
from fdstream.topics import table
from tests.client.scene import (
    NONCE,
    Scene,
    closing,
    extended,
    only_upload,
    report_of,
    trained,
    weights_of,
)


def finished(scene: Scene, *, failed: bool = False) -> FederationFinished:
    return FederationFinished(NONCE, scene.session.ledger.control_offset, 1, failed, "enough")


# A round


def test_a_client_is_due_once_the_model_is_whole() -> None:
    scene = Scene("a")
    assert scene.open(1) == [Follow(table.model(slot), shard, 0) for slot in (1, 0) for shard in (0, 1)]
    *most, last = scene.history.chunks[1]
    scene.read(most)
    assert scene.session.due() == []
    scene.read([last])
    assert scene.session.due() == ["a"]


def test_the_update_is_the_difference_cut_into_chunks_of_one_attempt() -> None:
    scene = Scene("a")
    scene.begin(1)
    weights = {"w": weights_of(1)["w"] * np.float32(1.1), "steps": weights_of(1)["steps"] - 2}
    upload = only_upload(scene.session.report("a", Outcome(weights, 7)))
    attempt = (1).to_bytes(16, "big")
    assert (upload.tag, upload.topic) == (("update", attempt), table.updates(1))
    w = (weights["w"] - weights_of(1)["w"]).reshape(-1).tobytes()
    steps = np.array([-2.0, -2.0, -2.0]).tobytes()
    expected = [w[:16], w[16:32], w[32:], steps[:16], steps[16:]]
    assert [(shard, with_bytes(chunk)) for shard, chunk in upload.messages] == [
        (index % 2, UpdateChunk(NONCE, attempt, 1, index, 7, data)) for index, data in enumerate(expected)
    ]


def with_bytes(chunk: Message) -> UpdateChunk:
    """The chunk with its data as bytes, to compare."""
    assert isinstance(chunk, UpdateChunk)
    return UpdateChunk(
        chunk.nonce, chunk.attempt, chunk.round, chunk.index, chunk.num_examples, bytes(chunk.data)
    )


def test_the_report_follows_when_every_chunk_is_acknowledged_and_not_before() -> None:
    scene = Scene("a")
    scene.begin(1)
    outcome = trained(1)
    effects = scene.session.report("a", outcome)
    upload = only_upload(effects)  # no report beside the chunks
    chunks = [chunk for _, chunk in upload.messages if isinstance(chunk, UpdateChunk)]
    digests = tuple(
        shard_digest(chunk_digest(chunk.data) for chunk in chunks if chunk.index % 2 == shard)
        for shard in (0, 1)
    )
    attempt = (1).to_bytes(16, "big")
    expected = Report(NONCE, "a", attempt, 1, 1, 7, {"loss": 0.5}, 3, {"accuracy": 0.75}, digests)
    assert scene.session.step(Uploaded(upload.tag, {0: 4, 1: 4})) == [
        Upload(("report", "a", 1), table.reports(1), [(0, expected)])
    ]


def test_an_acknowledgement_counts_once() -> None:
    scene = Scene("a")
    scene.begin(1)
    upload = only_upload(scene.session.report("a", trained(1)))
    list(upload.messages)
    assert scene.session.step(Uploaded(upload.tag, {0: 0, 1: 0}))
    assert scene.session.step(Uploaded(upload.tag, {0: 0, 1: 0})) == []
    assert scene.session.step(Uploaded(("update", b"?" * 16), {0: 0, 1: 0})) == []


def test_a_report_has_a_digest_for_every_shard_those_without_chunks_included() -> None:
    scene = Scene("a", shards=7)
    assert scene.open(1) == [Follow(table.model(slot), shard, 0) for slot in (1, 0) for shard in range(5)]
    scene.receive(1)
    digests = scene.answer("a", trained(1)).digests
    assert digests[5:] == (shard_digest(()), shard_digest(()))
    assert shard_digest(()) not in digests[:5]


def test_a_client_reports_once_a_round() -> None:
    scene = Scene("a")
    for number in (1, 2, 3):
        assert scene.begin(number) == ["a"]
        scene.answer("a", trained(number))
        assert scene.session.due() == []
        scene.session.release()
        scene.close(number)
        assert scene.session.due() == []


def test_reports_go_to_the_slot_of_their_round() -> None:
    scene = Scene("a")
    topics = []
    for number in (1, 2, 3):
        scene.begin(number)
        topics.append(only_upload(scene.session.report("a", Outcome(failure="no"))).topic)
        scene.close(number)
    assert topics == [table.reports(1), table.reports(0), table.reports(1)]


def test_a_failure_on_its_way_is_not_followed_by_another_try() -> None:
    scene = Scene("a")
    scene.begin(1)
    upload = only_upload(scene.session.report("a", Outcome(failure="no data")))
    scene.see(extended(1, 1))
    assert scene.session.due() == []
    scene.session.step(Uploaded(upload.tag, {0: 0}))
    assert scene.session.due() == ["a"]


def test_while_its_report_is_on_its_way_a_client_is_not_due() -> None:
    scene = Scene("a")
    scene.begin(1)
    update = only_upload(scene.session.report("a", trained(1)))
    list(update.messages)
    scene.see(extended(1, 1, 0))
    assert scene.session.due() == []
    report = only_upload(scene.session.step(Uploaded(update.tag, {0: 0, 1: 0})))
    assert scene.session.due() == []
    scene.session.step(Uploaded(report.tag, {0: 0}))
    assert scene.session.due() == ["a"]  # the extension left out the report at that offset


def test_a_round_that_closed_meanwhile_takes_the_update_with_it() -> None:
    scene = Scene("a")
    scene.begin(1)
    update = only_upload(scene.session.report("a", trained(1)))
    list(update.messages)
    scene.close(1)
    scene.open(2)
    assert scene.session.step(Uploaded(update.tag, {0: 0, 1: 0})) == []
    scene.receive(2)
    assert scene.session.due() == ["a"]


def test_nobody_is_due_once_the_candidates_are_written_down() -> None:
    scene = Scene("a")
    assert scene.begin(1) == ["a"]
    scene.see(closing(1))
    assert scene.session.due() == []


def test_a_client_that_missed_the_closing_is_due_again_after_an_extension() -> None:
    scene = Scene("a")
    scene.begin(1)
    scene.see(closing(1))
    assert scene.see(extended(1, 1)) == []  # the model is here
    assert scene.session.due() == ["a"]


def test_the_servers_own_evaluation_changes_nothing() -> None:
    scene = Scene("a")
    scene.begin(1)
    assert scene.see(GlobalEvaluated(NONCE, 1, {"accuracy": 0.5})) == []
    assert scene.session.due() == ["a"]


def test_after_its_work_a_client_leaves_the_model_and_reads_the_next() -> None:
    scene = Scene("a")
    scene.begin(1)
    scene.answer("a", trained(1))
    assert scene.session.release() == []
    assert scene.session.receiver.assembly is None
    scene.close(1)
    scene.receive(2)  # still followed, and there before its RoundOpened
    (told,) = scene.open(2)
    assert isinstance(told, Tell)
    assert (told.name, told.facts["clients"]) == ("model received", ["a"])
    assert scene.session.due() == ["a"]


def test_where_few_are_asked_models_are_not_read_between() -> None:
    clients = [f"c{number}" for number in range(9)]
    scene = Scene(*clients, fraction=0.5)
    for client in scene.begin(1):
        scene.answer(client, trained(1))
    assert scene.session.release() == [Unfollow(table.model(1), shard) for shard in (0, 1)]


# Failures


def test_a_failure_is_reported_at_once_and_without_chunks() -> None:
    scene = Scene("a")
    scene.begin(1)
    (upload,) = scene.session.report("a", Outcome(weights_of(1), 7, failure="no data"))
    report = Report(NONCE, "a", (1).to_bytes(16, "big"), 1, 1, 7, {}, 0, {}, (), failure="no data")
    assert upload == Upload(("report", "a", 1), table.reports(1), [(0, report)])


def test_a_client_that_failed_stays_and_is_asked_again_after_any_extension() -> None:
    scene = Scene("a")
    scene.begin(1)
    scene.answer("a", Outcome(failure="no data"), offset=5)
    assert scene.session.due() == []
    scene.see(extended(1, 1))
    assert scene.session.due() == ["a"]
    assert scene.answer("a", trained(1), offset=6).failure is None
    scene.see(extended(1, 2))
    assert scene.session.due() == []  # it has not failed any more
    scene.close(1)
    assert scene.begin(2) == ["a"]


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e38, float(1 << 40)])
def test_an_update_that_cannot_be_summed_becomes_a_failure(value: float) -> None:
    scene = Scene("a")
    scene.begin(1)
    weights = weights_of(1)
    weights["w"][1, 4] = value  # in the chunk 2
    upload = only_upload(scene.session.report("a", Outcome(weights, 7)))
    indices = [chunk.index for _, chunk in upload.messages if isinstance(chunk, UpdateChunk)]
    assert indices == [0, 1]
    report = report_of(only_upload(scene.session.step(Uploaded(upload.tag, {0: 0, 1: 0}))))
    assert report.digests == ()
    assert report.failure == "the update is infinite or beyond 1.09951e+12 times one example"
    scene.session.step(Uploaded(("report", "a", 1), {0: 0}))
    scene.see(extended(1, 1))
    assert scene.session.due() == ["a"]


def test_the_limit_holds_for_the_update_times_its_examples() -> None:
    limit = float(1 << 40)
    for num_examples, failed in [(1, False), (2, True)]:
        scene = Scene("a")
        scene.begin(1)
        weights = weights_of(1)
        weights["w"] += np.float32(limit)
        assert (scene.answer("a", Outcome(weights, num_examples)).failure is not None) is failed


def test_weights_of_another_layout_are_the_callers_mistake() -> None:
    scene = Scene("a")
    scene.begin(1)
    upload = only_upload(scene.session.report("a", Outcome({"w": weights_of(1)["w"]}, 7)))
    with pytest.raises(UsageError, match="tensor 'steps' is missing"):
        list(upload.messages)


# Evaluation without training


def test_a_round_without_training_has_no_chunks_and_no_digests() -> None:
    scene = Scene("a")
    assert scene.begin(1, training=False) == ["a"]
    outcome = Outcome(None, 0, {}, 100, {"accuracy": 0.93})
    (upload,) = scene.session.report("a", outcome)
    attempt = (1).to_bytes(16, "big")
    report = Report(NONCE, "a", attempt, 1, 1, 0, {}, 100, {"accuracy": 0.93}, ())
    assert upload == Upload(("report", "a", 1), table.reports(1), [(0, report)])
    scene.session.step(Uploaded(("report", "a", 1), {0: 0}))
    assert scene.session.due() == []


# Several clients on one session


def test_clients_on_one_session_report_under_names_and_attempts_of_their_own() -> None:
    scene = Scene("a", "b")
    assert scene.begin(1) == ["a", "b"]
    one = scene.answer("a", trained(1, 1.0), offset=0)
    assert scene.session.due() == ["b"]
    two = scene.answer("b", trained(1, 2.0), offset=1)
    assert (one.client, two.client) == ("a", "b")
    assert one.attempt != two.attempt
    assert one.digests != two.digests
    assert scene.session.due() == []


def test_uploads_of_several_clients_may_be_under_way_at_once() -> None:
    scene = Scene("a", "b")
    scene.begin(1)
    uploads = [only_upload(scene.session.report(name, trained(1))) for name in ("a", "b")]
    chunks = [list(upload.messages) for upload in uploads]
    assert chunks[0] != chunks[1]
    reports = [
        report_of(only_upload(scene.session.step(Uploaded(upload.tag, {0: 0, 1: 0}))))
        for upload in reversed(uploads)
    ]
    assert [report.client for report in reports] == ["b", "a"]
    assert reports[0].digests == reports[1].digests


# The end


@pytest.mark.parametrize("failed", [False, True])
def test_after_the_end_there_is_nothing_more_to_do(failed: bool) -> None:
    scene = Scene("a")
    assert scene.begin(1) == ["a"]
    assert scene.see(finished(scene, failed=failed)) == []
    assert scene.session.finished
    assert scene.session.due() == []
    assert scene.session.ledger.finished is not None
    assert scene.session.ledger.finished.failed is failed


def test_an_end_that_something_came_before_is_none() -> None:
    scene = Scene("a")
    scene.begin(1)
    too_late = finished(scene)
    scene.see(extended(1, 1))
    scene.see(too_late)
    assert not scene.session.finished
    assert scene.session.due() == ["a"]


def test_a_history_with_its_beginning_cut_off_is_an_error() -> None:
    scene = Scene("a")
    with pytest.raises(RemoteError, match=r"control no longer holds offset 0.*retention\.ms=-1"):
        scene.session.step(Lost(table.CONTROL, 0, 0))


def test_lost_chunks_of_earlier_rounds_are_passed_over() -> None:
    scene = Scene("a")
    scene.open(1)
    scene.close(1)
    scene.open(2)
    scene.close(2)
    scene.open(3)
    assert scene.session.step(Lost(table.model(1), 0, 0)) == [Follow(table.model(1), 0, 3)]
    (told,) = scene.session.step(Lost(table.model(1), 0, 3))
    assert isinstance(told, Tell)
    assert told.name == "model lost"


def test_a_session_writes_nothing_but_updates_and_reports() -> None:
    scene = Scene("a")
    effects = [*scene.open(1), *scene.receive(1), *scene.session.report("a", trained(1))]
    effects += [*scene.close(1), *scene.open(2), *scene.see(finished(scene))]
    written = [effect.topic for effect in effects if isinstance(effect, Append | Upload)]
    assert written == [table.updates(1)]


def test_an_acknowledgement_of_an_earlier_rounds_report_frees_nobody() -> None:
    scene = Scene("a")
    scene.begin(1)
    late = only_upload(scene.session.report("a", Outcome(failure="no data")))
    scene.close(1)
    scene.begin(2)
    scene.session.report("a", Outcome(failure="no data"))
    scene.see(extended(2, 1))
    scene.session.step(Uploaded(late.tag, {0: 0}))
    assert scene.session.due() == []  # this round's report is still on its way


def test_what_an_acknowledgement_costs_does_not_grow_with_the_clients_of_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Thousands may share one: what each costs all of them is paid a million times."""
    judged: list[str] = []
    standing = Session.standing

    def counted(session: Session, client: str) -> Standing:
        judged.append(client)
        return standing(session, client)

    monkeypatch.setattr(Session, "standing", counted)
    clients = [f"client-{number}" for number in range(50)]
    scene = Scene(*clients)
    for client in scene.begin(1):
        scene.session.report(client, Outcome(failure="tired"))
    scene.session.release()
    judged.clear()
    for offset, client in enumerate(clients):
        scene.session.step(Uploaded(("report", client, 1), {0: offset}))
    assert judged == clients
