"""When a cluster is ready: every node answers, groups are served, and no replica is behind.

A fresh broker listens before it can do any of that, so an open port means little.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from fdstream.errors import TransportError
from kafka_cluster import probe
from kafka_cluster.node import Node

READY_SECONDS = 120.0
_CALL_SECONDS = 5.0
_PAUSE_SECONDS = 0.05
_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where each node is asked, and how: `context` for TLS, `settings` to say the same to librdkafka."""

    places: Sequence[tuple[str, int]]  # host and port
    context: ssl.SSLContext | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def bootstrap(self) -> str:
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.places)


def wait_until_ready(nodes: Sequence[Node], entrance: Entrance) -> None:
    """Errors: `TransportError` where a node ends meanwhile or is not ready in `READY_SECONDS`."""
    deadline = time.monotonic() + READY_SECONDS
    places, context = entrance.places, entrance.context
    _until(lambda: all(probe.gives_producer_ids(*place, context) for place in places), nodes, deadline)
    _until(lambda: all(probe.knows_coordinators(*place, context) for place in places), nodes, deadline)
    _until(lambda: any(probe.coordinates(*place, context) for place in places), nodes, deadline)
    admin = AdminClient({"bootstrap.servers": entrance.bootstrap, "log_level": 0, **entrance.settings})
    _until(lambda: _is_in_sync(admin, {node.address.node_id for node in nodes}), nodes, deadline)


def _until(condition: Callable[[], bool], nodes: Sequence[Node], deadline: float) -> None:
    while not condition():
        for node in nodes:
            if node.has_ended:
                raise node.start_error()
        if time.monotonic() > deadline:
            raise TransportError(nodes[0].failure(f"was not ready within {READY_SECONDS:.0f} s"))
        time.sleep(_PAUSE_SECONDS)


def _is_in_sync(admin: AdminClient, node_ids: set[int]) -> bool:
    """Whether all these nodes are in the cluster and up to date in every partition they hold."""
    try:
        metadata = admin.list_topics(timeout=_CALL_SECONDS)
    except KafkaException as error:
        _LOGGER.debug("no metadata yet: %s", error)
        return False
    partitions = [found for topic in metadata.topics.values() for found in topic.partitions.values()]
    return node_ids <= set(metadata.brokers) and all(
        found.leader in node_ids and node_ids & set(found.replicas) <= set(found.isrs) for found in partitions
    )
