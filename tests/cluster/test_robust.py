"""Rules that read the cohort again, on the real broker: two servers, one of which dies, and the oracle's bytes."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.cluster.expected import expected_hash, expected_hash_under
from tests.cluster.processes import Federation, Process, hash_of
from tests.cluster.runs import plan
from tests.cluster.starting import forking
from tests.cluster.topics import Topics
from tests.faults.crowd import Member

CLIENTS = ("ada", "bob", "cyd", "dan", "eve")
ROUNDS = 3
LOST_ROUND = 2  # in which one of the servers dies
RULES = {  # strategy: clip
    "median": 0.0,
    "trimmed-mean:beta=0.2": 0.0,
    "krum:f=1": 0.0,
    "multi-krum:f=1,m=2": 0.0,
    "fedavg": 17.0,  # shorter than some of the updates and longer than others
}


def start(federation: Federation, strategy: str, clip: float) -> tuple[Process, Process]:
    """Two servers and five clients, the last of whom waits in the round that loses a server."""
    gate = federation.gate()
    gate.open(*(number for number in range(1, ROUNDS + 1) if number != LOST_ROUND))
    Member(federation, CLIENTS[:-1], {}, {})
    Member(federation, CLIENTS[-1:], {"gate": str(gate.folder)}, {})
    options = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)), "--strategy", strategy)
    servers = [federation.server(*options, "--clip", str(clip)) for _ in range(2)]
    return servers[0], servers[1]


def lose_one(federation: Federation, server: Process) -> None:
    """When all but one have reported; then the last one reports too."""
    with Topics(federation) as topics:
        topics.wait_for_reports(LOST_ROUND, len(CLIENTS) - 1)
        server.kill()
        (federation.folder / "gate" / str(LOST_ROUND)).touch()


def test_every_rule_ends_with_the_oracles_bytes_though_a_server_dies(kafka: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        federations = {
            rule: stack.enter_context(Federation(kafka, tmp_path, start=forking())) for rule in RULES
        }
        servers = {rule: start(federation, rule, RULES[rule]) for rule, federation in federations.items()}
        for rule, federation in federations.items():
            lose_one(federation, servers[rule][0])
        ended = {rule: hash_of(survivor) for rule, (_, survivor) in servers.items()}
    cohorts = [CLIENTS] * ROUNDS
    wanted = {rule: plan(strategy=rule, clip=clip).settings for rule, clip in RULES.items()}
    assert ended == {rule: expected_hash_under(settings, cohorts) for rule, settings in wanted.items()}
    assert len({*ended.values(), expected_hash(cohorts)}) == len(RULES) + 1, "the rules give different models"
