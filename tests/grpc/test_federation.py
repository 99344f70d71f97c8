"""Federations over gRPC as real processes: the bytes of one on Kafka, and a sentence where Kafka would go on."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.expected import expected_hash
from tests.cluster.processes import APP, CHUNK_BYTES, Process

CLIENTS = ("ada", "bob", "cyd")
ROUNDS = 3
RULES = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)), "--chunk-bytes", str(CHUNK_BYTES))


class Site:
    """The processes of one federation; whoever is left at the end is killed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.processes: list[Process] = []

    def run(self, name: str, *arguments: str) -> Process:
        process = Process(f"{len(self.processes)}-{name}", list(arguments), self._folder)
        self.processes.append(process)
        return process

    def server(self, *options: str) -> tuple[Process, str]:
        """A server on a free port, and its address."""
        place = ("--grpc", "--listen", "127.0.0.1:0", "--app", APP, "--json")
        server = self.run("server", "server", *place, *RULES, *options)
        port = server.wait_for_line(r"listening for clients port=(\d+)")[1]
        return server, f"127.0.0.1:{port}"

    def client(self, name: str, address: str) -> Process:
        where = ("--grpc", "--server", address, "--client-id", name)
        return self.run(name, "client", *where, "--app", APP, "--json")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    for process in made.processes:
        process.kill()


def test_it_ends_with_the_oracles_bytes_as_on_kafka(site: Site) -> None:
    server, address = site.server()
    clients = [site.client(name, address) for name in CLIENTS]
    result = server.result()
    assert result["model_sha256"] == expected_hash([CLIENTS] * ROUNDS)
    assert (result["rounds"], result["clients"]) == (ROUNDS, len(CLIENTS))
    assert [client.result()["reported"] for client in clients] == [ROUNDS + 1] * len(CLIENTS)


def test_with_its_server_the_federation_is_gone_and_clients_say_so(site: Site) -> None:
    server, address = site.server()
    client = site.client("ada", address)
    client.wait_for_line("taking part")
    server.kill()
    code, sentence = client.refusal()
    assert code == 4
    assert "Over gRPC nothing can go on from there" in sentence


def test_a_client_that_dies_holds_up_nobody_else(site: Site) -> None:
    server, address = site.server(
        "--deadline", "2", "--numrounds", "2", "--minclients", "2", "--maxclients", "3"
    )
    clients = [site.client(name, address) for name in CLIENTS]
    clients[-1].wait_for_line("reported")
    clients[-1].kill()
    assert server.result()["rounds"] == 2


def test_ctrl_c_stops_either_side(site: Site) -> None:
    server, address = site.server()
    client = site.client("ada", address)
    client.wait_for_line("reported|taking part")
    client.interrupt()
    assert client.exit_code() == 128 + signal.SIGINT
    server.interrupt()
    assert server.exit_code() == 128 + signal.SIGINT


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("server", "--grpc", "--broker", "a:1"), "--broker is for Kafka"),
        (("server", "--listen", "a:1"), "--listen goes with --grpc"),
        (("client", "--server", "a:1"), "--server goes with --grpc"),
        (("swarm", "--grpc", "--kafka", "a=b"), "--kafka is for Kafka"),
        (("server", "--grpc", "--chunk-bytes", "2MiB", "--model-size", "1KB"), "do not fit a frame"),
    ],
)
def test_options_of_the_other_channel_are_refused(site: Site, arguments: tuple[str, ...], said: str) -> None:
    code, sentence = site.run("wrong", *arguments).refusal()
    assert code == 2
    assert said in sentence
