"""Starts processes out of one that has already imported what all of them need. Knows nothing of federations.

    python -m fdstream.demo.nursery fork|spawn [MODULE ...]

Importing Keras takes 8 to 10 seconds of processor time and 300 MB. With `fork` this program imports the MODULEs
once, and each child is a fork that goes on as `python -m module arguments…`: it starts in milliseconds and
shares those pages. A fork is sound only from one thread, so no MODULE may start any. Where that is not known,
`spawn` starts each child as any program is started, at the full price.

One JSON object a line comes in on stdin: {"name", "module", "arguments", "out", "log"}; the last two are the files
for stdout and stderr. Out go {"ready": true} and, for each child, {"name", "pid"} and {"name", "status",
"cpu_seconds", "peak"}: its status as `subprocess` counts it, and what it used, as `getrusage` does. When stdin ends
or SIGTERM comes, the children get SIGTERM and, later, SIGKILL.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.05
GRACE_SECONDS = 1.0
BLOCK_BYTES = 1 << 16

Order = dict[str, Any]


def main(method: str, modules: list[str]) -> None:
    """Serve orders until stdin ends."""
    on_parents_death(signal.SIGTERM)
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what an import prints is no answer
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    for module in modules:
        importlib.import_module(module)
    sys.stdout.flush()  # into the log, before anybody hears that this is ready
    gc.freeze()  # a collection in a child would write to, and so copy, every page it shares
    nursery = Nursery(
        fork if method == "fork" else spawn, lambda answer: print(json.dumps(answer), file=answers)
    )
    signal.signal(signal.SIGTERM, nursery.stop)
    try:
        nursery.serve()
    finally:
        nursery.end()


def on_parents_death(number: signal.Signals) -> None:
    """On Linux the kernel sends this process the signal when the thread that started it has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)


class Nursery:
    """The children that run, and the loop that starts and reaps them."""

    def __init__(self, start: Callable[[Order], int], answer: Callable[[Order], None]) -> None:
        self._start = start
        self._answer = answer
        self._names: dict[int, str] = {}  # by pid
        self._unread = b""
        self._is_stopping = False

    def stop(self, *_: object) -> None:
        """A handler of signals. It raises nothing: where a parent is killed, stdin ends at the same moment."""
        self._is_stopping = True

    def serve(self) -> None:
        self._answer({"ready": True})
        while not self._is_stopping:
            if select.select([0], [], [], POLL_SECONDS)[0]:
                block = os.read(0, BLOCK_BYTES)
                if not block:
                    return
                *lines, self._unread = (self._unread + block).split(b"\n")
                for line in lines:
                    self._begin(json.loads(line))
            self._reap()

    def end(self) -> None:
        """Stop every child, the stubborn by force, and wait until they are gone."""
        self._answer = _keep_quiet  # perhaps nobody listens any more
        self._signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_SECONDS
        while self._names and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
            self._reap()
        self._signal(signal.SIGKILL)
        for pid in self._names:
            os.waitpid(pid, 0)

    def _begin(self, order: Order) -> None:
        pid = self._start(order)
        self._names[pid] = order["name"]
        self._answer({"name": order["name"], "pid": pid})

    def _reap(self) -> None:
        for pid, name in list(self._names.items()):
            ended, status, used = os.wait4(pid, os.WNOHANG)
            if ended:
                del self._names[pid]
                usage = {"cpu_seconds": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss}
                self._answer({"name": name, "status": os.waitstatus_to_exitcode(status), **usage})

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._names:  # not reaped yet, so the number is still theirs
            os.kill(pid, number)


def _keep_quiet(answer: Order) -> None:
    del answer


def spawn(order: Order) -> int:
    """The child's pid."""
    command = [sys.executable, "-m", order["module"], *order["arguments"]]
    return os.posix_spawn(sys.executable, command, os.environ, file_actions=_files(order))


def fork(order: Order) -> int:
    """The child's pid."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _go_on_as(order)
    return pid


def _files(order: Order) -> list[tuple[Any, ...]]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    return [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, order["out"], flags, 0o644),
        (os.POSIX_SPAWN_OPEN, 2, order["log"], flags, 0o644),
    ]


def _go_on_as(order: Order) -> NoReturn:
    """Be `python -m module arguments…` from here on."""
    status = 1
    try:
        on_parents_death(signal.SIGKILL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for _, number, path, flags, mode in _files(order):
            os.dup2(os.open(path, flags, mode), number)
        status = _run(order["module"], order["arguments"])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)  # what the parent has registered for its exit is not the child's to do


def _run(module: str, arguments: list[str]) -> int:
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:  # noqa: BLE001 - as at the top of any program
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
