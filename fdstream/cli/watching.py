"""Whether somebody sits before a terminal and wants to see what goes on, and the line that says it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from fdstream.cli.base import LOG_FORMAT

if TYPE_CHECKING:
    from fdstream.activity import Activity


def is_watched(ctx: click.Context) -> bool:
    """Not by those who ask to do without, by --log-format or --log-level."""
    wanted = logging.getLogger("fdstream").isEnabledFor(logging.INFO)
    return sys.stderr.isatty() and ctx.meta[LOG_FORMAT] == "human" and wanted


@contextmanager
def activity(ctx: click.Context, doing: str | None = None) -> Iterator[Activity]:
    """A line on stderr, where somebody watches, that says this first."""
    from rich.console import Console

    from fdstream.activity import Activity

    with Activity(Console(stderr=True, force_terminal=None if is_watched(ctx) else False)) as shown:
        shown.tell(doing)
        yield shown
