"""`fdstream keys`: key pairs for clients and servers."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from fdstream.cli.base import Command, print_result
from fdstream.cli.options import NAME_CHECK, as_json


@click.group("keys")
def command() -> None:
    """Make keys that sign what clients report and servers decide."""


@command.command("new", cls=Command)
@click.argument("name", type=NAME_CHECK, metavar="NAME")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    show_default="NAME",
    help="Where to write: PATH.key and PATH.pub.",
)
@as_json
def new(name: str, output: Path | None, as_json: bool) -> None:
    """Write a private and a public key for the client or server called NAME. Overwrites nothing.

    NAME is what a client is called with --client-id; for a server any name will do.
    """
    from fdstream.errors import UsageError
    from fdstream.keys import new_pair

    if output is None and (name != Path(name).name or name.startswith((".", "-"))):
        raise UsageError(
            f"{name!r} is no good name for a file: say with --output where to write the keys of {name!r}"
        )
    private, public = new_pair(name, output or Path(name))
    if as_json:
        print_result({"name": name, "private": str(private), "public": str(public)})
        return
    key, pub, who = (shlex.quote(str(each)) for each in (private, public, name))
    click.echo(
        f"wrote {key}: private, for its owner alone (chmod 600); whoever has it is {who}\n"
        f"wrote {pub}: public\n"
        f"a client:  fdstream client --client-id {who} --key {key}; {pub} goes into the servers' --trust folder\n"
        f"a server:  fdstream server --key {key}; {pub} goes to the clients, for their --server-key"
    )
