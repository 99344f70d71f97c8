"""What the demo needs of the machine and what it may not leave there: packages, signals, files, environment."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from fdstream import broker, keras
from fdstream.demo.children import ChildFailedError
from fdstream.errors import TransportError, UsageError

PACKAGES = (*broker.EXTRA, "keras", "sklearn")


def check_installed() -> None:
    """Raises `UsageError` where packages are missing."""
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if not any(find_spec(name) for name in keras.BACKENDS):
        missing.append("jax")
    if missing:
        raise UsageError(f"the demo needs {', '.join(missing)}: pip install 'fdstream[demo]'")


def method() -> Literal["fork", "spawn"]:
    """How to start processes. Only of JAX on Linux is it known that after its import there is one thread."""
    known = sys.platform == "linux" and os.environ.get("KERAS_BACKEND") == "jax"
    return "fork" if known else "spawn"


def environment(folder: Path) -> dict[str, str]:
    """What child processes see: no options of commands, one thread a process, no GPU, compilations shared."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("FDSTREAM_") or name == "FDSTREAM_CACHE_DIR"
    }
    one_thread = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    jax = {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    return {**kept, **one_thread, **jax, "CUDA_VISIBLE_DEVICES": "-1"}


@contextmanager
def scratch_folder(purpose: str = "demo") -> Iterator[Path]:
    """A new folder for everything that the demo writes; kept only where an error names logs in it."""
    folder = Path(tempfile.mkdtemp(prefix=f"fdstream-{purpose}-"))
    keep = False
    try:
        yield folder
    except (ChildFailedError, TransportError):
        keep = True
        raise
    finally:
        if not keep:
            shutil.rmtree(folder)


class CalmExitStack(ExitStack):
    """Leaves undisturbed: an impatient second Ctrl-C does not cut the cleaning up short.

    Inside it, a terminal that is closed counts as Ctrl-C.
    """

    _NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __enter__(self) -> Self:
        self._before = {number: signal.getsignal(number) for number in self._NUMBERS}
        if self._before[signal.SIGHUP] is signal.SIG_DFL:
            signal.signal(signal.SIGHUP, signal.default_int_handler)
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        for number in self._NUMBERS:
            signal.signal(number, signal.SIG_IGN)
        try:
            return super().__exit__(kind, error, trace)
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)
