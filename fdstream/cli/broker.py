"""`fdstream broker`: a real Kafka broker on this machine until Ctrl-C."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from fdstream.cli import options, watching
from fdstream.cli.base import Command


@click.command("broker", cls=Command)
@click.option(
    "--nodes", type=click.Choice([1, 3]), default=1, help="3 replicate the data and survive a loss."
)
@click.option("--host", default="127.0.0.1", metavar="HOST", help="Address to listen on and to tell clients.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=9091,
    metavar="N",
    help="Port of the first node; further nodes say theirs.",
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    show_default="one that is named at the start",
    help="Where the data is kept.",
)
@click.option("--reset/--no-reset", help="Delete the data of earlier runs first.")
@click.option(
    "--secure",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIRECTORY",
    help="Encrypt, ask everybody to sign in, and grant servers, clients and viewers of --federation the least they "
    "need. Keys and sign-ins are kept in the folder.",
)
@options.federation
@click.pass_context
def command(
    ctx: click.Context,
    /,
    nodes: int,
    host: str,
    port: int,
    data_dir: Path | None,
    reset: bool,
    secure: Path | None,
    federation: str,
) -> None:
    """Run a real Kafka broker on this machine until Ctrl-C.

    The first start downloads Apache Kafka into a cache. Nothing else need be installed.
    """
    from fdstream.broker import new_cluster, run

    cluster = new_cluster(nodes=nodes, host=host, port=port, data_dir=data_dir, reset=reset, secure=secure)
    with watching.activity(ctx) as activity:
        echo = activity.say if watching.is_watched(ctx) and sys.stdout.isatty() else click.echo
        run(cluster, federation=federation, echo=echo, tell=activity.tell)
