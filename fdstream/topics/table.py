"""The topics of a federation: names, partitions, the ring of round topics, and what each needs of the broker.

Pure: knows no broker and no client library. Names here are without the federation's prefix; `full_name` adds it.
"""

from __future__ import annotations

from dataclasses import dataclass

from fdstream.messages import (
    FederationFinished,
    FederationOpened,
    GlobalEvaluated,
    Heartbeat,
    ModelChunk,
    Rejected,
    Report,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    ShardResult,
    ShardVerdict,
    UpdateChunk,
)

PREFIX = "fdstream"
CONTROL = "control"
MEMBERS = "members"
SHARDS = "shards"
REJECTED = "rejected"
SLOTS = 2
DEFAULT_SHARDS = 4
RECORD_BYTES = 1_000_000  # librdkafka's default message.max.bytes, the smallest limit on the way


def model(slot: int) -> str:
    """The topic that carries the chunks of the model of every round with this slot."""
    return f"round-{slot}.model"


def state(slot: int) -> str:
    """The topic that carries the strategy's state beside the model, for servers alone."""
    return f"round-{slot}.state"


def updates(slot: int) -> str:
    """The topic that carries the clients' update chunks."""
    return f"round-{slot}.updates"


def reports(slot: int) -> str:
    """The topic that carries the clients' reports."""
    return f"round-{slot}.reports"


_RECORDS: dict[str, frozenset[type]] = {
    CONTROL: frozenset(
        {
            FederationOpened,
            RoundOpened,
            RoundExtended,
            RoundClosing,
            RoundClosed,
            GlobalEvaluated,
            FederationFinished,
        }
    ),
    MEMBERS: frozenset({Heartbeat}),
    SHARDS: frozenset({ShardVerdict, ShardResult}),
    REJECTED: frozenset({Rejected}),
    "model": frozenset({ModelChunk}),
    "state": frozenset({ModelChunk}),
    "updates": frozenset({UpdateChunk}),
    "reports": frozenset({Report}),
}


def kind(topic: str) -> str:
    """What a topic is for, whatever its slot: `control`, `members`, `model`, `updates` …"""
    return topic.rpartition(".")[2]


def records(topic: str) -> frozenset[type]:
    """The record classes that a topic carries; others in it are refused unread."""
    return _RECORDS[kind(topic)]


def slot_of(round_number: int, slots: int) -> int:
    """The ring: round r uses the topics of slot r modulo S."""
    return round_number % slots


def full_name(federation: str, topic: str) -> str:
    """The topic's name on the broker."""
    return f"{PREFIX}.{federation}.{topic}"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One standing topic: who writes it (for access rules) and the settings its role asks for."""

    name: str
    partitions: int
    writers: str  # "server" or "client"
    readers: tuple[str, ...]  # of "server", "client", "viewer"
    settings: dict[str, str]


_KEEP = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_STAMPED = {"message.timestamp.type": "LogAppendTime"}
_BULK = {"segment.bytes": str(64 * 1024 * 1024), "compression.type": "producer"}
_MEMBERS_RETENTION_MS = 3_600_000


def topic_specs(shards: int, slots: int = SLOTS) -> tuple[TopicSpec, ...]:
    """Every topic of a federation with P = `shards` and S = `slots`."""
    both, seen = ("server", "client"), ("server", "viewer")
    kept = _KEEP | _STAMPED
    standing = (
        TopicSpec(CONTROL, 1, "server", (*both, "viewer"), kept),
        TopicSpec(MEMBERS, 1, "client", seen, _STAMPED | {"retention.ms": str(_MEMBERS_RETENTION_MS)}),
        TopicSpec(SHARDS, shards, "server", seen, kept),
        TopicSpec(REJECTED, 1, "server", ("viewer",), _STAMPED),
    )
    ring = tuple(
        spec
        for slot in range(slots)
        for spec in (
            TopicSpec(model(slot), shards, "server", both, kept | _BULK),
            TopicSpec(state(slot), shards, "server", ("server",), kept | _BULK),
            TopicSpec(updates(slot), shards, "client", ("server",), kept | _BULK),
            TopicSpec(reports(slot), 1, "client", seen, kept | _BULK),
        )
    )
    return standing + ring


def used_by(role: str, slots: int = SLOTS) -> list[str]:
    """The topics that a "server" (all of them), a "client" or a "viewer" reads or writes, and may look up."""
    specs = topic_specs(1, slots)
    return [spec.name for spec in specs if role == "server" or role in (spec.writers, *spec.readers)]
