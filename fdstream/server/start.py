"""How a server reaches its federation on Kafka: creates what is missing, joins the group, checks the settings."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from fdstream.app import App
from fdstream.events import Tell
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.log import Log
from fdstream.server.run import NOBODY, Connections, Identity, Plan, ServerRun
from fdstream.topics import table
from fdstream.topics.admin import Admin
from fdstream.topics.kafka_log import KafkaLog
from fdstream.topics.ownership import GroupOwnership

logger = logging.getLogger("fdstream.server")
REACHABLE_SECONDS = 30.0


@contextmanager
def start_server(
    broker: str,
    federation: str,
    app: App,
    plan: Plan,
    *,
    kafka: Mapping[str, str],
    heartbeat_period_seconds: float,
    observe: Callable[[Tell], None],
    identity: Identity = NOBODY,
    instruments: Instruments = UNMEASURED,
) -> Iterator[ServerRun]:
    """A server of the federation, ready to `run`. Raises `UsageError`, `TransportError`."""
    standing = _prepare_topics(broker, federation, plan.shards, kafka)

    def open_log(role: str) -> Log:
        name, statistics = f"fdstream-{role}", instruments.statistics()
        needs = table.used_by("server") if role == "server" else ()
        log = KafkaLog(broker, federation, client_id=name, settings=kafka, statistics=statistics, needs=needs)
        return instruments.log(log)

    with GroupOwnership(broker, federation, client_id="fdstream-server", settings=kafka) as ownership:
        connections = Connections(federation, open_log, ownership.poll, standing)
        with ServerRun(
            connections,
            app,
            plan,
            heartbeat_period_seconds=heartbeat_period_seconds,
            observe=observe,
            identity=identity,
            instruments=instruments,
        ) as run:
            yield run


def _prepare_topics(broker: str, federation: str, shards: int, kafka: Mapping[str, str]) -> int:
    """Create the topics that are missing; the number of shards that holds."""
    with Admin(broker, settings=kafka) as admin:
        admin.wait_until_reachable(REACHABLE_SECONDS)
        standing = admin.create_topics(federation, shards)
        for finding in admin.startup_checks(federation, standing):
            logger.warning(finding)
    return standing
