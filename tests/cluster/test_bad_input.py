"""Wrong addresses, paths, settings and functions: one sentence, the right exit code, and the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)

from fdstream.errors import FederationFailedError
from fdstream.messages import FederationFinished, Report, RoundExtended
from fdstream.topics import table
from kafka_cluster.ports import free_ports
from tests.cluster import apps
from tests.cluster.expected import expected_hash
from tests.cluster.processes import Federation, Process, hash_of, wait_until
from tests.cluster.runs import plan, server_run
from tests.cluster.topics import Topics

HONEST = ("ada", "bob")
FAULTS = {
    "raises": "train raised RuntimeError: the sensor is unplugged (at ",
    "shapes": "train returned 'kernel' of shape (2, 2), the model's is (24, 10): return that",
    "examples": "train returned num_examples nan: it must be a whole number",
    "in-place": "the received weights are read-only, copy before changing them",
    "nan": "train returned NaN or infinity in 'bias' (float32)",
    "huge": "the update is infinite or beyond ",
}
ROUNDS = 2


@pytest.fixture(scope="module", autouse=True)
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Process]]:
    """A server and a client that look for a broker where none is; they take half a minute to give up."""
    (port,) = free_ports(1)
    with Federation(f"127.0.0.1:{port}", tmp_path_factory.mktemp("nowhere")) as federation:
        yield [federation.server(), federation.client("ada")]


# Functions of the user's


def test_a_client_whose_function_fails_says_so_and_stays(federation: Federation) -> None:
    """In round 1 all kinds of bad clients fail and the round goes on without them; in round 2 all are there."""
    everyone = (*HONEST, *FAULTS)
    for client in HONEST:
        federation.client(client)
    faulty = {fault: federation.client(fault, "--set", f"fault={fault}") for fault in FAULTS}
    limits = ("--minclients", str(len(HONEST)), "--maxclients", str(len(everyone)))
    server = federation.server("--numrounds", str(ROUNDS), *limits, "--deadline", "6", "--keep-rounds", "all")
    with Topics(federation) as topics:
        failed = topics.wait(table.reports(1), Report, lambda r: r.failure is not None, len(FAULTS))
        told = {report.client: report.failure for report in failed}
        for fault, sentence in FAULTS.items():
            assert sentence in (told[fault] or "")
        hashed = hash_of(server)
        cohorts = topics.cohorts(ROUNDS)
    assert [sorted(cohort) for cohort in cohorts] == [sorted(HONEST), sorted(everyone)]
    assert hashed == expected_hash(cohorts)
    check_faulty_clients(faulty, server)


def check_faulty_clients(faulty: dict[str, Process], server: Process) -> None:
    for fault, client in faulty.items():
        assert client.result()["reported"] + client.result()["failed"] >= ROUNDS + 1, client.log
        assert "Traceback" not in client.log
        assert f"client={fault} outcome=failed" in server.log


# Deadlines


def test_a_round_below_its_minimum_is_extended_until_enough_come(federation: Federation) -> None:
    federation.clients(*HONEST)
    options = ("--numrounds", "1", "--minclients", "3", "--deadline", "0.5")
    server = federation.server(*options)
    with Topics(federation) as topics:
        topics.wait(table.CONTROL, RoundExtended, lambda extended: extended.round == 1, 2)
        federation.client("cyd")
        assert hash_of(server) == expected_hash([(*HONEST, "cyd")])


def test_a_federation_that_never_gets_enough_fails_with_5(federation: Federation) -> None:
    """The server that gives up, and whoever comes later, say why."""
    lonely = federation.client("ada")
    wanted = plan(num_rounds=2, deadline_seconds=0.5, max_extensions=1)
    with (
        server_run(federation, apps.app, wanted) as run,
        pytest.raises(
            FederationFailedError, match=r"round 1 had [01] of 3 clients after its deadline of 0\.5 s"
        ),
    ):
        run.run()
    for process in (lonely, federation.server(), federation.client("bob")):
        code, sentence = process.refusal()
        assert code == 5
        assert "the federation ended early: round 1 had" in sentence
    with Topics(federation) as topics:
        finished = topics.wait(table.CONTROL, FederationFinished, lambda record: record.failed)
        assert finished[0].rounds == 0


# Settings


def test_a_server_that_contradicts_an_open_federation_leaves_it_alone(federation: Federation) -> None:
    gate = federation.gate()
    for client in HONEST:
        federation.client(client, *gate.options())
    server = federation.server("--numrounds", "2")
    with Topics(federation) as topics:
        topics.wait_for_round(1)
    contrary = federation.server("--numrounds", "3")
    code, sentence = contrary.refusal()
    assert (code, "open with --numrounds = 2, not 3" in sentence) == (2, True)
    gate.open(1, 2)
    assert hash_of(server) == expected_hash([HONEST] * 2)


@pytest.mark.parametrize("path", ["tests.cluster.apps:nothing", "tests.cluster.absent:app", "no-colon"])
def test_a_wrong_app_path(federation: Federation, path: str) -> None:
    for process in (federation.server(app=path), federation.client("ada", app=path)):
        code, sentence = process.refusal()
        assert code == 2
        assert path in sentence


# The broker refuses


def lower_record_limit(federation: Federation, topic: str, limit_bytes: int) -> None:
    name = table.full_name(federation.name, topic)
    entry = ConfigEntry("max.message.bytes", str(limit_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": federation.bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result()

    def in_force() -> bool:
        (found,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name)]).values()
        return bool(found.result()["max.message.bytes"].value == str(limit_bytes))

    wait_until(f"the limit of {name} in force", in_force)


def create_topics(federation: Federation) -> None:
    created = federation.run("topics", "topics create")
    assert created.exit_code() == 0, created.log


def test_a_model_chunk_too_large_for_the_broker(federation: Federation) -> None:
    create_topics(federation)
    lower_record_limit(federation, table.model(1), 20_000)
    server = federation.server("--chunk-bytes", "900KiB", app="tests.cluster.apps:larger")
    code, sentence = server.refusal()
    assert code == 4
    assert "too large" in sentence
    assert "--chunk-bytes" in sentence
    assert f"topic {table.full_name(federation.name, table.model(1))} takes records of 20000" in server.log


def test_an_update_chunk_too_large_for_the_broker(federation: Federation) -> None:
    """The client says so and ends; the server waits for others, and goes on when they may write."""
    create_topics(federation)
    lower_record_limit(federation, table.updates(1), 20_000)
    options = ("--chunk-bytes", "900KiB", "--numrounds", "1", "--minclients", "1")
    server = federation.server(*options, app="tests.cluster.apps:larger")
    code, sentence = federation.client("ada").refusal()
    assert code == 4
    assert "too large" in sentence
    lower_record_limit(federation, table.updates(1), 1_000_000)
    federation.client("bob")
    assert server.result()["clients"] == 1


# The disk


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_result_that_finds_the_disk_full_is_one_sentence_and_is_not_lost(federation: Federation) -> None:
    federation.clients(*HONEST)
    options = ("--numrounds", "1", "--minclients", str(len(HONEST)))
    (federation.folder / f"{len(federation.processes)}-server.out").symlink_to("/dev/full")
    code, sentence = federation.server(*options).refusal()
    assert (code, "the disk is full" in sentence) == (1, True)
    assert hash_of(federation.server(*options)) == expected_hash([HONEST])


# Asked for last, as they take longest


def test_a_broker_that_cannot_be_reached(nowhere: list[Process]) -> None:
    for process in nowhere:
        code, sentence = process.refusal()
        assert code == 4
        assert sentence.startswith("Error: no broker answered at 127.0.0.1:")
        assert "Check that Kafka runs there" in sentence


def test_the_model_cannot_be_saved_there(federation: Federation, tmp_path: Path) -> None:
    code, sentence = usage(federation.server("--save", str(tmp_path / "absent" / "model.npz")))
    assert code == 2
    assert "is not a directory that can be written to" in sentence


def usage(process: Process) -> tuple[int, str]:
    """Click's own refusals span lines."""
    code = process.exit_code()
    return code, " ".join(process.log.split())
