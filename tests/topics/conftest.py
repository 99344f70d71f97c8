"""Federations of their own on the shared broker, and logs that close after the test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import pytest

from fdstream.topics.admin import Admin
from fdstream.topics.kafka_log import KafkaLog

SHARDS = 4

OpenLog = Callable[..., KafkaLog]


@pytest.fixture
def name() -> str:
    """A federation's name that no other test uses."""
    return f"test-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def admin(kafka: str) -> Iterator[Admin]:
    with Admin(kafka, settings={}) as admin:
        yield admin


@pytest.fixture
def federation(admin: Admin, name: str) -> str:
    """A federation whose topics exist, with `SHARDS` shards and one slot."""
    admin.create_topics(name, SHARDS, slots=1)
    return name


@pytest.fixture
def open_log(kafka: str, federation: str) -> Iterator[OpenLog]:
    """Opens logs of the federation; keyword arguments are librdkafka settings, with _ for the dots."""
    opened: list[KafkaLog] = []

    def open_one(**settings: str) -> KafkaLog:
        named = {key.replace("_", "."): value for key, value in settings.items()}
        opened.append(KafkaLog(kafka, federation, client_id="test", settings=named))
        return opened[-1]

    yield open_one
    for log in opened:
        log.close()
