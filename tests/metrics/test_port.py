"""What can go wrong where metrics are served is said in one sentence, and before anything is asked of a broker."""

from __future__ import annotations

import socket
from pathlib import Path

from fdstream.metrics.definitions import BUILD, LOG_BYTES
from tests.cluster.processes import Process
from tests.metrics.scrapes import scrape, url_of


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        process = Process("taken", ["swarm", "--metrics-port", port, "--broker", "127.0.0.1:9"], tmp_path)
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


def test_a_process_without_its_broker_answers_with_what_it_knows(tmp_path: Path) -> None:
    process = Process("alone", ["server", "--metrics-port", "0", "--broker", "127.0.0.1:9"], tmp_path)
    try:
        found = scrape(url_of(process))
        assert found.of(BUILD.name)
        assert found.value(LOG_BYTES, topic="updates", direction="in") == 0
        assert process.running
    finally:
        process.kill()
