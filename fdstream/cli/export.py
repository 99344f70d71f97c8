"""`fdstream export`: a global model from the log into a file."""

from __future__ import annotations

from pathlib import Path

import click

from fdstream.cli import options
from fdstream.cli.base import Command, print_result
from fdstream.cli.param_types import FileToWrite


@click.command("export", cls=Command)
@options.broker
@options.federation
@options.kafka
@options.as_json
@click.option(
    "--round",
    "round_number",
    type=click.IntRange(0),
    metavar="N",
    show_default="the newest",
    help="The model after so many rounds; 0 is the initial one. Older models go, see --keep-rounds.",
)
@click.option(
    "--output",
    "output_path",
    type=FileToWrite(".npz"),
    metavar="PATH.npz",
    required=True,
    help="Where to write it: one array a tensor, for numpy.load.",
)
def command(
    broker: str,
    federation: str,
    kafka: dict[str, str],
    as_json: bool,
    round_number: int | None,
    output_path: Path,
) -> None:
    """Write the global model of any kept round to a .npz file."""
    from fdstream.client.fetch import fetch_version, newest_version
    from fdstream.npz import save_npz
    from fdstream.watch import watch

    with watch(broker, federation, kafka) as found:
        ledger = found.watcher.ledger
        version = newest_version(ledger) if round_number is None else round_number + 1
        tensors = fetch_version(found.log, ledger, version).tensors()
    save_npz(output_path, tensors)
    if as_json:
        facts = {"round": version - 1, "tensors": len(tensors), "path": str(output_path)}
        print_result({"federation": federation, **facts})
    else:
        click.echo(f"the model after round {version - 1} is in {output_path}")
