"""Child processes of this one, by name: started through the nursery, watched, and gone when this one is.

The nursery leads a session of its own, so Ctrl-C in a terminal reaches this process alone, and everything in
that session can be ended at once. Should this process be killed, the nursery's stdin ends and it ends its children.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from fdstream.demo import nursery
from fdstream.errors import FederationFailedError

NURSERY = "nursery"
TAIL_LINES = 12
PEAK_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024  # of getrusage
PATIENCE_SECONDS = 4.0  # with the nursery, beyond what it grants its children


class ChildFailedError(FederationFailedError):
    """The child process `name` ended with an error. `tail` are the last lines of its log."""

    def __init__(self, name: str, status: int, log: Path) -> None:
        self.name = name
        lines = log.read_text("utf-8", errors="replace").splitlines() if log.exists() else []
        self.tail = [line for line in lines if line.strip()][-TAIL_LINES:]
        super().__init__(f"{name} {_how(status)}; its log: {log}")


@dataclass(frozen=True, slots=True)
class Usage:
    """What a child and those whose end it awaited have used: processor time, and the largest one's memory."""

    cpu_seconds: float
    peak_bytes: int


class Children:
    """Started on entry, all ended on exit. What child `name` writes lands in `folder`: name.out and name.log.

    `prefix` goes before the nursery's command, to have all of them in another place.
    """

    def __init__(
        self,
        folder: Path,
        *,
        method: Literal["fork", "spawn"],
        modules: Sequence[str],
        environment: Mapping[str, str],
        name: str = NURSERY,
        prefix: Sequence[str] = (),
    ) -> None:
        self._folder = folder
        self._name = name
        self._command = [*prefix, sys.executable, "-m", nursery.__name__, method, *modules]
        self._environment = dict(environment)
        self._unread = b""
        self.ready = False  # whether the modules are imported and children can start
        self.pids: dict[str, int] = {}
        self.statuses: dict[str, int] = {}  # of those that have ended
        self.usages: dict[str, Usage] = {}  # of the same

    def __enter__(self) -> Self:
        with self._log(self._name).open("wb") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                start_new_session=True,
            )
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        return self

    def __exit__(self, *_: object) -> None:
        """Ask the nursery to end its children and itself; where it cannot any more, kill all of them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._has_ended_in_order():
            with suppress(ProcessLookupError, PermissionError):  # macOS refuses where only zombies are left
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()

    def start(self, name: str, module: str, *arguments: object) -> None:
        """Start `python -m module arguments…`."""
        order = {
            "name": name,
            "module": module,
            "arguments": list(map(str, arguments)),
            "out": str(self.out(name)),
            "log": str(self._log(name)),
        }
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self._process.wait()
            self.check()

    def check(self) -> None:
        """Hear what has happened since the last call. Raises `ChildFailedError`."""
        for answer in self._answers():
            match answer:
                case {"ready": True}:
                    self.ready = True
                case {"name": name, "pid": pid}:
                    self.pids[name] = pid
                case {"name": name, "status": status, "cpu_seconds": seconds, "peak": peak}:
                    self.statuses[name] = status
                    self.usages[name] = Usage(seconds, peak * PEAK_UNIT_BYTES)
        for name in self.pids:
            if self.statuses.get(name, 0) != 0:
                raise ChildFailedError(name, self.statuses[name], self._log(name))
        if (status := self._process.poll()) is not None:
            raise ChildFailedError(self._name, status, self._log(self._name))

    def _has_ended_in_order(self) -> bool:
        """Not while it imports: it has no children then, and may be deaf for seconds."""
        if not self.ready:
            return False
        self._process.terminate()
        try:
            return self._process.wait(nursery.GRACE_SECONDS + PATIENCE_SECONDS) == 0
        except subprocess.TimeoutExpired:
            return False

    def out(self, name: str) -> Path:
        """The file that has what the child writes to stdout."""
        return self._folder / f"{name}.out"

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def _answers(self) -> list[dict[str, Any]]:
        assert self._process.stdout is not None
        block = self._process.stdout.read() or b""
        *lines, self._unread = (self._unread + block).split(b"\n")
        return [json.loads(line) for line in lines]


def _how(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
