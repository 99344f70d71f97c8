"""When a cluster is ready: it answers, it knows all its nodes, it serves groups, and nothing is behind.

A fresh broker listens before it can do any of that, so an open port means little.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from fdstream.errors import TransportError
from kafka_cluster.node import Node
from kafka_cluster.ports import can_connect

READY_SECONDS = 120.0
_CALL_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
_GROUP = "fdstream-readiness"


def wait_until_ready(nodes: Sequence[Node]) -> None:
    """Errors: `TransportError` where a node ends meanwhile or is not ready in `READY_SECONDS`."""
    deadline = time.monotonic() + READY_SECONDS
    _until(lambda: all(map(_listens, nodes)), nodes, deadline)
    bootstrap = ",".join(node.address.bootstrap for node in nodes)
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    node_ids = {node.address.node_id for node in nodes}
    _until(lambda: _serves_groups(admin) and _is_in_sync(admin, node_ids), nodes, deadline)


def _until(condition: Callable[[], bool], nodes: Sequence[Node], deadline: float) -> None:
    while not condition():
        for node in nodes:
            if node.has_ended:
                raise TransportError(node.failure("stopped while starting"))
        if time.monotonic() > deadline:
            raise TransportError(nodes[0].failure(f"was not ready within {READY_SECONDS:.0f} s"))
        time.sleep(_PAUSE_SECONDS)


def _listens(node: Node) -> bool:
    return can_connect(node.address.host, node.address.port)


def _serves_groups(admin: AdminClient) -> bool:
    """Finding a group's coordinator creates and loads the offsets topic: a fresh broker takes a second."""
    try:
        admin.describe_consumer_groups([_GROUP], request_timeout=_CALL_SECONDS)[_GROUP].result()
    except KafkaException as error:
        logging.getLogger(__name__).debug("no group coordinator yet: %s", error)
        return False
    return True


def _is_in_sync(admin: AdminClient, node_ids: set[int]) -> bool:
    """Whether all these nodes are in the cluster and up to date in every partition they hold."""
    try:
        metadata = admin.list_topics(timeout=_CALL_SECONDS)
    except KafkaException as error:
        logging.getLogger(__name__).debug("no metadata yet: %s", error)
        return False
    partitions = [found for topic in metadata.topics.values() for found in topic.partitions.values()]
    return node_ids <= set(metadata.brokers) and all(
        found.leader in node_ids and node_ids & set(found.replicas) <= set(found.isrs) for found in partitions
    )
