"""Commands of fdstream as real processes: start, wait for a line of their log, stop in every way, collect results."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.cluster.starting import Start, start_forked

T = TypeVar("T")

PATIENCE_SECONDS = 150.0
PAUSE_SECONDS = 0.01
APP = "tests.cluster.apps:app"
CHUNK_BYTES = 128
QUICK_GROUP = ("--kafka", "session.timeout.ms=2000", "--kafka", "heartbeat.interval.ms=500")
_SHARDS = re.compile(
    r"(?:the group gave this server its shards|this server has no shards for now) shards=\[([\d,]*)\]"
)


def wait_until(what: str, check: Callable[[], T | None], patience_seconds: float = PATIENCE_SECONDS) -> T:
    """The first true answer of `check`; fails with `what` when patience is over."""
    deadline = time.monotonic() + patience_seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"waited {patience_seconds:g} s for {what}"
        time.sleep(PAUSE_SECONDS)
    return found


class Process:
    """One command. Its log is stderr, its result the last line of stdout."""

    def __init__(self, name: str, arguments: list[str], folder: Path, start: Start = start_forked) -> None:
        self.name = name
        self._stdout, self._stderr = folder / f"{name}.out", folder / f"{name}.err"
        self._process = start(arguments, self._stdout, self._stderr)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def member(self) -> str:
        """What a server calls itself in heartbeats."""
        return f"{socket.gethostname()}-{self._process.pid}"

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def log(self) -> str:
        return self._stderr.read_text()

    @property
    def said(self) -> str:
        """What it has written to stdout."""
        return self._stdout.read_text()

    def wait_for_line(self, pattern: str) -> re.Match[str]:
        """The first place in the log that the pattern finds; fails where the process ends without it."""

        def found() -> re.Match[str] | None:
            running = self.running  # asked before the log is read, so that nothing said last is missed
            match = re.search(pattern, self.log)
            assert match or running, f"{self.name} ended without {pattern!r}:\n{self.log}"
            return match

        return wait_until(f"{pattern!r} of {self.name}", found)

    @property
    def shards(self) -> set[int] | None:
        """What the group gave this server last."""
        given = _SHARDS.findall(self.log)
        return {int(shard) for shard in given[-1].split(",") if shard} if given else None

    def wait_for_shards(self, count: int) -> None:
        def given() -> bool:
            assert self.running, f"{self.name} ended without {count} shards:\n{self.log}"
            return len(self.shards or ()) == count

        wait_until(f"{count} shards of {self.name}", given)

    def exit_code(self) -> int:
        """Wait for the end."""
        return self._process.wait(timeout=PATIENCE_SECONDS)

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end, but no longer."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=seconds)
        return not self.running

    def result(self) -> dict[str, Any]:
        """Wait for a good end; the object that --json printed."""
        code = self.exit_code()
        assert code == 0, f"{self.name} ended with {code}:\n{self.log}"
        result = json.loads(self._stdout.read_text().splitlines()[-1])
        assert isinstance(result, dict)
        return result

    def refusal(self) -> tuple[int, str]:
        """Wait for a bad end; the exit code and the one sentence about it."""
        code = self.exit_code()
        assert "Traceback" not in self.log, self.log
        *_, last = self.log.splitlines()
        assert last.startswith("Error: "), self.log
        return code, last

    def kill(self) -> None:
        """SIGKILL, and wait for the end."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def interrupt(self) -> None:
        """What Ctrl-C does."""
        self._process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """What stops a container."""
        self._process.send_signal(signal.SIGTERM)

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)


class Gate:
    """Holds clients inside their train function until the test opens the round."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def options(self) -> tuple[str, ...]:
        return ("--set", f"gate={self.folder}")

    def open(self, *rounds: int) -> None:
        for number in rounds:
            (self.folder / str(number)).touch()


class Federation:
    """The processes of one federation. A context manager: kills what is left, and prints the logs."""

    def __init__(self, bootstrap: str, folder: Path, start: Start = start_forked) -> None:
        self.bootstrap = bootstrap
        self._start = start
        self.name = f"test-{uuid.uuid4().hex[:12]}"
        self.folder = folder / self.name
        self.folder.mkdir()
        self.processes: list[Process] = []

    def run(self, name: str, command: str, *options: str, start: Start | None = None) -> Process:
        """Start a command on this federation; the process gets a name of its own for its files."""
        arguments = [*command.split(), "--broker", self.bootstrap, "--federation", self.name, *options]
        process = Process(f"{len(self.processes)}-{name}", arguments, self.folder, start or self._start)
        self.processes.append(process)
        return process

    def server(
        self, *options: str, app: str = APP, name: str = "server", start: Start | None = None
    ) -> Process:
        standing = ("--app", app, "--chunk-bytes", str(CHUNK_BYTES), "--heartbeat-period", "0.5")
        return self.run(name, "server", *standing, *QUICK_GROUP, "--json", *options, start=start)

    def client(self, client: str, *options: str, app: str = APP, start: Start | None = None) -> Process:
        given = ("--app", app, "--client-id", client, "--json", *options)
        return self.run(client, "client", *given, start=start)

    def clients(self, *names: str) -> list[Process]:
        return [self.client(name) for name in names]

    def gate(self, name: str = "gate") -> Gate:
        return Gate(self.folder / name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            process.kill()
            with contextlib.suppress(OSError):
                print(f"--- {process.name} (pid {process.pid}):\n{process.log}")  # shown where a test fails


def hash_of(process: Process) -> str:
    """The model that a server ended with."""
    digest = process.result()["model_sha256"]
    assert isinstance(digest, str)
    return digest
