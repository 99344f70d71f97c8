"""A secured cluster: federations over TLS by sign-in and by certificate, others refused, a flood slowed down."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaError, KafkaException, Producer, ThrottleEvent

from fdstream import broker
from fdstream.cli import main
from fdstream.topics import access, table
from fdstream.topics.settings import producer_settings
from kafka_cluster import Cluster
from kafka_cluster.probe import ask
from kafka_cluster.security import Security
from tests.cluster.expected import expected_hash
from tests.cluster.processes import Federation, hash_of, wait_until

WAIT_SECONDS = 60
CLIENTS = ("ada", "bob")
FLOOD_RECORDS, FLOOD_RECORD_BYTES = 100, 100_000
RATE = 100_000  # bytes a second: the flood would take more than a minute and a half
WINDOW_SECONDS = 11  # of Kafka's quotas by default, over which a rate is taken
REQUEST_BYTES = 1_000_000  # the most that librdkafka sends at once: the broker takes what it has received
DESCRIBE_CLIENT_QUOTAS = 48


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
def federation(secured: Cluster, tmp_path: Path) -> Iterator[Federation]:
    """One that `fdstream broker --secure` let in."""
    with Federation(secured.bootstrap, tmp_path) as made:
        broker.let_in(secured, made.name, lambda _: None)
        yield made


def as_options(settings: Mapping[str, str]) -> list[str]:
    return [word for key, value in settings.items() for word in ("--kafka", f"{key}={value}")]


def refusal_of(
    bootstrap: str, settings: Mapping[str, str], topic: str, *, idempotent: bool = True
) -> int | None:
    """The code of the error with which the broker refuses a record; None where it takes it."""
    codes: list[int | None] = []
    own = {"message.timeout.ms": WAIT_SECONDS * 1000, "enable.idempotence": idempotent}
    producer = Producer({**producer_settings(bootstrap, "test", settings), **own})
    producer.produce(
        topic,
        b"a record",
        partition=0,
        on_delivery=lambda error, _: codes.append(error.code() if error else None),
    )
    assert producer.flush(WAIT_SECONDS) == 0
    return codes[0]


class Flood:
    """A client that writes to the updates as fast as it may."""

    def __init__(self, bootstrap: str, settings: Mapping[str, str], topic: str) -> None:
        self.taken_bytes = 0
        self.slowed_down = False
        self._began = time.monotonic()
        own = {"throttle_cb": self._hear, "message.timeout.ms": "600000"}
        self._producer = Producer(producer_settings(bootstrap, "eve", settings) | own)
        for _ in range(FLOOD_RECORDS):
            self._producer.produce(topic, bytes(FLOOD_RECORD_BYTES), partition=0, on_delivery=self._count)

    def check_share(self) -> None:
        """It got no more than its rate, and still wants more."""
        self._producer.poll(0)
        assert len(self._producer) > 0, "the flood was over before the federation"
        seconds = time.monotonic() - self._began
        assert self.taken_bytes <= RATE * (seconds + WINDOW_SECONDS) + REQUEST_BYTES

    def wait(self) -> None:
        """Until the broker has told it to wait."""
        wait_until("the flood to be slowed down", lambda: self._producer.poll(0.01) and self.slowed_down)

    def stop(self) -> None:
        self._producer.purge()
        self._producer.flush(WAIT_SECONDS)
        del self._producer  # or it would look for the broker as long as somebody knows the flood

    def _hear(self, event: ThrottleEvent) -> None:
        self.slowed_down |= event.throttle_time > 0

    def _count(self, error: KafkaError | None, _: object) -> None:
        self.taken_bytes += 0 if error else FLOOD_RECORD_BYTES


@contextmanager
def flooded(secured: Cluster, security: Security, federation: Federation) -> Iterator[Flood]:
    """The federation has topics, clients may write a little in a second, and one of them writes much."""
    files = ("--config", str(security.config_file("server")))
    assert federation.run("topics", "topics create", *files).exit_code() == 0
    secured.limit_each_client_id("client", access.CLIENT_QUOTAS | {"producer_byte_rate": RATE})
    topic = table.full_name(federation.name, table.updates(1))
    flood = Flood(secured.bootstrap, security.sign_in("client"), topic)
    flood.wait()
    yield flood
    flood.stop()
    secured.limit_each_client_id("client", access.CLIENT_QUOTAS)


def test_a_federation_by_sign_in_and_by_certificate_while_a_client_floods(
    secured: Cluster, security: Security, federation: Federation
) -> None:
    files = {user: ("--config", str(security.config_file(user))) for user in ("server", "client")}
    by_certificate = Federation(secured.broker_bootstrap, federation.folder)
    by_certificate.name = federation.name
    with flooded(secured, security, federation) as flood, by_certificate:
        federation.client("ada", *files["client"])
        by_certificate.client("bob", *as_options(security.mutual_tls("client")))
        server = federation.server(*files["server"], "--numrounds", "2", "--minclients", "2")
        assert hash_of(server) == expected_hash([CLIENTS] * 2)
        flood.check_share()
    check_viewers(security, federation)
    password = security.passwords["server"]
    assert not any(password in process.log for process in federation.processes)


def test_each_client_id_is_bounded(secured: Cluster, security: Security, federation: Federation) -> None:
    del federation  # when it was let in
    place = ("127.0.0.1", int(secured.broker_bootstrap.rpartition(":")[2]))
    everything = struct.pack(">i?", 0, False)
    answer = ask(place, security.context(), DESCRIBE_CLIENT_QUOTAS, 0, everything)
    assert answer is not None
    for name, value in access.CLIENT_QUOTAS.items():
        assert name.encode() + struct.pack(">d", value) in answer


def check_viewers(security: Security, federation: Federation) -> None:
    """Who may look and nothing else sees what there is to see; a model is not for them."""
    place = ["--config", str(security.config_file("viewer")), "--federation", federation.name]
    page, model = federation.folder / "report.html", federation.folder / "model.npz"
    status = CliRunner().invoke(main, ["status", *place, "--json"])
    assert (status.exit_code, json.loads(status.stdout.splitlines()[-1])["phase"]) == (0, "finished"), (
        status.output
    )
    report = CliRunner().invoke(main, ["report", *place, "--out", str(page)])
    assert (report.exit_code, "bob" in page.read_text()) == (0, True), report.output
    signed_in = security.sign_in("viewer")
    for topic in (table.CONTROL, table.MEMBERS, table.reports(0)):
        name = table.full_name(federation.name, topic)
        code = refusal_of(federation.bootstrap, signed_in, name, idempotent=False)
        assert code == KafkaError.TOPIC_AUTHORIZATION_FAILED  # idempotent it may not even begin
    export = CliRunner().invoke(main, ["export", *place, "--output", str(model)])
    assert (export.exit_code, "fdstream topics acls" in export.output) == (4, True), export.output


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
