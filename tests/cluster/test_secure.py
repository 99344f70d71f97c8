"""A secured cluster: federations over TLS with sign-in and with certificates, and everything else refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from fdstream.topics import access, granting, table
from fdstream.topics.settings import producer_settings
from kafka_cluster import Cluster
from kafka_cluster.security import Security
from tests.cluster.expected import expected_hash
from tests.cluster.processes import Federation, hash_of

WAIT_SECONDS = 60
CLIENTS = ("ada", "bob")


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("secured")
    with Cluster(data_dir=folder / "kafka", secure=folder / "keys größer, 100%") as cluster:
        yield cluster


@pytest.fixture
def security(secured: Cluster) -> Security:
    assert secured.security is not None
    return secured.security


@pytest.fixture
def federation(secured: Cluster, security: Security, tmp_path: Path) -> Iterator[Federation]:
    """One that is granted what it needs, as `fdstream broker --secure` grants it."""
    with Federation(secured.bootstrap, tmp_path) as made:
        rules = access.grants(made.name, server="User:server", client="User:client")
        granting.apply(secured.broker_bootstrap, rules, settings=security.mutual_tls("admin"))
        yield made


def as_options(settings: Mapping[str, str]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--kafka", f"{key}={value}")]


def refusal_of(bootstrap: str, settings: Mapping[str, str], topic: str) -> int | None:
    """The code of the error with which the broker refuses a record; None where it takes it."""
    codes: list[int | None] = []
    producer = Producer(
        producer_settings(bootstrap, "test", settings) | {"message.timeout.ms": str(WAIT_SECONDS * 1000)}
    )
    producer.produce(
        topic,
        b"a record",
        partition=0,
        on_delivery=lambda error, _: codes.append(error.code() if error else None),
    )
    assert producer.flush(WAIT_SECONDS) == 0
    return codes[0]


def test_a_federation_by_sign_in_and_by_certificate(
    secured: Cluster, security: Security, federation: Federation
) -> None:
    files = {user: ("--config", str(security.config_file(user))) for user in ("server", "client")}
    federation.client("ada", *files["client"])
    by_certificate = Federation(secured.broker_bootstrap, federation.folder)
    by_certificate.name = federation.name
    with by_certificate:
        by_certificate.client("bob", *as_options(security.mutual_tls("client")))
        server = federation.server(*files["server"], "--numrounds", "2", "--minclients", "2")
        assert hash_of(server) == expected_hash([CLIENTS] * 2)
    password = security.passwords["server"]
    assert not any(password in process.log for process in federation.processes)


def test_a_client_may_write_updates_reports_and_heartbeats_and_nothing_else(
    secured: Cluster, security: Security, federation: Federation
) -> None:
    files = ("--config", str(security.config_file("server")))
    assert federation.run("topics", "topics create", *files).exit_code() == 0
    settings = security.sign_in("client")
    specs = table.topic_specs(1)
    codes = {
        spec.name: refusal_of(secured.bootstrap, settings, table.full_name(federation.name, spec.name))
        for spec in specs
    }
    taken = {name for name, code in codes.items() if code is None}
    assert taken == {spec.name for spec in specs if spec.writers == "client"}
    assert {code for code in codes.values() if code is not None} == {KafkaError.TOPIC_AUTHORIZATION_FAILED}
    assert codes[table.CONTROL] == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_who_does_not_sign_in_well_is_told_so_in_one_sentence(
    security: Security, federation: Federation
) -> None:
    wrong = security.sign_in("client") | {"sasl.password": "not-the-password"}
    code, sentence = federation.client("ada", *as_options(wrong)).refusal()
    assert (code, "refused to sign in" in sentence) == (4, True)
    assert "not-the-password" not in sentence


def test_a_federation_that_was_not_granted_is_refused(security: Security, federation: Federation) -> None:
    federation.name = f"other-{federation.name}"
    code, sentence = federation.server("--config", str(security.config_file("server"))).refusal()
    assert code == 4
    assert "fdstream topics acls" in sentence


def test_certificates_of_another_authority_are_no_certificates(
    secured: Cluster, security: Security, tmp_path: Path
) -> None:
    stranger = Security(tmp_path / "stranger", "127.0.0.1")
    settings = stranger.mutual_tls("admin") | {
        "ssl.ca.location": security.mutual_tls("admin")["ssl.ca.location"]
    }
    assert _metadata_error(secured.broker_bootstrap, settings) is not None
    assert _metadata_error(secured.broker_bootstrap, security.mutual_tls("admin")) is None
    assert _metadata_error(secured.bootstrap, {"security.protocol": "PLAINTEXT"}) is not None


def _metadata_error(bootstrap: str, settings: Mapping[str, str]) -> KafkaError | None:
    try:
        Producer({"bootstrap.servers": bootstrap, "log_level": 0, **settings}).list_topics(timeout=2)
    except KafkaException as error:
        found: KafkaError = error.args[0]
        return found
    return None
