"""Over gRPC, and of a swarm: the same metrics but for those of Kafka, from processes that need no broker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fdstream.metrics import definitions as d
from tests.cluster.processes import Process, wait_until
from tests.metrics.scrapes import scrape, url_of

CLIENTS = 3
UNKNOWN_TO_SYNTHETIC_MODELS = {d.MODEL_METRIC}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Process]]:
    """A server and a swarm by role; the swarm is slow, so the federation lasts as long as the test."""
    folder = tmp_path_factory.mktemp("metrics-grpc")
    rules = ("--model-size", "10KB", "--numrounds", "1000", "--minclients", str(CLIENTS))
    measured = ("--grpc", "--metrics-port", "0", "--heartbeat-period", "0.2")
    server = Process("server", ["server", *measured, "--listen", "127.0.0.1:0", *rules], folder)
    address = "127.0.0.1:" + server.wait_for_line(r"listening for clients port=(\d+)")[1]
    work = ("--work", "sleep:0.2", "--clients", str(CLIENTS))
    swarm = Process("swarm", ["swarm", *measured, "--server", address, *work], folder)
    yield {"server": server, "swarm": swarm}
    swarm.kill()
    server.kill()


@pytest.mark.parametrize("role", ["server", "swarm"])
def test_everything_but_kafkas_is_there(role: str, processes: dict[str, Process]) -> None:
    url = url_of(processes[role])
    expected = [each for each in d.DEFINITIONS if role in each.roles and not each.only_kafka]
    for each in expected:
        if each not in UNKNOWN_TO_SYNTHETIC_MODELS:
            wait_until(each.name, lambda each=each: scrape(url).has(each))  # type: ignore[misc]
    found = scrape(url)
    found.check("default", role)
    assert not any(found.has(each) for each in d.DEFINITIONS if each.only_kafka)


def test_a_swarm_adds_its_clients_up(processes: dict[str, Process]) -> None:
    found = scrape(url_of(processes["swarm"]))
    assert sum(sample.value for sample in found.samples if sample.name == d.CLIENT_STATE.name) == CLIENTS
    of_server = scrape(url_of(processes["server"]))
    assert (
        sum(
            sample.value
            for sample in of_server.samples
            if sample.name == d.MEMBERS.name and sample.labels["member"] == "client"
        )
        == CLIENTS
    )
