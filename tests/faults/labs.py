"""Labs as seen from outside: started, asked, and started anew where one does not answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from types import TracebackType
from typing import Any, Self

from tests.cluster.starting import ROOT
from tests.faults.case import Case
from tests.faults.lab import ISOLATED

STARTING_SECONDS = 120.0  # for brokers that a case needs and the lab does not have yet


class LabProcess:
    """One lab at a time. A context manager: ends it, and with it all that it started."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def play(self, case: Case, seed: int) -> dict[str, Any]:
        """Play it; what came of it. A lab that does not answer in time is ended with all that is in it."""
        missing = [program for program in case.needs if shutil.which(program) is None]
        if missing:
            return _not_played(case, seed, "skipped", f"needs {', '.join(missing)}", 0.0)
        answer = self._ask(json.dumps({"case": case.name, "seed": seed}), case.patience_seconds)
        if answer:
            found: dict[str, Any] = json.loads(answer)
            return found
        self._end()
        detail = f"the lab did not answer in {case.patience_seconds:g} s (see {self._folder})"
        return _not_played(case, seed, "failed", detail, case.patience_seconds)

    def _ask(self, line: str, patience_seconds: float) -> str:
        if self._process is None:
            self._process = self._start()
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        with DefaultSelector() as selector:
            selector.register(process.stdout, EVENT_READ)
            return process.stdout.readline() if selector.select(patience_seconds + STARTING_SECONDS) else ""

    def _start(self) -> subprocess.Popen[str]:
        self._count += 1
        folder = self._folder / str(self._count)
        folder.mkdir(parents=True)
        with (folder / "stderr").open("w") as stderr:
            return subprocess.Popen(
                [*ISOLATED, sys.executable, "-m", "tests.faults.lab", str(folder)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )

    def _end(self) -> None:
        """Whatever it started goes with it: `unshare --kill-child`."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _not_played(case: Case, seed: int, outcome: str, detail: str, seconds: float) -> dict[str, Any]:
    return {
        "case": case.name,
        "seed": seed,
        "outcome": outcome,
        "detail": detail,
        "seconds": seconds,
        "reports": {},
        "facts": {},
    }
