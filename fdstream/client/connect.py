"""How a client reaches a federation on Kafka: from an address and a name to a `Connection`."""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fdstream import keys
from fdstream.client.connection import NOBODY, Connection, Identity
from fdstream.heartbeats import Heartbeats
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.log import Log
from fdstream.messages import ConfigValue
from fdstream.topics import table
from fdstream.topics.admin import Admin
from fdstream.topics.kafka_log import KafkaLog
from fdstream.trust import Pins

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


def is_open(broker: str, federation: str, kafka: Mapping[str, str], reachable_seconds: float) -> bool:
    """Whether the federation's topics exist. Raises `TransportError` where no broker answers within the time."""
    with Admin(broker, settings=kafka) as admin:
        admin.wait_until_reachable(reachable_seconds)
        return admin.has_topics(federation, "client")


@contextmanager
def connect(
    broker: str = "127.0.0.1:9091",
    federation: str = "default",
    *,
    client_id: str | Sequence[str] | None = None,
    config: Mapping[str, ConfigValue] | None = None,
    kafka: Mapping[str, str] | None = None,
    heartbeat_period_seconds: float = 5.0,
    key: str | Path | None = None,
    server_key: str | Path | None = None,
    instruments: Instruments = UNMEASURED,
) -> Iterator[Connection]:
    """Take part in a federation from a script's own loop; started before or after the server.

        with fdstream.connect("127.0.0.1:9091") as fed:
            for task in fed:
                weights = train(task.weights)
                fed.report(weights, num_examples=600, metrics={"loss": 0.1})

    `client_id` names this client (several names make several virtual clients on one connection, whose records wait up
    to 5 ms for each other), `config` is merged into each task's config, `kafka` is passed to librdkafka. `key` is the
    file of a private key that signs reports; `server_key` a file or directory of public keys: only federations of
    these servers are taken part in. Both may be the keys' own text. `instruments` measure. Raises `UsageError`,
    `TransportError`.
    """
    settings = dict(kafka or {})
    clients = [client_id] if isinstance(client_id, str) else list(client_id or [new_client_id()])
    identity = identity_of(federation, key, server_key)
    wait_for_federation(broker, federation, settings)
    statistics = instruments.statistics()
    log = KafkaLog(
        broker,
        federation,
        client_id=clients[0],
        settings=settings,
        statistics=statistics,
        needs=table.used_by("client"),
        shared=len(clients) > 1,
    )
    with taking_part(log, clients, config, heartbeat_period_seconds, identity, instruments) as connection:
        yield connection


def identity_of(federation: str, key: str | Path | None, server_key: str | Path | None) -> Identity:
    """Who a client is and whom it trusts, from the keys it was given. Raises `UsageError`."""
    own = keys.load_private(key) if key is not None else None
    return Identity(own, pins_of(federation, server_key))


def pins_of(federation: str, server_key: str | Path | None) -> Pins:
    """Whom it trusts. Raises `UsageError`."""
    pinned = keys.load_public(server_key).values() if server_key is not None else ()
    return Pins(federation, frozenset(pinned))


@contextmanager
def taking_part(
    log: Log,
    clients: Sequence[str],
    config: Mapping[str, ConfigValue] | None,
    heartbeat_period_seconds: float,
    identity: Identity = NOBODY,
    instruments: Instruments = UNMEASURED,
) -> Iterator[Connection]:
    """A connection on this log, which it closes, with heartbeats of its own."""
    with (
        Heartbeats(heartbeat_period_seconds) as heartbeats,
        Connection(
            log, clients, heartbeats, config=config, identity=identity, instruments=instruments
        ) as connection,
    ):
        yield connection
