"""The reaper's command ends with whatever ends first: itself, the reaper, or the parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import kafka_cluster.reaper

REAPER = Path(kafka_cluster.reaper.__file__)
WAIT_SECONDS = 20

# Says that it runs by a line, then sleeps; the second one does not heed SIGTERM.
MORTAL = "import time; print(flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {MORTAL}"


@contextmanager
def reaped(code: str, grace_seconds: float = 10) -> Iterator[tuple[subprocess.Popen[bytes], psutil.Process]]:
    """A reaper and the Python process it runs."""
    command = [sys.executable, "-IS", str(REAPER), str(grace_seconds), sys.executable, "-c", code]
    reaper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    with reaper:
        assert reaper.stdout is not None
        reaper.stdout.readline()
        yield reaper, psutil.Process(reaper.pid).children()[0]
        reaper.kill()


def assert_ends(process: psutil.Process) -> None:
    process.wait(WAIT_SECONDS)


def test_the_commands_status_is_passed_on() -> None:
    command = [sys.executable, "-IS", str(REAPER), "10", sys.executable, "-c", "raise SystemExit(7)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as reaper:
        assert reaper.wait(WAIT_SECONDS) == 7


def test_closing_the_pipe_ends_the_command_in_order() -> None:
    with reaped(MORTAL) as (reaper, child):
        assert reaper.stdin is not None
        reaper.stdin.close()
        assert reaper.wait(WAIT_SECONDS) == 128 + signal.SIGTERM
        assert not child.is_running()


def test_a_command_that_does_not_heed_is_killed_after_the_grace_period() -> None:
    with reaped(STUBBORN, grace_seconds=0.2) as (reaper, child):
        assert reaper.stdin is not None
        reaper.stdin.close()
        assert reaper.wait(WAIT_SECONDS) == 128 + signal.SIGKILL
        assert not child.is_running()


def test_sigterm_of_the_reaper_ends_the_command() -> None:
    with reaped(MORTAL) as (reaper, child):
        reaper.terminate()
        assert reaper.wait(WAIT_SECONDS) == 128 + signal.SIGTERM
        assert not child.is_running()


def test_sigusr1_kills_the_command_before_the_reaper_ends() -> None:
    with reaped(STUBBORN) as (reaper, child):
        reaper.send_signal(signal.SIGUSR1)
        assert reaper.wait(WAIT_SECONDS) == 128 + signal.SIGKILL
        assert not child.is_running()


@pytest.mark.parametrize("forked", [False, True], ids=["alone", "with a fork that keeps the pipe open"])
def test_sigkill_of_the_parent_ends_the_command(forked: bool) -> None:
    """The parent is a process of its own that starts a reaper, says the command's pid, and is killed."""
    parent_code = (
        "import os, subprocess, sys, time\n"
        f"if {forked}: reading, writing = os.pipe(); pipe = {{'stdin': reading}}\n"
        "else: pipe = {'stdin': subprocess.PIPE}\n"
        "reaper = subprocess.Popen(sys.argv[1:], start_new_session=True, **pipe)\n"
        f"if {forked} and os.fork() == 0: time.sleep(600)\n"
        "time.sleep(600)"
    )
    child_code = "import os, time; print(os.getpid(), os.getppid(), flush=True); time.sleep(600)"
    command = [sys.executable, "-IS", str(REAPER), "10", sys.executable, "-c", child_code]
    with subprocess.Popen(
        [sys.executable, "-c", parent_code, *command], stdout=subprocess.PIPE, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        child, reaper = (psutil.Process(int(pid)) for pid in parent.stdout.readline().split())
        parent.kill()
        assert_ends(child)
        assert_ends(reaper)
        if forked:
            os.killpg(parent.pid, signal.SIGKILL)


if sys.platform.startswith("linux"):  # the others do not tell a process of its parent's end

    def test_sigkill_of_the_reaper_ends_the_command() -> None:
        with reaped(MORTAL) as (reaper, child):
            reaper.kill()
            assert_ends(child)
