"""Judges a topic's settings by what the guarantees need, and says what to change. Pure.

Source: Kafka's topic settings (https://kafka.apache.org/documentation/#topicconfigs). Values are the
effective ones, defaults included, as DescribeConfigs returns them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fdstream.topics import table

Settings = Mapping[str, str]

NOT_ALLOWED = (
    "the topics' settings could not be checked: grant the servers DescribeConfigs on the federation's "
    "topics, as `fdstream topics acls` prints"
)
LONG_ENOUGH_MS = 7 * 24 * 3_600_000


def findings(topic: str, spec: table.TopicSpec, settings: Settings, replicas: int, brokers: int) -> list[str]:
    """Sentences on what threatens the guarantees in one topic; `topic` is its name on the broker."""
    if spec.settings.get("retention.ms") != "-1":
        return []  # members, rejected: nothing that decides a round reads them
    return [
        *_on_deletion(topic, spec, settings),
        *_on_time(topic, settings),
        *_on_replicas(topic, settings, replicas, brokers),
        *_on_size(topic, settings),
    ]


def _set(topic: str, name: str, value: str) -> str:
    command = (
        f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {name}={value}"
    )
    return f"Set it with {command}"


def _on_deletion(topic: str, spec: table.TopicSpec, settings: Settings) -> Iterator[str]:
    if settings.get("cleanup.policy", "delete") != "delete":
        yield (
            f"topic {topic} has cleanup.policy={settings['cleanup.policy']}: compaction removes records. "
            + _set(topic, "cleanup.policy", "delete")
        )
    for name in ("retention.ms", "retention.bytes"):
        value = settings.get(name, "-1")
        if value != "-1" and not _may_expire(spec, name, int(value)):
            yield (
                f"topic {topic} has {name}={value}: the broker deletes records that a restart needs. "
                + _set(topic, name, "-1")
            )


def _may_expire(spec: table.TopicSpec, name: str, value: int) -> bool:
    """Round topics may lose what is a week old: where deleting is not granted, retention has to do it."""
    is_round_topic = spec.name not in (table.CONTROL, table.SHARDS)
    return is_round_topic and name == "retention.ms" and value >= LONG_ENOUGH_MS


def _on_time(topic: str, settings: Settings) -> Iterator[str]:
    if settings.get("message.timestamp.type") != "LogAppendTime":
        yield (
            f"topic {topic} keeps the writers' timestamps: deadlines would depend on the writers' clocks. "
            + _set(topic, "message.timestamp.type", "LogAppendTime")
        )


def _on_replicas(topic: str, settings: Settings, replicas: int, brokers: int) -> Iterator[str]:
    in_sync = int(settings.get("min.insync.replicas", "1"))
    if settings.get("unclean.leader.election.enable") == "true":
        yield (
            f"topic {topic} has unclean.leader.election.enable=true: acknowledged records can be lost. "
            + _set(topic, "unclean.leader.election.enable", "false")
        )
    if replicas >= 3 and in_sync < 2:
        yield (
            f"topic {topic} has min.insync.replicas={in_sync} with {replicas} replicas: a broker's loss can "
            "lose acknowledged records. " + _set(topic, "min.insync.replicas", "2")
        )
    if in_sync > replicas:
        yield (
            f"topic {topic} has min.insync.replicas={in_sync} with {replicas} replicas: it takes no records. "
            + _set(topic, "min.insync.replicas", str(replicas))
        )
    if replicas < min(3, brokers):
        yield (
            f"topic {topic} has {replicas} replicas on {brokers} brokers: a broker's loss can lose it. "
            "Raise it to 3 with kafka-reassign-partitions.sh"
        )


def _on_size(topic: str, settings: Settings) -> Iterator[str]:
    limit = int(settings.get("max.message.bytes", table.RECORD_BYTES))
    if limit < table.RECORD_BYTES:
        yield (
            f"topic {topic} takes records of {limit} bytes at most, chunks need {table.RECORD_BYTES}. "
            + _set(topic, "max.message.bytes", str(table.RECORD_BYTES))
            + ", or use smaller chunks with --chunk-bytes"
        )
