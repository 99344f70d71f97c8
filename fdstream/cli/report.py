"""`fdstream report`: a federation in one HTML file."""

from __future__ import annotations

from pathlib import Path

import click

from fdstream.cli import options
from fdstream.cli.base import Command
from fdstream.cli.param_types import FileToWrite


@click.command("report", cls=Command)
@options.broker
@options.federation
@click.option(  # out: Path
    "--out",
    type=FileToWrite(".html"),
    metavar="PATH.html",
    default="report.html",
    help="Where the report goes.",
)
@options.kafka
def command(broker: str, federation: str, out: Path, kafka: dict[str, str]) -> None:
    """Write what the log knows of a federation into one HTML file: curves, rounds, participants, traffic, hashes.

    The file needs no network and no other file. During a run it shows the state of the moment.
    """
    from fdstream.dashboard.document import changes
    from fdstream.dashboard.page import in_one_file
    from fdstream.dashboard.reader import reading

    with reading(broker, federation, kafka) as reader:
        chronicle = reader.chronicle
        out.write_text(in_one_file(changes(chronicle, 0, name=federation)), "utf-8")
    rounds, clients = len(chronicle.rounds), len(list(chronicle.parties.of_role("client")))
    click.echo(
        f"wrote the report of federation {federation!r}, with {rounds} round{'s' * (rounds != 1)} and "
        f"{clients} client{'s' * (clients != 1)}, to {out.absolute()}"
    )
