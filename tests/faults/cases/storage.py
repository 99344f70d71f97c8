"""Logs that the broker cannot write, or that lose what they must keep."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Callable
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from fdstream.messages import RoundClosed
from fdstream.topics import table
from kafka_cluster import Cluster
from tests.cluster.expected import SHARDS, expected_hash
from tests.cluster.processes import Process, wait_until
from tests.faults.case import case
from tests.faults.cases.brokers import KINDS, begin
from tests.faults.haste import SURE
from tests.faults.scene import Scene

SENTENCE = "a sentence, exit code 3 or 4, and no other model"
DISK_MEGABYTES = 200


@case("the broker's disk is full, then there is room again", brokers=0)
def disk_full(scene: Scene) -> None:
    """Filled to the last byte in the middle of a round: the broker gives up, everybody waits."""
    disk = scene.folder / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m", "none", str(disk)], check=True)
    try:
        with Cluster(data_dir=disk / "kafka") as cluster:
            scene.use(cluster)
            begin(scene)
            fill = disk / "fill"
            _fill_up(fill)
            scene.open_gates(2)
            wait_until("the broker to give up", lambda: cluster._nodes[0].has_ended)
            cluster._nodes[0].wait()
            fill.unlink()
            cluster.restart_killed()
            scene.end()
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _fill_up(path: Path) -> None:
    """Write until there is no room, whatever the broker takes or leaves meanwhile."""
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 20))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def set_topic(scene: Scene, topic: str, **settings: str) -> None:
    """Change settings of a topic of the federation, as an administrator may."""
    name = table.full_name(scene.federation.name, topic)
    entries = [
        ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
        for key, value in settings.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
    admin = AdminClient({"bootstrap.servers": scene.federation.bootstrap})
    admin.incremental_alter_configs([resource])[resource].result()


def let_retention_eat(scene: Scene, topic: str) -> None:
    """Give the topic a retention of nothing, and wait until all its records are gone."""
    set_topic(scene, topic, retention_ms="1")
    log = scene.topics.log
    wait_until(
        f"retention to eat {topic}",
        lambda: log.start_offsets(topic) == log.end_offsets(topic) or None,
    )


@case("retention eats the updates of a round in progress, and its only server is new", ends=SENTENCE)
def updates_eaten(scene: Scene) -> None:
    begin(scene, servers=1)
    scene.servers[0].kill()
    let_retention_eat(scene, table.updates(0))
    again = scene.server()
    code, sentence = again.refusal()
    assert code == 3, sentence
    assert "no longer holds offset" in sentence, sentence
    assert scene.check_prefix() == 1


@case("retention eats the updates of a round in progress that its servers have read")
def read_updates_eaten(scene: Scene) -> None:
    """What is in the sums need not be in the log."""
    begin(scene, servers=1)
    let_retention_eat(scene, table.updates(0))
    set_topic(scene, table.updates(0), retention_ms="-1")
    scene.open_gates(2)
    scene.end()


@case("retention eats the reports of a round in progress, and its only server is new", ends=SENTENCE)
def reports_eaten(scene: Scene) -> None:
    begin(scene, servers=1)
    scene.check_prefix()
    scene.servers[0].kill()
    let_retention_eat(scene, table.reports(0))
    code, sentence = scene.server().refusal()
    assert code == 3, sentence
    assert "no longer holds offset" in sentence, sentence


@case("retention eats control, and a server and a client are new", ends=SENTENCE)
def control_eaten(scene: Scene) -> None:
    begin(scene, servers=1)
    assert scene.check_prefix() == 1
    let_retention_eat(scene, table.CONTROL)
    for process in (scene.server(), scene.client("dan")):
        code, sentence = process.refusal()
        assert code == 3, sentence
        assert "the federation's history is gone" in sentence, sentence


@case(
    "retention eats the model of a round in progress before a client has it",
    ends="a sentence in the client's log; it takes part in the next round",
)
def model_eaten(scene: Scene) -> None:
    begin(scene, servers=1)
    let_retention_eat(scene, table.model(0))
    late = scene.client("dan")
    late.wait_for_line("the log no longer holds the model of this round")
    scene.open_gates(2)
    scene.end()


def _delete(scene: Scene, topic: str, waiting: list[Process]) -> None:
    """Once those who wait have looked: who has never seen a topic does not miss it."""
    for partition in range(SHARDS):
        scene.topics.log.unfollow(topic, partition)
    name = table.full_name(scene.federation.name, topic)
    for process in waiting:
        process.wait_for_line(f"topic {name} is there")
    admin = AdminClient({"bootstrap.servers": scene.federation.bootstrap})  # held until it has answered
    admin.delete_topics([name])[name].result()


def _go_on_without(scene: Scene, topic: str) -> None:
    """No round needs `members`: with all gates open the federation could end before anybody misses it."""
    if topic == table.MEMBERS:
        scene.gate.open(2)
    else:
        scene.open_gates(2)


def delete_topic(topic: str, *, gate_opens: bool) -> Callable[[Scene], None]:
    """While a round waits for a client; where the gate does not open, nobody else has anything to read or write."""

    def play(scene: Scene) -> None:
        scene.hurry()
        options = (*SURE, "--log-level", "debug")
        for _ in range(2):
            scene.server(*options)
        clients = [scene.client(name, *options) for name in ("ada", "bob")]
        clients.append(scene.client("cyd", *options, *scene.gate.options()))
        scene.gate.open(1)
        scene.wait_for_reports(2)
        assert scene.check_prefix() == 1
        _delete(scene, topic, [*scene.servers, *(clients[:2] if topic in table.used_by("client") else ())])
        if gate_opens:
            _go_on_without(scene, topic)
        _hear_of_the_deletion(scene.servers)
        scene.open_gates(2)
        if topic in table.used_by("client"):
            _hear_of_the_deletion(clients)
        if topic == table.CONTROL:
            return
        scene.topics.all_entries(table.CONTROL)
        for closed in scene.topics.messages(table.CONTROL, RoundClosed):
            expected = expected_hash([scene.clients] * min(closed.round, scene.rounds))
            assert closed.model_sha256.hex() == expected, f"round {closed.round} is not the oracle's"

    return play


def _hear_of_the_deletion(processes: list[Process]) -> None:
    for process in processes:
        code, sentence = process.refusal()
        assert code in (3, 4), sentence
        assert "Was the federation deleted?" in sentence, sentence


for _kind, _topic in KINDS.items():
    if _kind not in ("state", "rejected"):  # which these federations do without
        case(f"the topic {_kind} deleted under a running federation", ends=SENTENCE)(
            delete_topic(_topic, gate_opens=True)
        )
    case(f"the topic {_kind} deleted while everybody waits for a client", ends=SENTENCE)(
        delete_topic(_topic, gate_opens=False)
    )


@case("a federation that pauses for longer than the default retention", brokers=0)
def paused(scene: Scene) -> None:
    """The broker deletes what is a second old unless a topic says otherwise; ours do."""
    settings = {"log.retention.ms": "1000"}
    with Cluster(data_dir=scene.folder / "kafka", settings=settings) as cluster:
        scene.use(cluster)
        begin(scene)
        for server in scene.servers:
            server.kill()
        _wait_for_default_retention(scene)
        scene.open_gates(2)
        again = [scene.server() for _ in range(2)]
        scene.end(again)


def _wait_for_default_retention(scene: Scene) -> None:
    """A topic of nobody's with default settings loses its record."""
    where: dict[str, str | int | float | bool] = {"bootstrap.servers": scene.federation.bootstrap}
    admin = AdminClient(where)
    admin.create_topics([NewTopic("canary", 1, 1)])["canary"].result()
    producer = Producer(where)
    producer.produce("canary", b"still here")
    producer.flush()
    consumer = Consumer({**where, "group.id": "canary"})
    wait_until(
        "the default retention",
        lambda: consumer.get_watermark_offsets(TopicPartition("canary", 0), timeout=10)[0] == 1 or None,
    )
    consumer.close()
