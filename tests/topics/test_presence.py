"""`Presence`: a topic that is gone is missed whatever is read, and what a broker has not heard of yet is not gone."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException, Uuid
from confluent_kafka.admin import AdminClient, NewTopic, TopicDescription  # type: ignore[attr-defined]

from fdstream.errors import TransportError
from fdstream.topics import presence, questions, table
from fdstream.topics.handles import Weather
from fdstream.topics.kafka_log import KafkaLog
from fdstream.topics.presence import Presence
from fdstream.topics.questions import Questions
from tests.topics.clock import Clock
from tests.topics.drain import poll_until

HERE, MISSING = None, KafkaError.UNKNOWN_TOPIC_OR_PART
Answer = int | Uuid | None


class _Cluster:
    """Answers for two topics; each look hears what is next in line for `theirs`, and that `ours` is there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.asked: list[list[str]] = []
        self.answer: Answer = HERE
        monkeypatch.setattr(presence, "time", self.clock)
        monkeypatch.setattr(presence, "ask_for_topics", self._ask)
        asked = Questions({"bootstrap.servers": "127.0.0.1:9"}, Weather("127.0.0.1:9"))
        self.questions = asked
        self.presence = Presence(asked, ["ours", "theirs"])

    def _ask(self, _: AdminClient, topics: Iterable[str]) -> dict[str, Future[TopicDescription]]:
        self.asked.append(list(topics))
        return {"ours": _answered(HERE), "theirs": _answered(self.answer)}

    def hear(self, answer: Answer, after_seconds: float = presence.LOOK_SECONDS) -> None:
        """Time passes, and a look finds this."""
        self.clock.now_seconds += after_seconds
        self.answer = answer
        self.presence.look()
        self.presence.look()


def _answered(answer: Answer) -> Future[TopicDescription]:
    future: Future[TopicDescription] = Future()
    if isinstance(answer, int):
        future.set_exception(KafkaException(KafkaError(answer)))
    else:
        future.set_result(TopicDescription("theirs", answer or Uuid(1, 2), False, []))
    return future


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> _Cluster:
    return _Cluster(monkeypatch)


def test_one_request_asks_for_all_and_not_often(cluster: _Cluster) -> None:
    for _ in range(100):
        cluster.hear(HERE, presence.LOOK_SECONDS / 10)
    assert cluster.asked == [["ours", "theirs"]] * 10


def test_those_who_start_together_do_not_look_together(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    for _ in range(20):
        cluster = _Cluster(monkeypatch)
        while not cluster.asked:
            cluster.hear(HERE, presence.LOOK_SECONDS / 10)
        looked.append(round(cluster.clock.now_seconds))
    assert max(looked) <= 1000 + presence.LOOK_SECONDS + 1
    assert len(set(looked)) > 3


def test_a_connection_is_kept_only_where_there_was_one(cluster: _Cluster) -> None:
    cluster.hear(HERE)
    assert not cluster.questions.has_handle
    handle = cluster.questions.handle
    cluster.hear(HERE)
    assert cluster.questions.handle is handle


def test_a_topic_that_no_answer_knows_for_a_minute_is_gone(cluster: _Cluster) -> None:
    cluster.hear(HERE)
    cluster.hear(MISSING)
    cluster.hear(MISSING, questions.HEARSAY_SECONDS - 1)
    with pytest.raises(TransportError, match=r"theirs does not exist any more. Was the federation deleted"):
        cluster.hear(MISSING, 5)


@pytest.mark.parametrize("code", [KafkaError._TIMED_OUT, KafkaError.TOPIC_AUTHORIZATION_FAILED])
def test_what_a_broker_does_not_know_yet_or_does_not_say_is_not_gone(cluster: _Cluster, code: int) -> None:
    cluster.hear(HERE)
    for _ in range(10):
        cluster.hear(MISSING, questions.HEARSAY_SECONDS - 1)
        cluster.hear(code)
        cluster.hear(HERE)


def test_a_topic_that_never_was_is_not_missed(cluster: _Cluster) -> None:
    for _ in range(10):
        cluster.hear(MISSING, questions.HEARSAY_SECONDS)


def test_a_topic_of_the_same_name_is_another(cluster: _Cluster) -> None:
    cluster.hear(Uuid(1, 2))
    cluster.hear(Uuid(1, 2))
    with pytest.raises(
        TransportError, match=r"theirs was deleted and made again. Was the federation deleted"
    ):
        cluster.hear(Uuid(1, 3))


def test_a_log_misses_a_topic_that_it_does_nothing_with(
    kafka: str, federation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads another all the time; then the topic is there again, made by somebody."""
    monkeypatch.setattr(presence, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(questions, "HEARSAY_SECONDS", 0.2)
    needs = table.used_by("server")  # the second slot too, which this federation never had
    logs = [KafkaLog(kafka, federation, client_id="test", settings={}, needs=needs) for _ in range(2)]
    name = table.full_name(federation, table.REJECTED)
    raw = AdminClient({"bootstrap.servers": kafka})
    for log in logs:
        log.follow(table.CONTROL, 0, 0)
        poll_until(log, lambda _, log=log: bool(log._presence._ids))  # type: ignore[misc]
    raw.delete_topics([name])[name].result()
    with pytest.raises(TransportError, match=r"rejected does not exist any more. Was the federation deleted"):
        poll_until(logs[0], lambda _: False)
    raw.create_topics([NewTopic(name, 1, 1)])[name].result()
    with pytest.raises(TransportError, match=r"rejected was deleted and made again"):
        poll_until(logs[1], lambda _: False)
    for log in logs:
        log.close()
