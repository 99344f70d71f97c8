"""Questions: what may pass is asked again on a new handle, what cannot is said at once."""

from __future__ import annotations

import logging
from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from fdstream.errors import TransportError, UsageError
from fdstream.topics import table
from fdstream.topics.handles import Weather
from fdstream.topics.questions import FOR_EVER, Questions, error_of, refusals

NOBODY = "127.0.0.1:9"
PASSING = [
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError.NOT_CONTROLLER,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.INVALID_REPLICATION_FACTOR,  # so many brokers run now
]
LASTING = [
    KafkaError.POLICY_VIOLATION,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.INVALID_CONFIG,
]


@pytest.fixture
def questions() -> Questions:
    return Questions({"bootstrap.servers": NOBODY}, Weather(NOBODY))


class Question:
    """Fails with these errors in turn, then answers; remembers the handles it was asked on."""

    def __init__(self, *codes: int) -> None:
        self.codes = list(codes)
        self.handles: list[AdminClient] = []

    def __call__(self, admin: AdminClient) -> str:
        self.handles.append(admin)
        if self.codes:
            raise KafkaException(KafkaError(self.codes.pop(0)))
        return "answer"


def future_of(code: int | None) -> Future[object]:
    future: Future[object] = Future()
    if code is None:
        future.set_result(None)
    else:
        future.set_exception(KafkaException(KafkaError(code)))
    return future


@pytest.mark.parametrize("code", PASSING)
def test_what_may_pass_is_asked_again_on_a_new_handle(questions: Questions, code: int) -> None:
    question = Question(code)
    assert questions.ask("ask", question, patience_seconds=FOR_EVER) == "answer"
    first, second = question.handles
    assert first is not second


def test_a_handle_that_answers_is_kept(questions: Questions) -> None:
    question = Question()
    for _ in range(2):
        questions.ask("ask", question, patience_seconds=FOR_EVER)
    assert question.handles[0] is question.handles[1]


@pytest.mark.parametrize("code", LASTING)
def test_what_waiting_cannot_change_is_an_error_at_once(questions: Questions, code: int) -> None:
    question = Question(code)
    with pytest.raises(TransportError, match="cannot look at it: "):
        questions.ask("look at it", question, patience_seconds=FOR_EVER)
    assert len(question.handles) == 1


def test_a_topic_that_is_there_is_one_that_this_broker_has_not_heard_of_yet(questions: Questions) -> None:
    question = Question(KafkaError.UNKNOWN_TOPIC_OR_PART)
    assert questions.ask("ask", question, patience_seconds=FOR_EVER, is_there=True) == "answer"


def test_a_topic_that_no_broker_has_heard_of_for_long_is_not_there(
    questions: Questions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdstream.topics.questions.HEARSAY_SECONDS", 0.2)
    question = Question(*[KafkaError.UNKNOWN_TOPIC_OR_PART] * 100_000)
    with pytest.raises(TransportError, match="it does not exist"):
        questions.ask("ask", question, patience_seconds=FOR_EVER, is_there=True)
    assert len(question.handles) > 1


def test_patience_ends(questions: Questions) -> None:
    question = Question(*[KafkaError._TIMED_OUT] * 100)
    with pytest.raises(TransportError, match="cannot look at it: "):
        questions.ask("look at it", question, patience_seconds=0.0)
    assert len(question.handles) <= 2


def test_settings_that_cannot_be_used_show_with_the_first_question() -> None:
    questions = Questions({"bootstrap.servers": NOBODY, "no.such.property": "1"}, Weather(NOBODY))
    with pytest.raises(UsageError, match=r"no\.such\.property"):
        questions.ask("ask", Question(), patience_seconds=FOR_EVER)


def test_of_many_answers_the_refusals_are_named() -> None:
    codes = {"a": None, "b": KafkaError.TOPIC_ALREADY_EXISTS, "c": KafkaError.POLICY_VIOLATION}
    futures = {name: future_of(code) for name, code in codes.items()}
    found = refusals(futures, KafkaError.TOPIC_ALREADY_EXISTS)
    assert {name: error.code() for name, error in found.items()} == {"c": KafkaError.POLICY_VIOLATION}


def test_of_many_answers_one_that_may_pass_asks_for_all_again() -> None:
    futures = {"a": future_of(KafkaError.POLICY_VIOLATION), "b": future_of(KafkaError.NOT_CONTROLLER)}
    with pytest.raises(KafkaException):
        refusals(futures, KafkaError.TOPIC_ALREADY_EXISTS)


def test_an_exception_that_is_not_kafkas_is_not_taken_for_an_answer() -> None:
    future: Future[object] = Future()
    future.set_exception(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        error_of(future)


SEARCHING = (
    "query partition leaders"  # why librdkafka asks for metadata, where it has to find them for a question
)


@pytest.mark.parametrize("first", [True, False])
def test_librdkafka_need_not_search_for_leaders_that_were_found_before(
    kafka: str, federation: str, first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The other case shows that its search would be seen."""
    caplog.set_level(logging.DEBUG, "fdstream.librdkafka")
    questions = Questions({"bootstrap.servers": kafka, "debug": "metadata"}, Weather(kafka))
    topic = table.full_name(federation, table.SHARDS)
    if first:
        questions.find_leaders([topic])
    asked = questions.handle.list_offsets({TopicPartition(topic, 0): OffsetSpec.latest()})  # type: ignore[no-untyped-call]
    assert [future.result().offset for future in asked.values()] == [0]
    for _ in range(10):
        questions.handle.poll(0.1)  # delivers what librdkafka logs
    assert (SEARCHING in caplog.text) == (not first)
    questions.close()
