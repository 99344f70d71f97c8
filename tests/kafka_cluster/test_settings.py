"""What brokers are told, as Kafka would read it."""

from __future__ import annotations

import pytest

from kafka_cluster.settings import Address, broker_properties


def addresses(count: int) -> list[Address]:
    return [Address(index, "127.0.0.1", 9091 + index, 9191 + index, 9291 + index) for index in range(count)]


def parsed(index: int, count: int) -> dict[str, str]:
    quorum = addresses(count)
    lines = broker_properties(quorum[index], quorum, "node", {}).splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_three_nodes_keep_every_record_three_times_and_acknowledge_two() -> None:
    settings = parsed(0, 3)
    assert settings["default.replication.factor"] == settings["offsets.topic.replication.factor"] == "3"
    assert settings["min.insync.replicas"] == "2"
    assert settings["unclean.leader.election.enable"] == "false"


def test_one_node_asks_for_no_replicas_it_cannot_have() -> None:
    settings = parsed(0, 1)
    wanted = [value for key, value in settings.items() if "replication.factor" in key or ".isr" in key]
    assert set(wanted) == {"1"}


@pytest.mark.parametrize("count", [1, 3])
def test_broker_time_is_the_time_of_records_and_clients_create_no_topics(count: int) -> None:
    settings = parsed(count - 1, count)
    assert settings["log.message.timestamp.type"] == "LogAppendTime"
    assert settings["auto.create.topics.enable"] == "false"


def test_all_nodes_agree_on_the_quorum_and_differ_in_address() -> None:
    nodes = [parsed(index, 3) for index in range(3)]
    assert len({node["controller.quorum.voters"] for node in nodes}) == 1
    assert [node["node.id"] for node in nodes] == ["1", "2", "3"]
    assert len({node["listeners"] for node in nodes}) == 3


def test_an_ipv6_address_is_bracketed() -> None:
    assert Address(0, "::1", 9091, 9191, 9291).bootstrap == "[::1]:9091"


def test_settings_of_the_callers_go_over_ours() -> None:
    (node,) = addresses(1)
    lines = broker_properties(node, [node], "node", {"num.io.threads": "1", "my.setting": "2"}).splitlines()
    assert lines.count("num.io.threads=1") == lines.count("my.setting=2") == 1
    assert not any(line == "num.io.threads=8" for line in lines)
