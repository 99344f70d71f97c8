"""Two ways to start a command of fdstream: an interpreter of its own, as users do, or a fork of one that has imported
everything, which costs nothing."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

ROOT = Path(__file__).parents[2]


class Running(Protocol):
    """What a started program can be asked for, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def send_signal(self, sig: int, /) -> None: ...


Start = Callable[[list[str], Path, Path], Running]  # arguments of fdstream, files for stdout and stderr


def starting_python(**more: str) -> Start:
    """Starts commands in an interpreter of their own; `more` goes into its environment."""

    def start(arguments: list[str], stdout: Path, stderr: Path) -> Running:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FDSTREAM_")}
        with stdout.open("wb") as out, stderr.open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "fdstream", *arguments],
                cwd=ROOT,
                env=environment | more,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    return start


start_python = starting_python()

Prepare = Callable[[], None]  # in the new process, before the command begins

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.cluster.preloaded"])


class Forked:
    """A forked process with the face of `subprocess.Popen`."""

    def __init__(self, process: BaseProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(self._process.name, timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, sig: int, /) -> None:
        if self._process.exitcode is None:
            os.kill(self.pid, sig)


def forking(prepare: Prepare | None = None) -> Start:
    """Starts commands by forking; `prepare`, which is pickled, may change the process first."""

    def start(arguments: list[str], stdout: Path, stderr: Path) -> Forked:
        for path in (stdout, stderr):
            path.touch()
        process = _CONTEXT.Process(target=_run, args=(arguments, stdout, stderr, prepare), daemon=True)
        process.start()
        return Forked(process)

    return start


start_forked = forking()


def _run(arguments: list[str], stdout: Path, stderr: Path, prepare: Prepare | None) -> None:
    from fdstream.cli import main

    for path, descriptor in ((stdout, 1), (stderr, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644), descriptor)
    os.chdir(ROOT)
    for name in [name for name in os.environ if name.startswith("FDSTREAM_")]:
        del os.environ[name]
    if prepare is not None:
        prepare()
    main(args=arguments, prog_name="fdstream")
