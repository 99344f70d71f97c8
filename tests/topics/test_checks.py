"""What in a topic's settings is found to threaten the guarantees."""

from __future__ import annotations

import pytest

from fdstream.topics import table
from fdstream.topics.checks import LONG_ENOUGH_MS, findings

SPECS = {spec.name: spec for spec in table.topic_specs(4)}
GOOD = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    "message.timestamp.type": "LogAppendTime",
    "unclean.leader.election.enable": "false",
    "min.insync.replicas": "2",
    "max.message.bytes": "1048588",
}


def check(name: str, changes: dict[str, str], replicas: int = 3, brokers: int = 3) -> list[str]:
    return findings(f"full.{name}", SPECS[name], GOOD | changes, replicas, brokers)


@pytest.mark.parametrize("name", SPECS)
def test_settings_as_they_should_be_are_not_complained_of(name: str) -> None:
    assert check(name, {}) == []
    assert check(name, {"min.insync.replicas": "1"}, replicas=1, brokers=1) == []


@pytest.mark.parametrize("name", [table.CONTROL, table.SHARDS, table.model(0), table.updates(1)])
@pytest.mark.parametrize(
    ("setting", "value", "wanted"),
    [
        ("cleanup.policy", "compact", "cleanup.policy=delete"),
        ("cleanup.policy", "compact,delete", "cleanup.policy=delete"),
        ("retention.ms", "3600000", "retention.ms=-1"),
        ("retention.bytes", "1000000", "retention.bytes=-1"),
        ("message.timestamp.type", "CreateTime", "message.timestamp.type=LogAppendTime"),
        ("unclean.leader.election.enable", "true", "unclean.leader.election.enable=false"),
        ("min.insync.replicas", "1", "min.insync.replicas=2"),
        ("min.insync.replicas", "4", "min.insync.replicas=3"),
        ("max.message.bytes", "500000", "max.message.bytes=1000000"),
    ],
)
def test_each_threat_is_found_alone_with_what_to_set(
    name: str, setting: str, value: str, wanted: str
) -> None:
    (finding,) = check(name, {setting: value})
    assert f"full.{name}" in finding
    assert f"--entity-name full.{name} --add-config {wanted}" in finding


def test_round_topics_may_expire_after_a_week_and_the_history_may_not() -> None:
    week = {"retention.ms": str(LONG_ENOUGH_MS)}
    assert check(table.updates(0), week) == []
    assert len(check(table.updates(0), {"retention.ms": str(LONG_ENOUGH_MS - 1)})) == 1
    assert len(check(table.CONTROL, week)) == 1
    assert len(check(table.SHARDS, week)) == 1


def test_too_few_replicas_for_the_brokers_there_are_is_a_threat() -> None:
    (finding,) = check(table.CONTROL, {"min.insync.replicas": "1"}, replicas=1, brokers=3)
    assert "1 replicas on 3 brokers" in finding


@pytest.mark.parametrize("name", [table.MEMBERS, table.REJECTED])
def test_topics_that_decide_nothing_are_left_alone(name: str) -> None:
    assert check(name, {"retention.ms": "1000", "cleanup.policy": "compact"}, replicas=1) == []
