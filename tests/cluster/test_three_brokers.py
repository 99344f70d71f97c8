"""A cluster of three nodes: one dies while a federation runs, and nobody notices but in the log."""

from __future__ import annotations

from pathlib import Path

import pytest

from kafka_cluster import Cluster
from tests.cluster.expected import expected_hash
from tests.cluster.processes import Federation, hash_of
from tests.cluster.topics import Topics

CLIENTS = ("ada", "bob", "cyd")
ROUNDS = 4
GATED_ROUND = 2
OPTIONS = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)))


@pytest.mark.parametrize("node", [0])
def test_a_federation_outlives_a_broker(kafka3: Cluster, tmp_path: Path, node: int) -> None:
    """Killed in the middle of a round: what was acknowledged is there, the rest is sent again."""
    with Federation(kafka3.bootstrap, tmp_path) as federation:
        gate = federation.gate()
        gate.open(*(number for number in range(1, ROUNDS + 1) if number != GATED_ROUND))
        clients = federation.clients(*CLIENTS[:-1])
        clients.append(federation.client(CLIENTS[-1], *gate.options()))
        servers = [federation.server(*OPTIONS) for _ in range(2)]
        with Topics(federation) as topics:
            topics.wait_for_reports(GATED_ROUND, len(CLIENTS) - 1)
            kafka3.kill_node(node)
            gate.open(GATED_ROUND)
            assert {hash_of(server) for server in servers} == {expected_hash([CLIENTS] * ROUNDS)}
        assert [client.result()["failed"] for client in clients] == [0] * len(CLIENTS)
