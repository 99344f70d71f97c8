"""Administration against a real broker: creating, awaiting, listing, deleting, checking."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from fdstream.errors import TransportError, UsageError
from fdstream.topics import table
from fdstream.topics.admin import Admin, check_federation, creation_refused, federations_among, topics_of
from kafka_cluster import Cluster

NOBODY = "127.0.0.1:9"


@pytest.fixture
def raw(kafka: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka})


def _partitions(raw: AdminClient, federation: str) -> dict[str, int]:
    prefix = table.full_name(federation, "")
    topics = raw.list_topics(timeout=10).topics
    return {n.removeprefix(prefix): len(t.partitions) for n, t in topics.items() if n.startswith(prefix)}


def test_creating_makes_every_topic_of_the_table_once(admin: Admin, raw: AdminClient, name: str) -> None:
    wanted = {spec.name: spec.partitions for spec in table.topic_specs(3)}
    assert admin.create_topics(name, 3) == 3
    assert _partitions(raw, name) == wanted
    assert admin.create_topics(name, 3) == 3
    assert admin.create_topics(name, 5) == 3
    assert _partitions(raw, name) == wanted


def test_two_servers_that_start_together_agree(kafka: str, raw: AdminClient, name: str) -> None:
    def create(shards: int) -> int:
        with Admin(kafka, settings={}) as admin:
            return admin.create_topics(name, shards)

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(create, (2, 6)))
    assert found[0] == found[1]
    assert _partitions(raw, name) == {spec.name: spec.partitions for spec in table.topic_specs(found[0])}


def test_what_was_created_by_hand_is_completed(admin: Admin, raw: AdminClient, name: str) -> None:
    shards = table.full_name(name, table.SHARDS)
    raw.create_topics([NewTopic(shards, 2, 1)])[shards].result()
    assert admin.create_topics(name, 8) == 2
    assert _partitions(raw, name) == {spec.name: spec.partitions for spec in table.topic_specs(2)}


def test_topics_by_hand_that_contradict_each_other_are_refused(
    admin: Admin, raw: AdminClient, name: str
) -> None:
    model = table.full_name(name, table.model(0))
    raw.create_topics([NewTopic(model, 3, 1)])[model].result()
    with pytest.raises(UsageError, match=r"round-0\.model has 3 partitions, not 4.*fdstream topics"):
        admin.create_topics(name, 4)


def test_topics_as_created_pass_the_startup_checks(admin: Admin, name: str) -> None:
    admin.create_topics(name, 2)
    assert admin.startup_checks(name, 2) == []


def test_startup_checks_see_the_settings_on_the_broker(admin: Admin, raw: AdminClient, name: str) -> None:
    control = table.full_name(name, table.CONTROL)
    raw.create_topics([NewTopic(control, 1, 1, config={"retention.ms": "1000"})])[control].result()
    admin.create_topics(name, 1)
    (finding,) = admin.startup_checks(name, 1)
    assert f"topic {control} has retention.ms=1000" in finding


def test_a_client_waits_for_a_server_to_create_the_topics(kafka: str, admin: Admin, name: str) -> None:
    said: list[str] = []
    waiting = threading.Event()

    def on_waiting(sentence: str) -> None:
        said.append(sentence)
        waiting.set()

    with Admin(kafka, settings={}) as client, ThreadPoolExecutor(1) as pool:
        shards = pool.submit(client.wait_for_topics, name, "client", on_waiting)
        assert waiting.wait(30)
        assert name not in admin.federations()
        admin.create_topics(name, 3)
        assert shards.result(30) == 3
    assert len(said) == 1
    assert repr(name) in said[0]


def test_topics_that_exist_are_not_waited_for(admin: Admin, federation: str) -> None:
    for role in ("client", "server"):
        assert admin.wait_for_topics(federation, role, pytest.fail) == 4


def test_deleting_takes_one_federation_and_no_other(admin: Admin, raw: AdminClient, name: str) -> None:
    other = f"{name}-2"
    for federation in (name, other):
        admin.create_topics(federation, 1)
    assert {name, other} <= set(admin.federations())
    assert admin.delete_topics(name) == sorted(
        table.full_name(name, spec.name) for spec in table.topic_specs(1)
    )
    assert name not in admin.federations()
    assert len(_partitions(raw, other)) == len(table.topic_specs(1))
    assert admin.delete_topics(name) == []


def test_a_deleted_federation_can_be_made_again_by_the_same_process(admin: Admin, name: str) -> None:
    admin.create_topics(name, 2)
    admin.delete_topics(name)
    assert admin.create_topics(name, 3) == 3


def test_on_three_brokers_topics_have_three_replicas_and_two_in_sync(kafka3: Cluster, name: str) -> None:
    with Admin(kafka3.bootstrap, settings={}) as admin:
        assert admin.wait_until_reachable(30) == 3
        admin.create_topics(name, 2)
        assert admin.startup_checks(name, 2) == []
    topics = AdminClient({"bootstrap.servers": kafka3.bootstrap}).list_topics(timeout=10).topics
    partitions = topics[table.full_name(name, table.CONTROL)].partitions
    assert [len(partition.replicas) for partition in partitions.values()] == [3]


def test_an_unreachable_broker_is_one_sentence_with_what_to_check() -> None:
    with Admin(NOBODY, settings={}) as admin, pytest.raises(TransportError) as error:
        admin.wait_until_reachable(0.5)
    assert str(error.value).startswith(f"no broker answered at {NOBODY} within 0.5 s (")
    assert "refused" in str(error.value)
    assert "--broker" in str(error.value)


def test_a_broker_that_refuses_to_create_says_what_to_grant() -> None:
    for code in (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
    ):
        assert "fdstream topics acls" in creation_refused("t", KafkaError(code))


@pytest.mark.parametrize("name", ["", "a.b", "a b", "ä", "a" * 101, "a/b"])
def test_names_that_would_overlap_or_be_refused_are_no_names(name: str) -> None:
    with pytest.raises(UsageError, match="no name for a federation"):
        check_federation(name)


def test_federations_are_told_by_their_control_topics() -> None:
    names = [table.full_name(f, t) for f in ("b", "a_1", "a-1") for t in ("control", "members")]
    foreign = [
        "fdstream.x.members",
        "fdstream.a.b.control",
        "other.c.control",
        "control",
        "fdstream..control",
    ]
    assert federations_among(names + foreign) == ["a-1", "a_1", "b"]
    assert topics_of("a_1", names + foreign) == ["fdstream.a_1.control", "fdstream.a_1.members"]
