"""Ports that are free, and those that are not."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kafka_cluster.ports import free_ports, is_taken, taken


def test_free_ports_differ_and_are_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert taken("127.0.0.1", ports) == []


@pytest.mark.parametrize(
    ("setting", "given_away"),
    [("16000\t65535\n", range(16_000, 65_536)), ("10000\t65535\n", range(0)), ("", range(0))],
)
def test_free_ports_are_none_that_outgoing_connections_get(
    setting: str, given_away: range, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the kernel gives all of them away, or does not say, any free one has to do."""
    file = tmp_path / "ip_local_port_range"
    file.write_text(setting)
    monkeypatch.setattr("kafka_cluster.ports._LINUX_SETTING", file)
    assert not set(free_ports(50)) & set(given_away)


@pytest.mark.parametrize("bound_to", ["127.0.0.1", "0.0.0.0"])
def test_a_listener_on_this_or_on_all_addresses_takes_the_port(bound_to: str) -> None:
    with socket.create_server((bound_to, 0)) as listener:
        assert is_taken("127.0.0.1", listener.getsockname()[1])


def test_a_port_in_time_wait_is_free() -> None:
    """Else a broker could not be started again at once on the port it had."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = listener.accept()
        served.close()
        client.close()
    assert not is_taken("127.0.0.1", port)


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError, match="address"):
        is_taken("192.0.2.1", 9091)
