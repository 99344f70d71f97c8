"""Servers that do the same work twice, on purpose or because they slept: the log decides, and nobody is harmed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from fdstream.messages import FederationOpened, Heartbeat, RoundClosed, RoundClosing, ShardResult
from fdstream.topics import table
from tests.cluster import apps
from tests.cluster.expected import SHARDS, expected_hash
from tests.cluster.processes import Federation, hash_of
from tests.cluster.runs import plan, server_run
from tests.cluster.topics import Topics

CLIENTS = ("ada", "bob", "cyd")
ROUNDS = 3
OPTIONS = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)))
INITIAL_SEEDS = {"tests.cluster.apps:app": 0, "tests.cluster.apps:other": 1}


def test_two_coordinators_of_everything_with_two_initial_models(federation: Federation) -> None:
    """Both believe to own every shard all the time, and both have proposed before they read a record."""
    clients = federation.clients(*CLIENTS)
    wanted = plan(num_rounds=ROUNDS)
    with (
        server_run(federation, apps.app, wanted) as one,
        server_run(federation, apps.other, wanted) as two,
        ThreadPoolExecutor(2) as threads,
    ):
        ends = [future.result() for future in [threads.submit(one.run), threads.submit(two.run)]]
    for client in clients:
        assert client.result()["reported"] == ROUNDS + 1
    with Topics(federation) as topics:
        topics.all_entries(table.CONTROL)
        assert len(topics.messages(table.CONTROL, FederationOpened)) == 2
    possible = {expected_hash([CLIENTS] * ROUNDS, seed) for seed in INITIAL_SEEDS.values()}
    assert len({end.model_sha256 for end in ends}) == 1
    assert {end.model_sha256 for end in ends} < possible


def test_a_server_with_another_initial_model_adopts_the_first(federation: Federation) -> None:
    servers = [federation.server(*OPTIONS, app=app) for app in INITIAL_SEEDS]
    federation.clients(*CLIENTS)
    hashes = {hash_of(server) for server in servers}
    assert len(hashes) == 1
    assert hashes < {expected_hash([CLIENTS] * ROUNDS, seed) for seed in INITIAL_SEEDS.values()}


def test_a_server_whose_app_has_another_layout_is_refused_and_the_others_go_on(
    federation: Federation,
) -> None:
    gate = federation.gate()
    for client in CLIENTS:
        federation.client(client, *gate.options())
    first = federation.server(*OPTIONS)
    with Topics(federation) as topics:
        topics.wait_for_round(1)
    code, sentence = federation.server(app="tests.cluster.apps:wider").refusal()
    assert (code, "open with another model" in sentence) == (2, True)
    gate.open(*range(1, ROUNDS + 1))
    assert hash_of(first) == expected_hash([CLIENTS] * ROUNDS)


@pytest.mark.parametrize("stopped_in", ["collecting", "closing"])
def test_a_zombie_that_wakes_rounds_later_does_no_harm(federation: Federation, stopped_in: str) -> None:
    """It sleeps past its session while the others go on, and wakes with an old round in its hands."""
    rounds = 6
    gate = federation.gate()
    federation.clients(*CLIENTS[:-1])
    federation.client(CLIENTS[-1], *gate.options())
    options = ("--numrounds", str(rounds), "--minclients", str(len(CLIENTS)))
    zombie = federation.server(*options)
    zombie.wait_for_shards(SHARDS)
    gate.open(1)
    with Topics(federation) as topics:
        topics.wait_for_reports(2, len(CLIENTS) - 1)
        if stopped_in == "closing":
            gate.open(2)
            topics.wait(table.CONTROL, RoundClosing, lambda closing: closing.round == 2)
        zombie.pause()
        other = federation.server(*options)
        other.wait_for_shards(SHARDS)
        gate.open(2, 3, 4)
        topics.wait_for_reports(5, len(CLIENTS) - 1)
        zombie.resume()
        topics.wait(table.MEMBERS, Heartbeat, lambda beat: (beat.member, beat.round) == (zombie.member, 5))
        gate.open(5, 6)
        assert {hash_of(zombie), hash_of(other)} == {expected_hash([CLIENTS] * rounds)}
        check_copies_agree(topics)


def check_copies_agree(topics: Topics) -> None:
    """Whoever computed a round computed the same: shard digests and RoundClosed do not differ between writers."""
    topics.all_entries(table.SHARDS)
    results = topics.messages(table.SHARDS, ShardResult)
    assert len({(r.round, r.shard, r.model.digest) for r in results}) == len(
        {(r.round, r.shard) for r in results}
    )
    topics.all_entries(table.CONTROL)
    closed = topics.messages(table.CONTROL, RoundClosed)
    assert len({(c.round, c.model_sha256) for c in closed}) == len({c.round for c in closed})
