"""Runs one command and stops it when its parent is gone. A script of its own: imports nothing of ours.

The parent keeps the write end of the pipe that is this script's stdin. It closes when the parent stops the
node, exits, or is killed with SIGKILL: then the command gets SIGTERM and, after a grace period, SIGKILL.
SIGTERM asks the reaper for the same, SIGUSR1 for SIGKILL at once. It ends after the command, with its status.
It leads a session of its own, so Ctrl-C in a terminal reaches the parent only.

    python reaper.py GRACE_SECONDS COMMAND [ARGUMENT ...]
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Callable

PR_SET_PDEATHSIG = 1
CHECK_SECONDS = 1.0


def main() -> int:
    parent, grace_seconds, command = os.getppid(), float(sys.argv[1]), sys.argv[2:]
    # This process has one thread until here, so preexec_fn is safe. Inherited descriptors are handed on: the
    # data folder's lock is one of them and must outlive both ends.
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, close_fds=False, preexec_fn=_die_with(os.getpid())
    )
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: child.terminate())
    signal.signal(signal.SIGUSR1, lambda *_: child.kill())
    threading.Thread(target=_stop_after, args=(child, parent, grace_seconds), daemon=True).start()
    status = child.wait()
    return status if status >= 0 else 128 - status


def _die_with(reaper: int) -> Callable[[], None] | None:
    """On Linux the kernel stops the command even where the reaper too is killed (`pkill -9 python`)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def in_child() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != reaper:
            os._exit(1)

    return in_child


def _stop_after(child: subprocess.Popen[bytes], parent: int, grace_seconds: float) -> None:
    # getppid too: a fork of the parent may hold the pipe open after the parent's death.
    while os.getppid() == parent and not select.select([0], [], [], CHECK_SECONDS)[0]:
        pass
    child.terminate()
    try:
        child.wait(grace_seconds)
    except subprocess.TimeoutExpired:
        child.kill()


if __name__ == "__main__":
    sys.exit(main())
