"""Clusters as a user meets them: real brokers, real processes."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from fdstream.errors import TransportError, UsageError
from kafka_cluster import Cluster
from kafka_cluster.folder import open_folder
from kafka_cluster.ports import free_ports

WAIT_SECONDS = 30


def create_topic(bootstrap: str, name: str) -> None:
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(name, num_partitions=1)])[name].result(WAIT_SECONDS)


def append(bootstrap: str, topic: str, values: list[bytes]) -> list[KafkaError | None]:
    """Acknowledged by min.insync.replicas; what went wrong with each."""
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True})
    errors: list[KafkaError | None] = []
    for value in values:
        producer.produce(topic, value, on_delivery=lambda error, _: errors.append(error))
    assert producer.flush(WAIT_SECONDS) == 0
    return errors


def read(bootstrap: str, topic: str, count: int) -> list[Message]:
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": f"reads-{topic}", "auto.offset.reset": "earliest"}
    )
    try:
        consumer.subscribe([topic])
        messages = consumer.consume(count, WAIT_SECONDS)
    finally:
        consumer.close()
    assert all(message.error() is None for message in messages)
    return messages


def processes(cluster: Cluster) -> list[psutil.Process]:
    """The Java processes that run in the cluster's data folder."""
    found = psutil.Process().children(recursive=True)
    return [
        process for process in found if process.name() == "java" and process.cwd() == str(cluster.data_dir)
    ]


def lose_a_node(cluster: Cluster) -> list[str]:
    """Kill one as the kernel might when memory runs out; what `check` says once it has noticed."""
    processes(cluster)[0].kill()
    said: list[str] = []
    while not said:
        cluster.check(said.append)
    return said


def test_a_group_reads_what_was_written_with_the_brokers_time(kafka: str) -> None:
    create_topic(kafka, "time")
    assert append(kafka, "time", [b"a", b"b"]) == [None, None]
    messages = read(kafka, "time", 2)
    assert [message.value() for message in messages] == [b"a", b"b"]
    assert {message.timestamp()[0] for message in messages} == {TIMESTAMP_LOG_APPEND_TIME}


def test_writing_to_a_topic_that_nobody_created_does_not_create_it(kafka: str) -> None:
    producer = Producer({"bootstrap.servers": kafka, "topic.metadata.propagation.max.ms": 0})
    errors: list[KafkaError | None] = []
    producer.produce("nobody-made-this", b"", on_delivery=lambda error, _: errors.append(error))
    producer.flush(WAIT_SECONDS)
    assert len(errors) == 1
    assert errors[0] is not None
    assert "nobody-made-this" not in producer.list_topics(timeout=WAIT_SECONDS).topics


def test_the_log_is_a_file_with_what_kafka_says(one_node: Cluster) -> None:
    (log,) = one_node.log_files
    assert log.is_relative_to(one_node.data_dir)
    assert "Kafka Server started" in log.read_text()


def test_a_lost_node_is_an_error_and_its_data_is_there_on_other_ports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LC_ALL", "C")  # where Java alone could not open such a path
    data_dir = tmp_path / "my data, größer: 100%"
    with Cluster(data_dir=data_dir) as first:
        create_topic(first.bootstrap, "kept")
        append(first.bootstrap, "kept", [b"value"])
        first.check()
        with pytest.raises(TransportError, match=r"node 1 .* stopped by itself with status 137"):
            lose_a_node(first)
    with Cluster(data_dir=data_dir) as second:
        assert second.bootstrap != first.bootstrap
        assert [message.value() for message in read(second.bootstrap, "kept", 1)] == [b"value"]


def test_a_second_broker_on_the_same_data_is_refused(one_node: Cluster) -> None:
    with pytest.raises(UsageError, match="in use by a running broker"):
        Cluster(data_dir=one_node.data_dir, reset=True).start()


def test_a_port_in_use_is_refused_before_anything_is_done(one_node: Cluster, tmp_path: Path) -> None:
    port = int(one_node.bootstrap.split(":")[1])
    with pytest.raises(UsageError, match=rf"port {port} on 127\.0\.0\.1 is taken .* --port"):
        Cluster(port=port, data_dir=tmp_path / "new").start()
    assert not (tmp_path / "new").exists()


def test_the_nodes_of_three_use_ports_one_after_the_other(one_node: Cluster, tmp_path: Path) -> None:
    port = int(one_node.bootstrap.split(":")[1])
    with pytest.raises(UsageError, match=f"port {port} "):
        Cluster(nodes=3, port=port - 2, data_dir=tmp_path).start()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Cluster(nodes=2), "1 or 3 nodes"),
        (lambda: Cluster(host="0.0.0.0"), "by which clients reach"),
        (lambda: Cluster(host="192.0.2.1").start(), "192.0.2.1"),
        (lambda: Cluster(nodes=3, port=65534).start(), "lower --port"),
    ],
)
def test_wrong_settings_say_what_to_do(make: Callable[[], object], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()


def test_a_node_that_does_not_start_names_its_log_and_leaves_nothing_running(tmp_path: Path) -> None:
    open_folder(tmp_path, nodes=1, reset=False).release()
    (tmp_path / "node-1").mkdir()
    cluster = Cluster(data_dir=tmp_path)
    with pytest.raises(TransportError, match=r"node 1 .* starting with status 1: .*meta.*node-1\.log"):
        cluster.start()
    assert not processes(cluster)


def test_a_port_taken_after_we_looked_costs_another_try(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as thief:
        stolen = thief.getsockname()[1]
        given = iter([[stolen], free_ports(2)])
        monkeypatch.setattr(
            "kafka_cluster.cluster.free_ports", lambda *wanted: next(given, free_ports(*wanted))
        )
        with Cluster(data_dir=tmp_path) as cluster:
            assert not cluster.bootstrap.endswith(f":{stolen}")
            create_topic(cluster.bootstrap, "works")


def test_a_start_cut_short_while_formatting_and_a_killed_starter_are_made_good(tmp_path: Path) -> None:
    """SIGKILL, so nothing of ours can clean up; whoever comes next waits for the end of what is left."""
    open_folder(tmp_path, nodes=1, reset=False).release()
    (tmp_path / "node-1.unformatted" / "__cluster_metadata-0").mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path; from kafka_cluster import Cluster\n"
        "with Cluster(data_dir=Path(sys.argv[1])): print('ready', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as starter:
        assert starter.stdout is not None
        assert starter.stdout.readline() == b"ready\n"
        left = psutil.Process(starter.pid).children(recursive=True)
        assert "java" in {process.name() for process in left}
        starter.kill()
    open_folder(tmp_path, nodes=1, reset=False).release()
    assert not psutil.wait_procs(left, WAIT_SECONDS)[1]


def test_three_nodes_lose_one_without_losing_a_record(kafka3: Cluster) -> None:
    create_topic(kafka3.bootstrap, "fault")
    append(kafka3.bootstrap, "fault", [b"before"])
    kafka3.kill_node(1)
    assert append(kafka3.bootstrap, "fault", [b"while"]) == [None]
    kafka3.restart_node(1)
    assert replicas_in_sync(kafka3) == {(1, 2, 3)}
    assert [message.value() for message in read(kafka3.bootstrap, "fault", 2)] == [b"before", b"while"]


def replicas_in_sync(cluster: Cluster) -> set[tuple[int, ...]]:
    topics = AdminClient({"bootstrap.servers": cluster.bootstrap}).list_topics(timeout=WAIT_SECONDS).topics
    partitions = [found for topic in topics.values() for found in topic.partitions.values()]
    return {tuple(sorted(found.isrs)) for found in partitions}


def test_one_of_three_may_end_by_itself(kafka3: Cluster) -> None:
    said = lose_a_node(kafka3)
    assert ["the others go on" in line for line in said] == [True]
