"""`fdstream status`: how a federation is doing, from its topics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fdstream import logs
from fdstream.cli import options
from fdstream.cli.base import Command, print_result

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from fdstream.status import Status
    from fdstream.watch import Watch

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

    from fdstream.watch import watch

    console = Console(stderr=as_json)
    with watch(broker, federation, kafka) as found:
        if follow:
            show = live_table if console.is_terminal else plain_lines
            with show(console, federation) as update:
                for status in statuses(found):
                    update(status)
        elif not as_json:
            console.print(drawn(federation, found.watcher.status()))
        if as_json:
            print_result({"federation": federation, **asdict(found.watcher.status())})


def statuses(found: Watch) -> Iterator[Status]:
    """One every second until the federation has finished, and the last one."""
    while not found.finished:
        yield found.watcher.status()
        found.wait(REFRESH_SECONDS)
    for _ in range(LAST_REFRESHES):
        if found.awaits_evaluation:
            found.wait(REFRESH_SECONDS)
    yield found.watcher.status()


@contextmanager
def live_table(console: Console, federation: str) -> Iterator[Callable[[Status], None]]:
    """A table that is drawn over; the last one stays."""
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as live:
        yield lambda status: live.update(drawn(federation, status), refresh=True)


@contextmanager
def plain_lines(console: Console, federation: str) -> Iterator[Callable[[Status], None]]:
    """Where nobody can draw over: a line for whatever has changed, and the table at the end."""
    said = ""

    def update(status: Status) -> None:
        nonlocal said
        line = in_short(status)
        if status.phase == "finished":
            console.print(drawn(federation, status))
        elif line != said:
            said = line
            console.print(line, highlight=False, markup=False, soft_wrap=True)

    yield update


def in_short(status: Status) -> str:
    """What matters most, in one line."""
    if not status.round:
        return f"{status.phase}: {len(status.members)} members"
    text = f"round {_progress(status)}, {status.phase}: {len(status.reported)} reported"
    failed = f", {len(status.failed)} failed" if status.failed else ""
    metrics = {"evaluate": status.evaluate_metrics, "global": status.global_metrics}
    found = "".join(f", {kind} {_first(each)}" for kind, each in metrics.items() if each)
    return logs.plain(f"{text}{failed}, {len(status.members)} members{found}")


def _first(metrics: Mapping[str, float]) -> str:
    name = "accuracy" if "accuracy" in metrics else min(metrics)
    return f"{name} {metrics[name]:.4f}"


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
