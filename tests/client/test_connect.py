"""How a client finds its federation: a name of its own, and a clear end where no broker answers."""

from __future__ import annotations

import socket
from typing import NoReturn

import pytest

from fdstream.client import connect as module
from fdstream.client.connect import connect, new_client_id, wait_for_federation
from fdstream.errors import TransportError
from fdstream.messages import Heartbeat
from kafka_cluster.ports import free_ports


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address where nobody listens, and less patience with it."""
    monkeypatch.setattr(module, "REACHABLE_SECONDS", 0.3)
    (port,) = free_ports(1)
    return f"127.0.0.1:{port}"


def test_a_client_without_a_name_gets_one_that_no_other_has() -> None:
    names = {new_client_id() for _ in range(100)}
    assert len(names) == 100
    for name in names:
        assert name.startswith(f"{socket.gethostname()}-")
        assert Heartbeat(name, "client", "waiting", 0).member == name


def test_a_broker_that_does_not_answer_is_an_error_that_names_it(nowhere: str) -> None:
    with pytest.raises(TransportError, match=nowhere):
        wait_for_federation(nowhere, "default", {})


def test_connecting_gives_up_before_anything_is_joined(nowhere: str) -> None:
    with pytest.raises(TransportError, match=nowhere), connect(nowhere, client_id=["a", "b"]):
        pytest.fail("there is nothing to be connected to")


@pytest.mark.parametrize("clients", [["ada"], ["ada", "bob"]])
def test_the_records_of_several_clients_share_requests(
    clients: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def open_log(*_: object, shared: bool, **__: object) -> NoReturn:
        raise RuntimeError(f"shared: {shared}")

    monkeypatch.setattr(module, "wait_for_federation", lambda *_: None)
    monkeypatch.setattr(module, "KafkaLog", open_log)
    with pytest.raises(RuntimeError, match=f"shared: {len(clients) > 1}"), connect(client_id=clients):
        pass
