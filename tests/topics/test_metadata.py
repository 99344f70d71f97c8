"""Looking topics up without creating them."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from fdstream.topics import table
from fdstream.topics.metadata import describe_topics, partition_counts
from tests.topics.conftest import SHARDS


def test_topics_are_counted_and_missing_ones_are_none(kafka: str, federation: str) -> None:
    raw = AdminClient({"bootstrap.servers": kafka})
    control, updates, missing = (
        table.full_name(federation, topic) for topic in (table.CONTROL, table.updates(0), "missing")
    )
    names = [control, updates, missing]
    assert partition_counts(raw, names) == {control: 1, updates: SHARDS, missing: None}
    assert describe_topics(raw, [missing]) == {missing: None}
    assert missing not in raw.list_topics(timeout=10).topics


def test_a_name_that_cannot_be_is_an_error_and_not_a_missing_topic(kafka: str) -> None:
    raw = AdminClient({"bootstrap.servers": kafka})
    with pytest.raises(KafkaException):
        describe_topics(raw, ["no/topic"])
