"""SIGKILL of servers in every state: the federation ends with the bytes of an undisturbed one.

One client is held inside its train function in every round until the test lets it go, so that no round can end
before the test has done what it wants to do in it.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from fdstream.messages import Report, RoundClosed, RoundOpened
from fdstream.topics import table
from tests.cluster.expected import SHARDS, expected_hash
from tests.cluster.processes import Federation, Gate, Process, hash_of, wait_until
from tests.cluster.topics import Topics

CLIENTS = ("ada", "bob", "cyd")
ROUNDS = 5
OPTIONS = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)))
RECORDS_AFTER_A_REPORT = 3 + 2 * SHARDS  # closing, closed, opened; a verdict and a result of each shard


def start_clients(federation: Federation) -> Gate:
    """Three clients, the last behind a gate in every round."""
    gate = federation.gate()
    federation.clients(*CLIENTS[:-1])
    federation.client(CLIENTS[-1], *gate.options())
    return gate


class Executioner:
    """Kills a random one of the servers and starts another in its place."""

    def __init__(self, federation: Federation, servers: int, seed: int, options: tuple[str, ...]) -> None:
        self.random = Random(seed)
        self.servers: list[Process] = []
        self._federation = federation
        self._options = options
        for _ in range(servers):
            self._start()

    def _start(self) -> None:
        self.servers.append(self._federation.server(*self._options))

    def strike(self) -> None:
        victim = self.servers.pop(self.random.randrange(len(self.servers)))
        assert victim.running, f"{victim.name} was already gone:\n{victim.log}"
        victim.kill()
        self._start()

    def hashes(self) -> set[str]:
        return {hash_of(server) for server in self.servers}


def num_records(topics: Topics) -> int:
    return len(topics.entries(table.CONTROL)) + len(topics.entries(table.SHARDS))


@pytest.mark.parametrize("seed", [1, 2])
def test_three_servers_killed_at_random_end_like_one(federation: Federation, seed: int) -> None:
    """One while clients train in round 2; two when a random number of the records that end a round is there."""
    gate = start_clients(federation)
    gate.open(1)
    executioner = Executioner(federation, 3, seed, OPTIONS)
    with Topics(federation) as topics:
        topics.wait_for_reports(2, len(CLIENTS) - 1)
        executioner.strike()
        for number in (2, 3):
            topics.wait_for_reports(number, len(CLIENTS) - 1)
            enough = num_records(topics) + executioner.random.randrange(RECORDS_AFTER_A_REPORT)
            gate.open(number)
            wait_until(f"{enough} records", lambda e=enough: num_records(topics) >= e or None)  # type: ignore[misc]
            executioner.strike()
    gate.open(*range(4, ROUNDS + 1))
    assert executioner.hashes() == {expected_hash([CLIENTS] * ROUNDS)}


def test_all_servers_killed_and_one_started_again_resumes(federation: Federation) -> None:
    gate = start_clients(federation)
    gate.open(1)
    servers = [federation.server(*OPTIONS, "--keep-rounds", "all") for _ in range(2)]
    with Topics(federation) as topics:
        topics.wait_for_reports(2, len(CLIENTS) - 1)
        for server in servers:
            server.kill()
        gate.open(*range(2, ROUNDS + 1))
        topics.wait_for_reports(2, len(CLIENTS))  # the log takes it with no server there
        again = federation.server()
        assert hash_of(again) == expected_hash([CLIENTS] * ROUNDS)
        check_no_round_was_restarted(topics)


def check_no_round_was_restarted(topics: Topics) -> None:
    """Every round was opened and closed, and every client reported once in the one that lost its servers."""
    topics.all_entries(table.CONTROL)
    opened = topics.messages(table.CONTROL, RoundOpened)
    closed = topics.messages(table.CONTROL, RoundClosed)
    assert {record.round for record in opened} == {record.round for record in closed}
    assert {record.round for record in opened} == set(range(1, ROUNDS + 2))
    topic = table.reports(table.slot_of(2, table.SLOTS))
    topics.all_entries(topic)
    told = Counter(report.client for report in topics.messages(topic, Report) if report.round == 2)
    assert told == dict.fromkeys(CLIENTS, 1)


def test_a_single_server_killed_twice_a_round_ends_with_the_same_bytes(federation: Federation) -> None:
    """Once while it collects, once as soon as the round is closed and the next in its hands."""
    gate = start_clients(federation)
    executioner = Executioner(federation, 1, 0, OPTIONS)
    with Topics(federation) as topics:
        for number in (1, 2):
            topics.wait_for_round(number)
            executioner.strike()
            gate.open(number)
            topics.wait_for_closed(number)
            executioner.strike()
    gate.open(*range(3, ROUNDS + 1))
    assert executioner.hashes() == {expected_hash([CLIENTS] * ROUNDS)}


@pytest.mark.parametrize("strategy", ["fedadam:lr=0.1", "fedavgm:momentum=0.9"])
def test_the_state_of_a_strategy_survives_its_server(
    kafka: str, federation: Federation, strategy: str
) -> None:
    options = (*OPTIONS, "--strategy", strategy)
    with Federation(kafka, federation.folder) as undisturbed:
        undisturbed.clients(*CLIENTS)
        alone = undisturbed.server(*options)
        gate = start_clients(federation)
        gate.open(1)
        executioner = Executioner(federation, 2, 3, options)
        with Topics(federation) as topics:
            for number in (2, 4):
                topics.wait_for_reports(number, len(CLIENTS) - 1)
                executioner.strike()
                gate.open(number, number + 1)
        assert executioner.hashes() == {hash_of(alone)}
        assert hash_of(alone) != expected_hash([CLIENTS] * ROUNDS), (
            "fedavg and this strategy are not the same"
        )
