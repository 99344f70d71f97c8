"""Ownership by consumer group: every shard has one owner, and the dead lose theirs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from fdstream.errors import TransportError, UsageError
from fdstream.topics import ownership, table
from fdstream.topics.kafka_log import KafkaLog
from fdstream.topics.ownership import GroupOwnership, group_name
from tests.topics.conftest import SHARDS

DEADLINE_SECONDS = 60.0
QUICK = {"heartbeat.interval.ms": "200", "session.timeout.ms": "2000"}
ALL = frozenset(range(SHARDS))

MEMBER = """
import sys, time
from fdstream.topics.ownership import GroupOwnership
bootstrap, federation = sys.argv[1:]
quick = {"heartbeat.interval.ms": "200", "session.timeout.ms": "2000"}
ownership = GroupOwnership(bootstrap, federation, client_id="doomed", settings=quick)
while True:
    if ownership.poll():
        print("owns", flush=True)
    time.sleep(0.02)
"""


class _Group:
    """Members of one group, with the shards each of them was last told."""

    def __init__(self, bootstrap: str, federation: str) -> None:
        self.bootstrap, self.federation = bootstrap, federation
        self.owned: dict[GroupOwnership, frozenset[int] | None] = {}

    def join(self) -> GroupOwnership:
        member = GroupOwnership(self.bootstrap, self.federation, client_id="test", settings=QUICK)
        self.owned[member] = None
        return member

    def leave(self, member: GroupOwnership) -> None:
        member.close()
        del self.owned[member]

    def shares(self) -> list[int]:
        return sorted(-1 if shards is None else len(shards) for shards in self.owned.values())

    def is_shared(self, *sizes: int) -> bool:
        """Whether the members own these many shards each, and together every shard."""
        owned = [shards for shards in self.owned.values() if shards]
        return self.shares() == sorted(sizes) and frozenset().union(*owned) == ALL

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.owned
            for member in self.owned:
                shards = member.poll()
                if shards is not None:
                    assert shards != self.owned[member]
                    self.owned[member] = shards
            time.sleep(0.01)


@pytest.fixture
def group(kafka: str, federation: str) -> Iterator[_Group]:
    group = _Group(kafka, federation)
    yield group
    for member in group.owned:
        member.close()


def test_shards_are_shared_evenly_as_members_come_and_go(group: _Group) -> None:
    first = group.join()
    group.wait(lambda: group.is_shared(4))
    second = group.join()
    group.wait(lambda: group.is_shared(2, 2))
    third = group.join()
    group.wait(lambda: group.is_shared(1, 1, 2))
    group.leave(second)
    group.wait(lambda: group.is_shared(2, 2))
    group.leave(first)
    group.wait(lambda: group.owned[third] == ALL)


def test_a_member_beyond_the_number_of_shards_owns_none_and_knows_it(group: _Group) -> None:
    for _ in range(SHARDS + 1):
        group.join()
    group.wait(lambda: group.is_shared(0, 1, 1, 1, 1))


def test_a_join_moves_only_the_shards_it_must(group: _Group) -> None:
    first = group.join()
    group.wait(lambda: group.is_shared(4))
    group.join()
    group.wait(lambda: group.is_shared(2, 2))
    kept = group.owned[first]
    group.join()
    group.wait(lambda: group.is_shared(1, 1, 2))
    now = group.owned[first]
    assert kept is not None
    assert now is not None
    assert now <= kept


def test_a_killed_members_shards_move_on(group: _Group) -> None:
    group.join()
    group.wait(lambda: group.is_shared(4))
    arguments = [sys.executable, "-c", MEMBER, group.bootstrap, group.federation]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as doomed:
        assert doomed.stdout is not None
        group.wait(lambda: group.shares() == [2])
        assert doomed.stdout.readline() == "owns\n"
        doomed.send_signal(signal.SIGKILL)
    group.wait(lambda: group.is_shared(4))


def test_a_member_that_does_not_poll_for_long_stays(kafka: str, federation: str, group: _Group) -> None:
    """A server that folds for minutes must not be expelled: the session lasts 2 s here."""
    silent = GroupOwnership(kafka, federation, client_id="silent", settings=QUICK)
    group.join()
    group.wait(lambda: group.is_shared(2) or group.shares() == [2])
    before = dict(group.owned)
    deadline = time.monotonic() + 3.0
    group.wait(lambda: time.monotonic() > deadline)
    assert group.owned == before
    assert silent.poll() == ALL - next(shards for shards in before.values() if shards is not None)
    silent.close()


def test_nothing_is_read_or_committed_through_the_group(group: _Group) -> None:
    log = KafkaLog(group.bootstrap, group.federation, client_id="test", settings={})
    for shard in range(SHARDS):
        log.append(table.SHARDS, shard, b"verdict")
    log.flush()
    log.close()
    group.join()
    group.wait(lambda: group.is_shared(4))
    raw = AdminClient({"bootstrap.servers": group.bootstrap})
    name = group_name(group.federation)
    description = raw.describe_consumer_groups([name], request_timeout=10)[name].result()
    assert len(description.members) == 1
    assert list(_committed(raw, name)) == []


def _committed(raw: AdminClient, group: str) -> Iterator[int]:
    request = ConsumerGroupTopicPartitions(group)
    found = raw.list_consumer_group_offsets([request], request_timeout=10)[group].result()
    yield from (place.offset for place in found.topic_partitions)


def test_a_group_that_speaks_another_protocol_is_an_error(kafka: str, federation: str) -> None:
    with pytest.raises(UsageError, match=r"'group\.protocol' cannot be changed"):
        GroupOwnership(kafka, federation, client_id="test", settings={"group.protocol": "consumer"})


def _poll_for_ever(ownership: GroupOwnership) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while time.monotonic() < deadline:
        ownership.poll()
        time.sleep(0.01)


def test_a_session_the_broker_does_not_allow_is_an_error(kafka: str, federation: str) -> None:
    settings = {"session.timeout.ms": "100", "heartbeat.interval.ms": "50"}
    with (
        GroupOwnership(kafka, federation, client_id="test", settings=settings) as ownership,
        pytest.raises(TransportError, match=r"session\.timeout\.ms"),
    ):
        _poll_for_ever(ownership)


def test_a_stranger_in_the_group_is_an_error(kafka: str, federation: str) -> None:
    name = group_name(federation)
    settings = {"bootstrap.servers": kafka, "group.id": name, "partition.assignment.strategy": "range"}
    stranger = Consumer(settings)
    stranger.subscribe([table.full_name(federation, table.SHARDS)])
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not stranger.assignment():
        assert time.monotonic() < deadline
        stranger.poll(0.05)
    with (
        GroupOwnership(kafka, federation, client_id="test", settings=QUICK) as ownership,
        pytest.raises(TransportError, match="Is something else in the servers' consumer group"),
    ):
        _poll_for_ever(ownership)
    stranger.close()


def test_a_member_that_has_lost_its_brokers_joins_anew(
    group: _Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = group.join()
    group.wait(lambda: group.owned[member] == ALL)
    monkeypatch.setattr(ownership, "answers", lambda *_: False)
    monkeypatch.setattr(ownership, "LOST_SECONDS", 0.5)
    group.wait(lambda: group.owned[member] == frozenset())
    monkeypatch.setattr(ownership, "LOST_SECONDS", 60.0)  # joining takes what it takes
    group.wait(lambda: group.owned[member] == ALL)


def test_a_member_that_is_given_no_shards_again_after_it_lost_them_joins_anew(
    group: _Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = group.join()
    group.wait(lambda: group.owned[member] == ALL)
    member._awaits_shards = True  # as after a session that was lost
    monkeypatch.setattr(ownership, "LOST_SECONDS", 0.5)
    group.wait(lambda: group.owned[member] == frozenset())
    monkeypatch.setattr(ownership, "LOST_SECONDS", 60.0)
    group.wait(lambda: group.owned[member] == ALL)
