"""Servers that share the shards, and members that come early, late or twice."""

from __future__ import annotations

from fdstream.messages import Heartbeat
from fdstream.topics import table
from tests.cluster.expected import SHARDS, expected_hash
from tests.cluster.processes import Federation, Process, hash_of, wait_until
from tests.cluster.topics import Topics

CLIENTS = ("ada", "bob", "cyd")
ROUNDS = 3
OPTIONS = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)))


def shared_out(servers: list[Process]) -> bool | None:
    """Whether each shard has one owner, as the group says."""
    shards = sorted(shard for server in servers for shard in server.shards or ())
    return shards == list(range(SHARDS)) or None


def beating_shards(topics: Topics, round_number: int) -> dict[str, set[int]]:
    """What each server says it works on, in its last heartbeat of the round."""
    beats = topics.messages(table.MEMBERS, Heartbeat)
    return {
        beat.member: {int(shard) for shard in beat.profile["shards"].split()}
        for beat in beats
        if beat.role == "server" and beat.round == round_number
    }


def test_a_second_server_takes_over_half_of_the_shards(federation: Federation) -> None:
    """No client is waiting. In the round after, each server works on its half alone."""
    first = federation.server(*OPTIONS)
    first.wait_for_shards(SHARDS)
    second = federation.server(*OPTIONS)
    second.wait_for_shards(SHARDS // 2)
    first.wait_for_shards(SHARDS // 2)
    assert shared_out([first, second])
    gate = federation.gate()
    gate.open(1, 3)
    for client in CLIENTS:
        federation.client(client, *gate.options())
    with Topics(federation) as topics:
        halves = wait_until("heartbeats in round 2", lambda: two_halves(topics) or None)
        assert [len(half) for half in halves] == [2, 2]
        assert set.union(*halves) == set(range(SHARDS))
    gate.open(2)
    assert {hash_of(first), hash_of(second)} == {expected_hash([CLIENTS] * ROUNDS)}


def two_halves(topics: Topics) -> list[set[int]]:
    """The shards of both servers in round 2, once both have said what they are."""
    topics.entries(table.MEMBERS)
    said = [shards for shards in beating_shards(topics, 2).values() if shards]
    return said if len(said) == 2 else []


def test_servers_and_clients_may_start_in_any_order(federation: Federation) -> None:
    """Clients before the topics exist, then three servers at once."""
    clients = federation.clients(*CLIENTS)
    for client in clients:
        client.wait_for_line(f"waiting for a server to open federation '{federation.name}'")
    servers = [federation.server(*OPTIONS) for _ in range(3)]
    assert {hash_of(server) for server in servers} == {expected_hash([CLIENTS] * ROUNDS)}
    assert [client.result()["reported"] for client in clients] == [ROUNDS + 1] * len(CLIENTS)


def test_a_server_that_leaves_in_order_hands_its_shards_over(federation: Federation) -> None:
    gate = federation.gate()
    first, second = federation.server(*OPTIONS), federation.server(*OPTIONS)
    for client in CLIENTS:
        federation.client(client, *gate.options())
    wait_until("two halves", lambda: (shared_out([first, second]) and first.shards and second.shards) or None)
    with Topics(federation) as topics:
        topics.wait_for_round(1)
    first.interrupt()
    assert first.exit_code() == 130, first.log
    assert first.log.splitlines()[-1] == "stopped by Ctrl-C"
    second.wait_for_shards(SHARDS)
    gate.open(*range(1, ROUNDS + 1))
    assert hash_of(second) == expected_hash([CLIENTS] * ROUNDS)


def test_a_client_that_comes_in_round_2_takes_a_place(federation: Federation) -> None:
    """Two make a round. When one of them does not come back in round 2, the newcomer makes it whole."""
    gate = federation.gate()
    gate.open(1)
    ada, bob = federation.client("ada"), federation.client("bob", *gate.options())
    server = federation.server("--numrounds", str(ROUNDS), "--minclients", "2", "--keep-rounds", "all")
    with Topics(federation) as topics:
        topics.wait_for_reports(2, 1)
        cyd = federation.client("cyd")
        topics.wait_for_closed(2)
        gate.open(2, 3)
        for process in (server, ada, bob, cyd):
            process.result()
        cohorts = topics.cohorts(ROUNDS)
    assert [sorted(cohort) for cohort in cohorts[:2]] == [["ada", "bob"], ["ada", "cyd"]]
    assert hash_of(server) == expected_hash(cohorts)


def test_a_client_killed_in_a_round_comes_back_under_its_name(federation: Federation) -> None:
    gate = federation.gate()
    gate.open(1)
    federation.clients(*CLIENTS[:-1])
    doomed = federation.client(CLIENTS[-1], *gate.options())
    server = federation.server(*OPTIONS)
    with Topics(federation) as topics:
        topics.wait_for_reports(2, len(CLIENTS) - 1)
    doomed.kill()
    again = federation.client(CLIENTS[-1])
    assert again.result()["reported"] == ROUNDS  # rounds 2 and 3, and the final evaluation
    assert hash_of(server) == expected_hash([CLIENTS] * ROUNDS)
