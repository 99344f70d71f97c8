"""Servers in the test's own process, for what the command line cannot ask for: shared shards, few extensions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fdstream.app import App
from fdstream.events import Tell
from fdstream.messages import Settings
from fdstream.server.run import Connections, Plan, ServerRun
from fdstream.topics.admin import Admin
from fdstream.topics.kafka_log import KafkaLog
from tests.cluster.expected import SHARDS
from tests.cluster.processes import CHUNK_BYTES, Federation


def plan(**changes: object) -> Plan:
    """What a server wants of the federation: three clients, three rounds."""
    values = {
        "num_rounds": 3,
        "min_clients": 3,
        "max_clients": 3,
        "deadline_seconds": 600.0,
        "max_extensions": 144,
        "fraction": 1.0,
        "strategy": "fedavg",
        "keep_rounds": 2,
        "seed": 0,
        "final_evaluation": True,
    }
    settings = Settings(**(values | changes))  # type: ignore[arg-type]
    return Plan(settings, CHUNK_BYTES, SHARDS, {}, {})


def always(shards: range) -> Callable[[], frozenset[int] | None]:
    """An ownership that never changes, whatever others own."""
    answers = iter([frozenset(shards)])
    return lambda: next(answers, None)


@contextmanager
def server_run(
    federation: Federation, app: App, wanted: Plan, observe: Callable[[Tell], None] = lambda _: None
) -> Iterator[ServerRun]:
    """A server that owns every shard for ever."""
    with Admin(federation.bootstrap, settings={}) as admin:
        standing = admin.create_topics(federation.name, SHARDS)

    def open_log(role: str) -> KafkaLog:
        return KafkaLog(federation.bootstrap, federation.name, client_id=role, settings={})

    connections = Connections(federation.name, open_log, always(range(standing)), standing)
    with ServerRun(connections, app, wanted, heartbeat_period_seconds=0.5, observe=observe) as run:
        yield run
