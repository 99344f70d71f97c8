"""Children start cheaply, fail loudly and never outlive their parent, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import psutil
import pytest

from fdstream.demo.children import PATIENCE_SECONDS, ChildFailedError, Children

WAIT_SECONDS = 60
Method = Literal["fork", "spawn"]
METHODS: list[Method] = ["fork", "spawn"]

WARM = "import os; PID = os.getpid()"
WORKER = """
import os, signal, sys, time
what = sys.argv[1] if len(sys.argv) > 1 else "tell"
if what == "tell":
    import warm
    print(__name__, sys.argv[1:], sys.argv[0].endswith("worker.py"), warm.PID, os.getppid(), sep="|")
elif what == "fail":
    print("so far so good", file=sys.stderr)
    raise ValueError("no such luck")
elif what == "exit":
    sys.exit(int(sys.argv[2]))
elif what == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("deaf", flush=True)
    time.sleep(600)
else:
    time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the modules `warm` and `worker`; its name has a space."""
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "warm.py").write_text(WARM)
    (folder / "worker.py").write_text(WORKER)
    return folder


def made(folder: Path, method: Method) -> Children:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    modules = ["warm"] if method == "fork" else []
    return Children(folder, method=method, modules=modules, environment=environment)


def until(children: Children, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
        children.check()


@contextmanager
def ready(folder: Path, method: Method) -> Iterator[Children]:
    with made(folder, method) as children:
        until(children, lambda: children.ready)
        yield children


def gone(pids: list[int]) -> bool:
    """Whether these processes end soon."""
    deadline = time.monotonic() + WAIT_SECONDS
    while any(runs(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def runs(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("method", METHODS)
def test_a_child_is_python_dash_m_and_a_fork_shares_what_was_imported(folder: Path, method: Method) -> None:
    with ready(folder, method) as children:
        children.start("one", "worker", "tell", 7)
        until(children, lambda: "one" in children.statuses)
        name, arguments, is_worker, warmed_by, parent = children.out("one").read_text().strip().split("|")
        assert (name, arguments, is_worker) == ("__main__", "['tell', '7']", "True")
        assert (warmed_by == parent) is (method == "fork")
        assert children.statuses == {"one": 0}


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_fails_is_named_with_the_end_of_its_log(folder: Path, method: Method) -> None:
    with ready(folder, method) as children:
        children.start("two", "worker", "fail")
        with pytest.raises(ChildFailedError, match=r"two ended with status 1; its log: .*two\.log") as caught:
            until(children, lambda: False)
    assert caught.value.tail[0] == "so far so good"
    assert caught.value.tail[-1] == "ValueError: no such luck"


@pytest.mark.parametrize("method", METHODS)
def test_the_status_of_a_child_is_its_own(folder: Path, method: Method) -> None:
    with ready(folder, method) as children:
        children.start("three", "worker", "exit", 4)
        with pytest.raises(ChildFailedError, match="three ended with status 4"):
            until(children, lambda: False)


@pytest.mark.parametrize("method", METHODS)
def test_a_child_that_is_killed_is_named(folder: Path, method: Method) -> None:
    with ready(folder, method) as children:
        children.start("four", "worker", "sleep")
        until(children, lambda: "four" in children.pids)
        os.kill(children.pids["four"], signal.SIGKILL)
        with pytest.raises(ChildFailedError, match="four was killed by SIGKILL"):
            until(children, lambda: False)


@pytest.mark.parametrize("method", METHODS)
def test_on_exit_all_children_end_also_the_stubborn(folder: Path, method: Method) -> None:
    with ready(folder, method) as children:
        for name, what in (("five", "sleep"), ("six", "stubborn")):
            children.start(name, "worker", what)
        until(children, lambda: len(children.pids) == 2 and children.out("six").exists())
        until(children, lambda: children.out("six").read_text() == "deaf\n")
        pids = list(children.pids.values())
        assert all(map(runs, pids))
    assert not any(map(runs, pids))


def test_leaving_while_it_imports_waits_for_nothing(folder: Path) -> None:
    importing = folder / "importing"
    (folder / "warm.py").write_text(
        "import pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(importing)!r}).touch()\n"
        "time.sleep(600)"
    )
    with made(folder, "fork") as children:
        until(children, importing.exists)
        started = time.monotonic()
    assert time.monotonic() - started < PATIENCE_SECONDS


def test_a_nursery_that_cannot_import_is_named(folder: Path) -> None:
    (folder / "warm.py").write_text("import no_such_module")
    with made(folder, "fork") as children:
        with pytest.raises(ChildFailedError, match="nursery ended with status 1") as caught:
            until(children, lambda: children.ready)
        assert caught.value.tail[-1] == "ModuleNotFoundError: No module named 'no_such_module'"
        with pytest.raises(ChildFailedError):
            children.start("seven", "worker")


def test_what_an_import_prints_is_not_taken_for_an_answer(folder: Path) -> None:
    (folder / "warm.py").write_text("print('{\"hello\": \"world\"}'); print('not even JSON'); PID = 0")
    with ready(folder, "fork") as children:
        assert "not even JSON" in (folder / "nursery.log").read_text()
        children.check()


PARENT = """
import os, sys, time
from pathlib import Path
from fdstream.demo.children import Children
folder, method = Path(sys.argv[1]), sys.argv[2]
environment = {**os.environ, "PYTHONPATH": str(folder)}
with Children(folder, method=method, modules=["warm"], environment=environment) as children:
    while not children.ready:
        time.sleep(0.01)
        children.check()
    children.start("eight", "worker", "sleep")
    children.start("nine", "worker", "stubborn")
    while len(children.pids) < 2 or not children.out("nine").exists() or not children.out("nine").read_text():
        time.sleep(0.01)
        children.check()
    print(children._process.pid, *children.pids.values(), flush=True)
    time.sleep(600)
"""


@contextmanager
def parent(folder: Path, method: Method) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """A process with two children, and the pids of its nursery and theirs."""
    command = [sys.executable, "-c", PARENT, str(folder), method]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout is not None
        try:
            yield process, list(map(int, process.stdout.readline().split()))
        finally:
            process.kill()


@pytest.mark.parametrize("method", METHODS)
def test_children_end_when_their_parent_is_killed(folder: Path, method: Method) -> None:
    with parent(folder, method) as (process, pids):
        assert len(pids) == 3
        process.kill()
        assert gone(pids)


def test_on_linux_forks_end_when_parent_and_nursery_are_killed_at_once(folder: Path) -> None:
    with parent(folder, "fork") as (process, pids):
        nursery, *children = pids
        os.kill(nursery, signal.SIGKILL)
        process.kill()
        if sys.platform == "linux":
            assert gone(children)
        else:
            os.killpg(nursery, signal.SIGKILL)


@pytest.mark.parametrize("method", METHODS)
def test_children_end_however_often_and_whenever_the_nursery_is_told_to(folder: Path, method: Method) -> None:
    """Its stdin ends and SIGTERM comes at the same moment where its parent is killed."""
    with parent(folder, method) as (process, pids):
        os.kill(process.pid, signal.SIGSTOP)
        with suppress(ProcessLookupError):
            for _ in range(20_000):
                os.kill(pids[0], signal.SIGTERM)
        process.kill()
        assert gone(pids)


def test_forks_end_when_the_nursery_is_killed(folder: Path) -> None:
    with ready(folder, "fork") as children:
        children.start("ten", "worker", "sleep")
        until(children, lambda: "ten" in children.pids)
        nursery = psutil.Process(children.pids["ten"]).ppid()
        os.kill(nursery, signal.SIGKILL)
        with pytest.raises(ChildFailedError, match="nursery was killed by SIGKILL"):
            until(children, lambda: False)
    assert gone(list(children.pids.values()))


def test_ctrl_c_in_the_terminal_reaches_the_parent_alone(folder: Path) -> None:
    with parent(folder, "fork") as (process, pids):
        assert {os.getpgid(pid) for pid in pids} != {os.getpgid(process.pid)}
        assert {os.getsid(pid) for pid in pids} == {pids[0]}
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(WAIT_SECONDS) != 0
        assert not any(map(runs, pids))


def test_orders_of_any_length_arrive_whole(folder: Path) -> None:
    long = "x" * 200_000
    with ready(folder, "fork") as children:
        for index in range(5):
            children.start(f"long-{index}", "worker", "tell", long, json.dumps({"a": "\n"}))
        until(children, lambda: len(children.statuses) == 5)
        assert all(long in children.out(f"long-{index}").read_text() for index in range(5))
