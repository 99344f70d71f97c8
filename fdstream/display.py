"""Shows how the rounds of a federation go: on a terminal with what goes on now below the table, elsewhere the table.

A finished round is a line that stays; nothing is drawn over but the last few lines, so any number of rounds fits
any terminal. What goes on is drawn by a thread of its own and only reads.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from fdstream.events import Tell
from fdstream.ledger import Ledger
from fdstream.messages import Report
from fdstream.progress import Rounds, doing, heading, line

REFRESHES_PER_SECOND = 8
PLAIN_WIDTH = 120  # columns where there is no terminal to ask


class Display:
    """Shows rounds on a console. A context manager; `show` after every change."""

    def __init__(self, console: Console, rounds: Rounds, everybody: Collection[str] = ()) -> None:
        self.rounds = rounds
        self._activity: str | None = None
        self._console = console
        self._everybody = everybody
        self._headed = False
        self._since: dict[str, tuple[object, float]] = {}  # what goes on, and when it was first seen
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console,
            get_renderable=self._bottom,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self.rounds.end()
        self.show()

    def tell(self, activity: str | None) -> None:
        """What goes on besides the rounds, to be shown instead of the current one until told otherwise."""
        self._activity = activity
        self._refresh()

    def show(self) -> None:
        """Print the rounds that are complete."""
        if self.rounds.open and not self._headed:
            self._headed = True
            self.say(heading(), style="bold")
        complete = self.rounds.take_complete()
        for made in complete:
            self.say(line(made, self._width))
        if complete:
            self._refresh()  # or they would be seen twice until the next time

    def say(self, text: str, style: str | None = None) -> None:
        """One line above what is going on."""
        self._console.print(Text(text, style=style or ""), soft_wrap=True)

    @property
    def _width(self) -> int:
        return self._console.width - 1 if self._console.is_terminal else PLAIN_WIDTH

    def _refresh(self) -> None:
        if self._live.is_started:
            self._live.refresh()

    def _bottom(self) -> Group:
        width = self._width - 2  # of the spinner
        self._spinner.update(text=Text(self._doing(width)[:width], no_wrap=True))
        closed = [made for made in self.rounds.open if made.training and made.closed is not None]
        return Group(*(Text(line(made, self._width), no_wrap=True) for made in closed), self._spinner)

    def _doing(self, width: int) -> str:
        current = self.rounds.current
        of_round_seconds = self._elapsed_seconds("round", current and current.number)
        of_activity_seconds = self._elapsed_seconds("activity", self._activity)
        if self._activity is not None:
            return f"{self._activity}, {of_activity_seconds:.0f} s"
        return doing(self.rounds, self._everybody, of_round_seconds, width)

    def _elapsed_seconds(self, kind: str, what: object) -> float:
        now = time.monotonic()
        if kind not in self._since or self._since[kind][0] != what:
            self._since[kind] = (what, now)
        return now - self._since[kind][1]


class Audience:
    """Hears what a server tells: logs it or, inside `show`, shows what is about the course of the rounds."""

    def __init__(self, log: Callable[[Tell], None]) -> None:
        self._log = log
        self._rounds = Rounds()
        self._ledger: Ledger | None = None
        self._display: Display | None = None

    def __call__(self, tell: Tell) -> None:
        if self._ledger is None or tell.name != "round closed":
            self._log(tell)
        if isinstance(report := tell.facts.get("report"), Report):
            self._rounds.hear(report, time.monotonic())
        self._look()

    @contextmanager
    def show(self, ledger: Ledger, console: Console) -> Iterator[None]:
        """Show the rounds that the server folds into `ledger`."""
        with Display(console, self._rounds) as self._display:
            self._ledger = ledger
            yield
            self._look()

    def _look(self) -> None:
        if self._ledger is not None and self._display is not None:
            self._rounds.look(self._ledger, time.monotonic())
            self._display.show()
