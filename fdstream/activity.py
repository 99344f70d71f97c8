"""One line about what goes on now, with a spinner and how long it has lasted, below all else on a terminal.

Elsewhere nothing is drawn: there the lines that stay have to tell enough. A thread of its own draws, and only reads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from fdstream import logs

REFRESHES_PER_SECOND = 8

Doing = Callable[[], tuple[str, str]]  # what goes on, whose time is shown; and what changes meanwhile


class Activity:
    """A context manager. `tell` says what goes on; the end of the block clears the line."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._doing: Doing = lambda: ("", "")
        self._what = ""
        self._since_seconds = 0.0
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console,
            get_renderable=self._line,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.tell(None)

    def tell(self, doing: str | Doing | None) -> None:
        """Show this from now on, a callable's answer each time; None clears the line."""
        if doing is None:
            self._live.stop()
            return
        self._doing = doing if callable(doing) else _just(doing)
        if self._console.is_terminal and not self._live.is_started:
            self._live.start(refresh=True)

    def say(self, line: str) -> None:
        """A line that stays, above. Not for `click.echo`, which finds its way past the display."""
        self._console.print(Text(line), soft_wrap=True)

    def _line(self) -> Spinner:
        what, more = self._doing()
        if what != self._what:
            self._what, self._since_seconds = what, time.monotonic()
        text = f"{what}, {time.monotonic() - self._since_seconds:.0f} s{more}"
        width = self._console.width - 3  # the spinner, a space, and none to wrap at
        self._spinner.update(text=Text(logs.plain(text)[:width], no_wrap=True))
        return self._spinner


def _just(what: str) -> Doing:
    return lambda: (what, "")
