"""A server and its clients over gRPC: what `server.start` and `client.connect` are on Kafka."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from fdstream.app import App
from fdstream.client.connect import identity_of, taking_part
from fdstream.client.connection import Connection
from fdstream.errors import UsageError
from fdstream.events import Tell
from fdstream.grpc.frames import MAX_FRAME_BYTES
from fdstream.grpc.hub import listening
from fdstream.grpc.local import LocalLog
from fdstream.grpc.store import Store
from fdstream.grpc.stream_log import StreamLog
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.messages import ConfigValue
from fdstream.server.run import NOBODY, Connections, Identity, Plan, ServerRun
from fdstream.topics import table

logger = logging.getLogger("fdstream.server")
_HEAD_BYTES = 1024  # of a frame and of the record in it, names included


@contextmanager
def start_server(
    listen: str,
    federation: str,
    app: App,
    plan: Plan,
    *,
    heartbeat_period_seconds: float,
    observe: Callable[[Tell], None],
    identity: Identity = NOBODY,
    instruments: Instruments = UNMEASURED,
) -> Iterator[ServerRun]:
    """The one server of the federation, ready to `run`. Raises `UsageError`, `TransportError`."""
    if plan.chunk_bytes is not None and plan.chunk_bytes + _HEAD_BYTES > MAX_FRAME_BYTES:
        raise UsageError(
            f"chunks of {plan.chunk_bytes} bytes do not fit a frame of {MAX_FRAME_BYTES}: lower --chunk-bytes"
        )
    specs = table.topic_specs(plan.shards)
    store = Store({spec.name: spec.partitions for spec in specs}, time.time)
    connections = Connections(
        federation, lambda _: instruments.log(LocalLog(store)), _every_shard(plan.shards), plan.shards
    )
    writable = {spec.name for spec in specs if spec.writers == "client"}
    with (
        listening(listen, federation, store, writable) as port,
        ServerRun(
            connections,
            app,
            plan,
            heartbeat_period_seconds=heartbeat_period_seconds,
            observe=observe,
            identity=identity,
            instruments=instruments,
        ) as run,
    ):
        logger.info("listening for clients", extra={"port": port, "federation": federation})
        yield run


def _every_shard(shards: int) -> Callable[[], frozenset[int] | None]:
    """There is one server: all is its, from the beginning."""
    answers = iter([frozenset(range(shards))])
    return lambda: next(answers, None)


@contextmanager
def connect(
    server: str,
    federation: str,
    *,
    client_id: str | Sequence[str],
    config: Mapping[str, ConfigValue] | None = None,
    heartbeat_period_seconds: float = 5.0,
    key: str | Path | None = None,
    server_key: str | Path | None = None,
    instruments: Instruments = UNMEASURED,
) -> Iterator[Connection]:
    """Take part through the server at this address. Raises `UsageError`, `TransportError`."""
    clients = [client_id] if isinstance(client_id, str) else list(client_id)
    who = identity_of(federation, key, server_key)
    log, period = StreamLog(server, federation, instruments.hear), heartbeat_period_seconds
    with taking_part(log, clients, config, period, who, instruments) as connection:
        yield connection
