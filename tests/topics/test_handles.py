"""Which of librdkafka's errors are weather and which are raised, and in what words."""

from __future__ import annotations

import logging
import threading

import pytest
from confluent_kafka import Consumer, KafkaError

from fdstream.errors import TransportError, UsageError
from fdstream.topics import handles
from fdstream.topics.handles import (
    Weather,
    abandon,
    answers,
    make_admin,
    make_consumer,
    make_producer,
    sentence,
)

NOBODY = "127.0.0.1:9"


def test_trouble_is_logged_once_until_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    weather = Weather("b:1")
    for _ in range(3):
        weather.notice(KafkaError(KafkaError._TRANSPORT, "connection refused"))
        weather.notice(KafkaError(KafkaError._RESOLVE, "no such host"))
    weather.check()
    assert [record.message for record in caplog.records] == [
        "trouble with the broker at b:1, waiting: connection refused"
    ]
    weather.clear()
    weather.clear()
    weather.notice(KafkaError(KafkaError._TRANSPORT, "again"))
    assert [record.message for record in caplog.records[1:]] == [
        "the broker at b:1 answers again",
        "trouble with the broker at b:1, waiting: again",
    ]


def test_that_all_brokers_are_down_adds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    Weather("b:1").notice(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (KafkaError(KafkaError._AUTHENTICATION, "bad password"), r"sasl\.\*"),
        (KafkaError(KafkaError.SASL_AUTHENTICATION_FAILED, "bad password"), r"sasl\.\*"),
        (KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED), "fdstream topics acls"),
        (KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED), "fdstream topics acls"),
        (KafkaError(KafkaError._STATE, "broken", fatal=True), "broken"),
    ],
)
def test_what_waiting_cannot_mend_is_raised(error: KafkaError, advice: str) -> None:
    weather = Weather("b:1")
    weather.notice(error)
    for _ in range(2):
        with pytest.raises(TransportError, match=rf"cannot use the broker at b:1: .*{advice}"):
            weather.check()


@pytest.mark.parametrize(
    "code",
    [
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._TIMED_OUT,
        KafkaError._SSL,
    ],
)
def test_what_may_pass_is_waited_for(code: int) -> None:
    weather = Weather("b:1")
    weather.notice(KafkaError(code))
    weather.check()


def test_sentences_say_what_to_do() -> None:
    too_large = sentence(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), "append to t")
    assert too_large.startswith("cannot append to t: the record is too large")
    assert "--chunk-bytes" in too_large
    assert "max.message.bytes" in too_large
    gone = sentence(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), "read t")
    assert "does not exist (any more)" in gone


@pytest.mark.parametrize("make", [make_producer, make_consumer, make_admin])
@pytest.mark.parametrize(
    ("setting", "value"),
    [("no.such.property", "1"), ("socket.timeout.ms", "soon"), ("security.protocol", "X")],
)
def test_a_setting_that_librdkafka_refuses_is_named(make: object, setting: str, value: str) -> None:
    assert callable(make)
    settings = {"bootstrap.servers": NOBODY, "group.id": "g", "sasl.password": "hunter2", setting: value}
    with pytest.raises(UsageError, match=setting) as refusal:
        make(settings, Weather(NOBODY))
    assert "hunter2" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_librdkafkas_own_lines_are_debug_lines_of_one_logger(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, logger="fdstream.librdkafka")
    producer = make_producer({"bootstrap.servers": NOBODY, "debug": "broker"}, Weather(NOBODY))
    for _ in range(100):
        producer.poll(0.1)
        if caplog.records:
            break
    lines = [record for record in caplog.records if record.name == "fdstream.librdkafka"]
    assert lines
    assert {record.levelname for record in lines} == {"DEBUG"}
    assert capfd.readouterr().err == ""


def test_a_short_election_is_no_news_and_a_long_one_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    weather = Weather(NOBODY)
    election = KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)
    for _ in range(3):
        for _ in range(3):
            weather.notice(election)
        weather.clear()
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []
    for _ in range(20):
        weather.notice(election)
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_a_handle_answers_where_it_has_a_broker(kafka: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def consumer(bootstrap: str) -> Consumer:
        return make_consumer({"bootstrap.servers": bootstrap, "group.id": "test"}, Weather(bootstrap))

    assert answers(consumer(kafka), "nonsense")
    monkeypatch.setattr(handles, "_ANSWER_SECONDS", 0.2)
    assert not answers(consumer(NOBODY), "nonsense")


def test_nobody_waits_for_the_end_of_a_handle_that_is_given_up() -> None:
    ending, ended = threading.Event(), threading.Event()

    class Slow:
        def __del__(self) -> None:
            ending.wait()
            ended.set()

    abandon([Slow()])
    assert not ended.is_set()
    ending.set()
    assert ended.wait(30)
