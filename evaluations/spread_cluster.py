"""A Kafka cluster with a host for each node, for evaluations on hosts that are network namespaces.

    python evaluations/spread_cluster.py node INDEX FOLDER ADDRESS ADDRESS ADDRESS     until its stdin ends
    python evaluations/spread_cluster.py topics BOOTSTRAP FEDERATION SHARDS REPLICAS   create a federation's topics

`kafka_cluster.Cluster` keeps its controllers on loopback, which hosts do not share; here they listen on the host's
address, like the brokers. Each host is alone on its addresses, so ports are fixed.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from fdstream.topics import table
from fdstream.topics.access import settings_for
from kafka_cluster.folder import MARKER, open_folder
from kafka_cluster.jars import ensure_jars
from kafka_cluster.node import Node
from kafka_cluster.settings import Address

PORT, CONTROLLER_PORT, BROKER_PORT = 9092, 9093, 9094
TIMEOUT_SECONDS = 60


def bootstrap(hosts: Sequence[str]) -> str:
    return ",".join(f"{host}:{PORT}" for host in hosts)


def prepare_folders(folder: Path, count: int) -> list[Path]:
    """A data folder for each node, all of one cluster."""
    folders = [folder / f"host-{index}" for index in range(count)]
    open_folder(folders[0], nodes=count, reset=False).release()
    for each in folders[1:]:
        each.mkdir()
        shutil.copy(folders[0] / MARKER, each)
    return folders


def node(index: int, folder: Path, hosts: Sequence[str]) -> None:
    quorum = [Address(place, host, PORT, CONTROLLER_PORT, BROKER_PORT) for place, host in enumerate(hosts)]
    mine = quorum[index]
    settings = {
        "listeners": f"BROKER://{mine.bootstrap},CONTROLLER://{mine.host}:{CONTROLLER_PORT}",
        "controller.quorum.voters": ",".join(
            f"{each.node_id}@{each.host}:{CONTROLLER_PORT}" for each in quorum
        ),
    }
    opened = open_folder(folder, nodes=len(hosts), reset=False)
    made = Node(mine, quorum, opened, ensure_jars(lambda line: print(line, file=sys.stderr)), settings)
    if made.prepare():
        made.finish_format()
    made.start()
    sys.stdin.read()
    made.ask_to_stop()
    made.wait()


def topics(where: str, federation: str, shards: int, replicas: int) -> None:
    specs = table.topic_specs(shards)
    wanted = [
        NewTopic(
            table.full_name(federation, spec.name),
            spec.partitions,
            replicas,
            config=settings_for(spec, replicas),
        )
        for spec in specs
    ]
    admin = AdminClient({"bootstrap.servers": where})
    for future in admin.create_topics(wanted, request_timeout=TIMEOUT_SECONDS).values():
        future.result()


def main() -> None:
    what, *arguments = sys.argv[1:]
    if what == "node":
        node(int(arguments[0]), Path(arguments[1]), arguments[2:])
    else:
        topics(arguments[0], arguments[1], int(arguments[2]), int(arguments[3]))


if __name__ == "__main__":
    main()
