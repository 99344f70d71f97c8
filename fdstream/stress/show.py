"""How far the measuring is: on a terminal a bar for what runs now, everywhere a line for what is done."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from fdstream.stress.measurement import Measurement


class Show:
    """A context manager; says that `count` federations are to be run."""

    def __init__(self, console: Console, count: int) -> None:
        self._console = console
        self._count = count
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rounds"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """One line that stays."""
        self._console.print(Text(text), soft_wrap=True)

    def tell(self, activity: str) -> None:
        """What goes on now, without rounds to count."""
        self._bar.reset(self._task, description=activity, total=None)

    def begin(self, title: str, rounds: int) -> None:
        """A federation of so many rounds."""
        self._bar.reset(self._task, description=title, total=rounds)

    def progress(self, rounds: int) -> None:
        """So many of them have closed."""
        self._bar.update(self._task, completed=rounds)

    def done(self, title: str, measured: Measurement) -> None:
        """A federation has been measured."""
        times = measured.times
        each = times.total / len(times.rounds)
        self.say(f"{title}: {len(times.rounds)} rounds in {times.total:.2f} s, {1000 * each:.0f} ms each")
