"""Questions to the cluster about topics that change nothing and create nothing. Knows no federation."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

from confluent_kafka import KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, TopicDescription  # type: ignore[attr-defined]

from fdstream.topics.handles import UNKNOWN

REQUEST_TIMEOUT_SECONDS = 10.0


def ask_for_topics(admin: AdminClient, names: Sequence[str]) -> dict[str, Future[TopicDescription]]:
    """Each topic's description, once it comes.

    Unlike metadata requests of other kinds this one never creates a topic, whatever the broker's settings.
    """
    futures: dict[str, Future[TopicDescription]] = admin.describe_topics(
        TopicCollection(list(names)), request_timeout=REQUEST_TIMEOUT_SECONDS
    )
    return futures


def describe_topics(admin: AdminClient, names: Sequence[str]) -> dict[str, TopicDescription | None]:
    """Each topic's description, None where there is no such topic. Errors: KafkaException."""
    found: dict[str, TopicDescription | None] = {}
    for name, future in ask_for_topics(admin, names).items():
        try:
            found[name] = future.result()
        except KafkaException as error:
            if error.args[0].code() not in UNKNOWN:
                raise
            found[name] = None
    return found


def partition_counts(admin: AdminClient, names: Sequence[str]) -> dict[str, int | None]:
    """How many partitions each topic has, None where there is no such topic. Errors: KafkaException."""
    described = describe_topics(admin, names)
    return {name: None if topic is None else len(topic.partitions) for name, topic in described.items()}
