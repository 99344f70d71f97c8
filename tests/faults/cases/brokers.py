"""Brokers that die, one or more of three (three replicas, two in sync), and disks that are lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from confluent_kafka.admin import AdminClient

from fdstream.messages import RoundClosed
from fdstream.topics import table
from kafka_cluster import Cluster
from tests.faults.case import case
from tests.faults.haste import SURE
from tests.faults.scene import Scene

SLOT = table.slot_of(2, table.SLOTS)
KINDS = {
    "control": table.CONTROL,
    "shards": table.SHARDS,
    "members": table.MEMBERS,
    "rejected": table.REJECTED,
    "model": table.model(SLOT),
    "state": table.state(SLOT),
    "updates": table.updates(SLOT),
    "reports": table.reports(SLOT),
}


def begin(scene: Scene, servers: int = 2) -> None:
    """The second round is open, and one client in it holds everybody up."""
    for _ in range(servers):
        scene.server()
    scene.everybody(gated=True)
    scene.gate.open(1)
    scene.wait_for_reports(2)


def leader(scene: Scene, topic: str) -> int:
    """The node, from 0, that leads a partition of the topic; which partition, the seed decides."""
    name = table.full_name(scene.federation.name, topic)
    found = AdminClient({"bootstrap.servers": scene.bootstrap}).list_topics(name, timeout=10)
    partitions = found.topics[name].partitions
    chosen: int = partitions[scene.random.choice(sorted(partitions))].leader
    return chosen - 1


def kill_leader(topic: str) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        cluster = scene.lab.cluster(3)
        begin(scene)
        node = leader(scene, topic)
        scene.facts["node"] = node
        scene.gate.open(2)
        if scene.random.random() < 0.5:
            scene.wait_for_records(scene.random.randint(1, 8))
        cluster.kill_node(node)
        scene.open_gates()
        scene.end()

    return play


for _kind, _topic in KINDS.items():
    case(f"the leader of {_kind} killed in a round, three brokers", brokers=3)(kill_leader(_topic))


@case("a rolling restart of three brokers", brokers=3)
def rolling(scene: Scene) -> None:
    """Each is stopped in order and started again in a round of its own."""
    cluster = scene.lab.cluster(3)
    begin(scene)
    nodes = list(range(3))
    scene.random.shuffle(nodes)
    for number, node in enumerate(nodes, start=2):
        scene.wait_for_reports(number)
        cluster._nodes[node].ask_to_stop()
        cluster._nodes[node].wait()
        scene.gate.open(number)
        cluster.restart_node(node)
    scene.open_gates()
    scene.end()


@case("two of three brokers down: everything waits, then goes on", brokers=3)
def two_down(scene: Scene) -> None:
    cluster = scene.lab.cluster(3)
    begin(scene)
    scene.topics.all_entries(table.CONTROL)
    for node in scene.random.sample(range(3), 2):
        cluster.kill_node(node)
    scene.open_gates(2)
    for server in scene.servers:
        server.wait_for_line("trouble with the broker")
    assert not scene.servers[0].ends_within(2.0)
    closed = scene.topics.messages(table.CONTROL, RoundClosed)
    assert [record.round for record in closed] == [1], "nobody closed a round without a majority"
    cluster.restart_killed()
    scene.end()


@case("one of three brokers started again with its disk lost", brokers=3)
def disk_lost(scene: Scene) -> None:
    cluster = scene.lab.cluster(3)
    begin(scene)
    lose_disk(scene, cluster, scene.random.randrange(3))
    scene.open_gates(2)
    scene.end()


def lose_disk(scene: Scene, cluster: Cluster, index: int) -> None:
    """Kill a node, delete its data, start it again as one that has none."""
    cluster.kill_node(index)
    node = cluster._nodes[index]
    shutil.rmtree(node.folder.path / node.address.log_dir)
    scene.gate.open(2)
    assert node.prepare()
    node.finish_format()
    cluster.restart_node(index)


@case(
    "the only broker started again with its disk lost",
    brokers=0,
    ends="a sentence of everybody, exit code 3 or 4, and no other model",
)
def only_disk_lost(scene: Scene) -> None:
    scene.hurry()
    with Cluster(data_dir=scene.folder / "kafka") as cluster:
        scene.use(cluster)
        for _ in range(2):
            scene.server(*SURE)
        client = scene.client("ada", *SURE, *scene.gate.options())
        scene.crowd("bob")
        scene.crowd("cyd")
        scene.gate.open(1)
        scene.wait_for_reports(2)
        scene.check_prefix()
        lose_disk(scene, cluster, 0)
        for process in (*scene.servers, client):
            code, sentence = process.refusal()
            assert code in (3, 4), sentence
            assert "Was the federation deleted?" in sentence or "deleted and made again" in sentence, sentence
        for member in scene.members:
            assert member.join() is not None, f"{member.clients[0]} said nothing"
