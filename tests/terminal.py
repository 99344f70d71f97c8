"""A program in a terminal of its own, and what stands on its screen, by a terminal emulator (pyte)."""

from __future__ import annotations

import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Sequence
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from types import TracebackType
from typing import Self

import pyte

from tests.cluster.processes import wait_until
from tests.cluster.starting import ROOT

COLUMNS, LINES = 100, 30


class Terminal:
    """Runs `python ARGUMENTS` in it. A context manager: kills what is left."""

    def __init__(self, arguments: Sequence[str], folder: Path = ROOT) -> None:
        self.screen = pyte.HistoryScreen(COLUMNS, LINES, history=1000, ratio=0.01)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self.raw = b""
        outer, inner = pty.openpty()
        ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        without_echo = termios.tcgetattr(inner)
        without_echo[3] &= ~termios.ECHO
        termios.tcsetattr(inner, termios.TCSANOW, without_echo)
        ours = (
            "COLUMNS",
            "LINES",
        )  # the size is the terminal's own, whatever this process was told of another
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("FDSTREAM_") and key not in ours
        }
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment | {"TERM": "xterm-256color", "PYTHONPATH": str(ROOT)},
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
        )
        os.close(inner)
        self._outer = outer
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            print("\n".join(self.lines))
        self._process.kill()
        self._process.wait()
        self._thread.join()
        os.close(self._outer)

    def _read(self) -> None:
        with suppress(OSError):  # how Linux says that nobody writes any more
            while data := os.read(self._outer, 4096):
                with self._lock:
                    self.raw += data
                    self._stream.feed(data)

    @property
    def lines(self) -> list[str]:
        """What can be read on the screen, blank lines left out."""
        with self._lock:
            return [line.rstrip() for line in self.screen.display if line.strip()]

    @property
    def hidden_cursor(self) -> bool:
        with self._lock:
            return self.screen.cursor.hidden

    def wait_for(self, *words: str) -> str:
        """The first line on the screen that has all of these."""

        def found() -> str | None:
            lines = self.lines
            return next((line for line in lines if all(word in line for word in words)), None)

        return wait_until(f"{words} on the screen", found)

    def wait_until_gone(self, word: str) -> None:
        wait_until(f"no {word!r} on the screen", lambda: not any(word in line for line in self.lines))

    def type(self, line: str) -> None:
        """A line and the Enter key; what is typed is not shown."""
        os.write(self._outer, line.encode() + b"\n")

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def exit_code(self) -> int:
        code = self._process.wait(60)
        self._thread.join()
        return code
