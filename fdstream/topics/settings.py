"""librdkafka settings of every handle: defaults, what a user may change, and what the guarantees rest on.

Pure dictionaries: knows no broker and creates no handle. Property names are those of librdkafka's
CONFIGURATION.md; values are strings, as on the command line (`--kafka key=value`).
"""

from __future__ import annotations

from collections.abc import Mapping

from fdstream.errors import UsageError

Settings = Mapping[str, str]

TAIL_WAIT_MS = 500
BURST_WAIT_MS = 10
SHARED_LINGER_MS = 5  # Kafka's own default
# Who only looks: all that came within this time, or so much, in one answer. It is how late it is seen, too.
CALM_WAIT_MS = 250
CALM_BYTES = 2 * 1024 * 1024

_SHARED = {
    "socket.keepalive.enable": "true",
    "reconnect.backoff.max.ms": "2000",
}

_PRODUCER = {
    "compression.type": "none",
    "queue.buffering.max.kbytes": str(16 * 1024),
    # A record waits out any outage in the bounded queue, as a reader does; what gives up is the caller.
    "message.timeout.ms": "0",
}
_PRODUCER_FIXED = {"acks": "all", "enable.idempotence": "true"}

_READER = {
    "fetch.queue.backoff.ms": "2",
    "fetch.error.backoff.ms": "50",
    # Larger buffers read no faster here; with them a server's memory would grow with its clients.
    "queued.max.messages.kbytes": str(2 * 1024),
    "fetch.max.bytes": str(2 * 1024 * 1024),
    "max.partition.fetch.bytes": str(2 * 1024 * 1024),
}
_READER_FIXED = {
    "auto.offset.reset": "error",
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    # librdkafka's default is read_committed, with which anybody's open transaction hides what follows it.
    "isolation.level": "read_uncommitted",
    "enable.partition.eof": "true",
}

_MEMBER = {
    "session.timeout.ms": "6000",
    # A member hears of a rebalance with its next heartbeat, and a rebalance takes two.
    "heartbeat.interval.ms": "1000",
}
_MEMBER_FIXED = {
    "group.protocol": "classic",
    "partition.assignment.strategy": "cooperative-sticky",
    "auto.offset.reset": "error",
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
}

_NOT_FOR_USERS = {
    "bootstrap.servers": "give the brokers with --broker",
    "metadata.broker.list": "give the brokers with --broker",
    "group.id": "it follows from the federation's name",
    "group.instance.id": "a member that is gone must lose its shards",
    "transactional.id": "no transactions are used",
    "log.queue": "librdkafka's lines go to the logger fdstream.librdkafka",
    "delivery.report.only.error": "the protocol waits for acknowledgements",
}
_ALIASES = ("request.required.acks", "auto.commit.enable")


def check_settings(settings: Settings) -> None:
    """Refuse a user's settings that the guarantees rest on. Errors: UsageError naming the property."""
    for name in settings:
        if reason := _NOT_FOR_USERS.get(name):
            raise UsageError(f"the Kafka setting {name!r} cannot be changed: {reason}. Remove it.")
        if name in _PRODUCER_FIXED | _READER_FIXED | _MEMBER_FIXED or name in _ALIASES:
            raise UsageError(
                f"the Kafka setting {name!r} cannot be changed: exactness rests on it. Remove it."
            )
        if name.endswith("_cb"):
            raise UsageError(f"the Kafka setting {name!r} is a callback, not a value. Remove it.")


def _shared(bootstrap: str, client_id: str, user: Settings) -> dict[str, str]:
    check_settings(user)
    return _SHARED | {"bootstrap.servers": bootstrap, "client.id": client_id}


def producer_settings(bootstrap: str, client_id: str, user: Settings, linger_ms: int = 0) -> dict[str, str]:
    """For the one producer of a log; a record waits `linger_ms` for others to share a request. Errors: UsageError."""
    linger = {"linger.ms": str(linger_ms)}
    return _shared(bootstrap, client_id, user) | _PRODUCER | linger | dict(user) | _PRODUCER_FIXED


def reader_settings(
    bootstrap: str, client_id: str, user: Settings, wait_ms: int, enough_bytes: int = 1
) -> dict[str, str]:
    """For a consumer with manual assignment; a fetch lies at the broker for `wait_ms` or until there is enough.

    A consumer has one fetch at a time under way to each broker, and a newly followed partition waits for it.
    """
    wait = {"fetch.wait.max.ms": str(wait_ms), "fetch.min.bytes": str(enough_bytes)}
    name = {"group.id": "fdstream.reader"}
    return _shared(bootstrap, client_id, user) | name | _READER | wait | dict(user) | _READER_FIXED


def member_settings(bootstrap: str, client_id: str, user: Settings, group: str) -> dict[str, str]:
    """For the consumer whose group assignment is shard ownership. Errors: UsageError."""
    shared = _shared(bootstrap, client_id, user) | {"group.id": group}
    return shared | _MEMBER | dict(user) | _MEMBER_FIXED


def admin_settings(bootstrap: str, client_id: str, user: Settings) -> dict[str, str]:
    """For administration and offsets. Errors: UsageError."""
    return _shared(bootstrap, client_id, user) | dict(user)
