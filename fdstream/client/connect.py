"""How a client reaches a federation on Kafka: from an address and a name to a `Connection`."""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from fdstream.client.connection import Connection
from fdstream.heartbeats import Heartbeats
from fdstream.log import Log
from fdstream.messages import ConfigValue
from fdstream.topics.admin import Admin
from fdstream.topics.kafka_log import KafkaLog

logger = logging.getLogger("fdstream.client")
REACHABLE_SECONDS = 30.0


def new_client_id() -> str:
    """A name that no other client has, for those who gave none."""
    return f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"


def wait_for_federation(broker: str, federation: str, kafka: Mapping[str, str]) -> None:
    """Return once the federation's topics exist; a client never creates them.

    Raises `TransportError` where no broker answers within 30 seconds.
    """
    with Admin(broker, settings=kafka) as admin:
        admin.wait_until_reachable(REACHABLE_SECONDS)
        admin.wait_for_topics(federation, "client", logger.info)


@contextmanager
def connect(
    broker: str = "127.0.0.1:9091",
    federation: str = "default",
    *,
    client_id: str | Sequence[str] | None = None,
    config: Mapping[str, ConfigValue] | None = None,
    kafka: Mapping[str, str] | None = None,
    heartbeat_period_seconds: float = 5.0,
) -> Iterator[Connection]:
    """Take part in a federation from a script's own loop; started before or after the server.

        with fdstream.connect("127.0.0.1:9091") as fed:
            for task in fed:
                weights = train(task.weights)
                fed.report(weights, num_examples=600, metrics={"loss": 0.1})

    `client_id` names this client (several names make several virtual clients on one connection), `config` is
    merged into each task's config, `kafka` is passed to librdkafka. Raises `UsageError`, `TransportError`.
    """
    settings = dict(kafka or {})
    clients = [client_id] if isinstance(client_id, str) else list(client_id or [new_client_id()])
    wait_for_federation(broker, federation, settings)
    log = KafkaLog(broker, federation, client_id=clients[0], settings=settings)
    with taking_part(log, clients, config, heartbeat_period_seconds) as connection:
        yield connection


@contextmanager
def taking_part(
    log: Log,
    clients: Sequence[str],
    config: Mapping[str, ConfigValue] | None,
    heartbeat_period_seconds: float,
) -> Iterator[Connection]:
    """A connection on this log, which it closes, with heartbeats of its own."""
    with (
        Heartbeats(heartbeat_period_seconds) as heartbeats,
        Connection(log, clients, heartbeats, config=config) as connection,
    ):
        yield connection
