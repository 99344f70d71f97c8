"""What can go wrong where metrics are served is said in one sentence, and before anything is asked of a broker."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cluster.processes import Process


@pytest.mark.parametrize("command", ["server", "client", "swarm"])
def test_a_port_that_is_taken_is_one_sentence(command: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = Process("taken", [command, "--metrics-port", port, "--broker", "127.0.0.1:9"], tmp_path)
        code, sentence = process.refusal()
    assert code == 2
    assert (
        f"cannot listen on 127.0.0.1:{port} for scrapes: address already in use. Choose another" in sentence
    )


def test_a_host_that_is_none_of_this_machine_is_one_sentence(tmp_path: Path) -> None:
    options = ["--metrics-port", "0", "--metrics-host", "nowhere.invalid", "--broker", "127.0.0.1:9"]
    code, sentence = Process("elsewhere", ["client", *options], tmp_path).refusal()
    assert code == 2
    assert "cannot listen on nowhere.invalid:0 for scrapes: " in sentence
