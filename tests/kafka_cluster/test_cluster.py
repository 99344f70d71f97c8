"""Clusters as a user meets them: real brokers, real processes."""

from __future__ import annotations

from confluent_kafka.admin import AdminClient

from kafka_cluster import Cluster


def test_one_node_answers(kafka: str) -> None:
    metadata = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10)
    assert list(metadata.brokers) == [1]


def test_three_nodes_replicate(kafka3: Cluster) -> None:
    admin = AdminClient({"bootstrap.servers": kafka3.bootstrap})
    topics = admin.list_topics("__consumer_offsets", timeout=10).topics
    assert {len(found.isrs) for found in topics["__consumer_offsets"].partitions.values()} == {3}
