"""What users may and may not change of librdkafka's settings."""

from __future__ import annotations

import pytest

from fdstream.errors import UsageError
from fdstream.topics.settings import (
    admin_settings,
    check_settings,
    member_settings,
    producer_settings,
    reader_settings,
)

FIXED = {
    "acks": "1",
    "request.required.acks": "1",
    "enable.idempotence": "false",
    "auto.offset.reset": "latest",
    "enable.auto.commit": "true",
    "enable.partition.eof": "false",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "range",
    "group.protocol": "consumer",
    "group.id": "mine",
    "group.instance.id": "me",
    "transactional.id": "t",
    "bootstrap.servers": "elsewhere:9092",
    "metadata.broker.list": "elsewhere:9092",
    "log.queue": "false",
    "error_cb": "print",
}


@pytest.mark.parametrize("name", FIXED)
def test_what_the_guarantees_rest_on_cannot_be_changed(name: str) -> None:
    with pytest.raises(UsageError, match=rf"'{name}'.* Remove it"):
        check_settings({name: FIXED[name]})


def test_a_refusal_names_the_property_and_never_the_value() -> None:
    with pytest.raises(UsageError) as refusal:
        check_settings({"sasl.password": "hunter2", "acks": "hunter2"})
    assert "hunter2" not in str(refusal.value)


def test_users_settings_reach_every_handle_and_beat_the_defaults() -> None:
    user = {"security.protocol": "SSL", "socket.keepalive.enable": "false", "client.id": "quota-7"}
    for settings in (
        producer_settings("b:1", "me", user | {"linger.ms": "9"}),
        reader_settings("b:1", "me", user, 10),
        member_settings("b:1", "me", user | {"session.timeout.ms": "9000"}, "group"),
        admin_settings("b:1", "me", user),
    ):
        assert settings.items() >= (user | {"bootstrap.servers": "b:1"}).items()
    assert producer_settings("b:1", "me", {"linger.ms": "9"}, 5)["linger.ms"] == "9"
    assert member_settings("b:1", "me", {"session.timeout.ms": "9"}, "g")["session.timeout.ms"] == "9"


def test_the_guarantees_settings_are_there() -> None:
    producer = producer_settings("b:1", "me", {})
    assert (producer["acks"], producer["enable.idempotence"]) == ("all", "true")
    reader = reader_settings("b:1", "me", {}, 10)
    assert (reader["auto.offset.reset"], reader["enable.auto.commit"]) == ("error", "false")
    assert (reader["isolation.level"], reader["fetch.wait.max.ms"]) == ("read_uncommitted", "10")
    member = member_settings("b:1", "me", {}, "group")
    assert (member["group.id"], member["partition.assignment.strategy"]) == ("group", "cooperative-sticky")


def test_a_record_waits_for_others_only_where_it_is_to() -> None:
    assert [producer_settings("b:1", "me", {}, *wait)["linger.ms"] for wait in [(), (5,)]] == ["0", "5"]
