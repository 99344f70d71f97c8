"""`fdstream status`: how a federation is doing, from its topics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fdstream import logs
from fdstream.cli import options
from fdstream.cli.base import Command, print_result

if TYPE_CHECKING:
    from rich.table import Table

    from fdstream.status import Status

REFRESH_SECONDS = 1.0
LAST_REFRESHES = 10  # for what a server finds out about the last model after the end
MOST_NAMES = 8


@click.command("status", cls=Command)
@options.broker
@options.federation
@options.kafka
@options.as_json
@click.option("--follow/--no-follow", help="Go on until the federation has finished.")
def command(broker: str, federation: str, kafka: dict[str, str], as_json: bool, follow: bool) -> None:
    """Show how a federation is doing: its round, who has reported, the last accuracies."""
    from rich.console import Console
    from rich.live import Live

    from fdstream.watch import watch

    console = Console(stderr=as_json)
    with watch(broker, federation, kafka) as found:
        if follow:
            with Live(console=console, auto_refresh=False) as live:
                while not found.finished:
                    live.update(drawn(federation, found.watcher.status()), refresh=True)
                    found.wait(REFRESH_SECONDS)
                for _ in range(LAST_REFRESHES):
                    if found.awaits_evaluation:
                        found.wait(REFRESH_SECONDS)
                live.update(drawn(federation, found.watcher.status()), refresh=True)
            if not console.is_terminal:
                console.print()  # Live ends the last line only on a terminal
        elif not as_json:
            console.print(drawn(federation, found.watcher.status()))
        if as_json:
            print_result({"federation": federation, **asdict(found.watcher.status())})


def drawn(federation: str, status: Status) -> Table:
    """The status as a small table of names and values."""
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows(federation, status):
        table.add_row(name, Text(logs.plain(value)))  # others' text is no markup
    return table


def rows(federation: str, status: Status) -> Iterator[tuple[str, str]]:
    """What the table says, in words."""
    yield "federation", federation
    yield "phase", f"{status.phase}{f': {status.finished}' if status.finished else ''}"
    if status.round:
        yield "round", _progress(status)
        yield "reported", f"{len(status.reported)} (needs {status.min_clients}){_some(status.reported)}"
    for client, reason in list(status.failed.items())[:MOST_NAMES]:
        yield "failed", f"{client}: {reason}"
    for client, reason in list(status.refused.items())[:MOST_NAMES]:
        yield "refused", f"{client}: {reason}"
    members = [f"{name} ({state})" for name, state in status.members.items()]
    yield "members", f"{len(members)}{_some(members)}"
    for kind, metrics in (
        ("train", status.train_metrics),
        ("evaluate", status.evaluate_metrics),
        ("global", status.global_metrics),
    ):
        if metrics:
            yield kind, "  ".join(f"{name} {value:.4f}" for name, value in metrics.items())
    if status.model_sha256:
        yield "model", status.model_sha256


def _some(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f": {', '.join(names[:MOST_NAMES])}{more}" if names else ""


def _progress(status: Status) -> str:
    if status.round <= status.num_rounds:
        return f"{status.round} of {status.num_rounds}"
    return f"all {status.num_rounds} done, then one that evaluates the final model"
