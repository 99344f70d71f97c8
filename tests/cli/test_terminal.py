"""Broker, server and clients each in a terminal of its own: what stands on their screens while they work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kafka_cluster.ports import free_ports
from tests.cluster.processes import APP, Gate
from tests.terminal import Terminal


class Desk:
    """Terminals that stand until the end of the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def run(self, *arguments: object) -> Terminal:
        """`fdstream ARGUMENTS` in a terminal."""
        return self._stack.enter_context(Terminal(["-m", "fdstream", *map(str, arguments)]))


@pytest.fixture
def desk() -> Iterator[Desk]:
    with ExitStack() as stack:
        yield Desk(stack)


def test_everybody_sees_what_goes_on(desk: Desk, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    broker = desk.run("broker", "--port", port, "--data-dir", tmp_path / "kafka")
    broker.wait_for("Apache Kafka is ready at")
    broker.wait_for("Apache Kafka is running, ", "of data")
    place = ("--broker", f"127.0.0.1:{port}")
    gate = Gate(tmp_path / "gate")
    server = desk.run("server", *place, "--app", APP, "--numrounds", 2, "--minclients", 3)
    ada = desk.run("client", *place, "--app", APP, "--client-id", "ada")
    ada.wait_for("taking part client=ada")
    server.wait_for("round 1 of 2", "1 of 3 reported")
    ada.wait_for("round 1 of 2: reported, waiting for the others, ", "; 1 reported")
    status = desk.run("status", *place, "--follow")
    status.wait_for("reported", "1 (needs 3): ada")
    swarm = desk.run("swarm", *place, "--clients", 1, "--app", APP)
    swarm.wait_for("round 1 of 2, ", "; 1 reported; ", " received, ", " sent")
    bob = desk.run("client", *place, "--app", APP, "--client-id", "bob", *gate.options())
    bob.wait_for("round 1 of 2: training, ")
    gate.open(1, 2, 3)
    for terminal in (server, ada, bob, swarm, status):
        assert terminal.exit_code() == 0
        assert not terminal.hidden_cursor
    assert [line.split()[:2] for line in server.lines if "3/3" in line] == [["1", "3/3"], ["2", "3/3"]]
    assert ada.lines[-1].endswith("the federation has finished reported=3 failed=0")
    assert "took part round=1 reported=1 received=" in "\n".join(swarm.lines)
    assert [line.split()[-1] for line in status.lines if line.startswith("phase")] == ["done"]
    broker.wait_for("Apache Kafka is running, ")
    broker.interrupt()
    assert broker.exit_code() == 0
    assert broker.lines[-2:] == ["Ctrl-C stops it and keeps the data", "stopping"]
