"""`fdstream topics`: a federation's topics, and what an administrator has to grant or create."""

from __future__ import annotations

import sys

import click

from fdstream.cli import options
from fdstream.cli.base import Command, print_result
from fdstream.errors import UsageError

replicas = click.option(
    "--replicas", type=click.IntRange(1, 100), metavar="N", default=3, help="Copies of each partition."
)


@click.group("topics")
def command() -> None:
    """Create, list or delete a federation's topics; print what to grant."""


@command.command("create", cls=Command)
@options.broker
@options.federation
@options.shards
@options.kafka
def create(broker: str, federation: str, shards: int, kafka: dict[str, str]) -> None:
    """Create the topics that do not exist. A server does this too, if it may."""
    from fdstream.topics.admin import Admin

    with Admin(broker, settings=kafka) as admin:
        standing = admin.create_topics(federation, shards)
        for finding in admin.startup_checks(federation, standing):
            click.echo(f"warning: {finding}", err=True)
    if standing != shards:
        click.echo(
            f"warning: its topics were there before, with other shards than the {shards} asked for", err=True
        )
    click.echo(
        f"federation {federation!r} has its topics on {broker}, with {standing} shard{'s' * (standing != 1)}"
    )


@command.command("list", cls=Command)
@options.broker
@options.kafka
@options.as_json
def list_federations(broker: str, kafka: dict[str, str], as_json: bool) -> None:
    """List the federations that have topics on the broker."""
    from fdstream.topics.admin import Admin

    with Admin(broker, settings=kafka) as admin:
        found = admin.federations()
    if as_json:
        print_result({"federations": found})
    elif found:
        click.echo("\n".join(found))
    else:
        click.echo(f"no federations on {broker}", err=True)


@command.command("delete", cls=Command)
@options.broker
@options.federation
@options.kafka
@click.option("--yes/--no-yes", help="Do not ask.")
def delete(broker: str, federation: str, kafka: dict[str, str], yes: bool) -> None:
    """Delete a federation with its history and models."""
    from fdstream.topics.admin import Admin

    if not yes and not _confirmed(f"Delete every topic of federation {federation!r} on {broker}?"):
        raise UsageError("nothing was deleted")
    with Admin(broker, settings=kafka) as admin:
        gone = admin.delete_topics(federation)
    if not gone:
        raise UsageError(
            f"there is no federation {federation!r} on {broker}: `fdstream topics list` names those there"
        )
    click.echo(f"deleted {len(gone)} topics of federation {federation!r}")


def _confirmed(question: str) -> bool:
    """Whether somebody says yes; Ctrl-C is that of any command, the end of stdin a no."""
    click.echo(f"{question} [y/N]: ", nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@command.command("acls", cls=Command)
@options.broker
@options.federation
@options.kafka
@click.option("--server", default="User:server", metavar="PRINCIPAL", help="Whom the servers sign in as.")
@click.option("--client", default="User:client", metavar="PRINCIPAL", help="Whom the clients sign in as.")
@click.option(
    "--function", metavar="PRINCIPAL", help="Whom clients that run as functions sign in as, if any do."
)
@click.option(
    "--viewer",
    metavar="PRINCIPAL",
    help="Whom those sign in as who look: dashboard, status and report, if any do.",
)
@click.option(
    "--apply/--no-apply", help="Add them on the broker instead, which needs an administrator's sign-in."
)
def acls(
    broker: str,
    federation: str,
    kafka: dict[str, str],
    server: str,
    client: str,
    function: str | None,
    viewer: str | None,
    apply: bool,
) -> None:
    """Print the access rules to grant and the rates to bound clients by, or add the rules."""
    from fdstream.topics import access, granting

    if not apply:
        click.echo(access.acls(federation, server=server, client=client, function=function, viewer=viewer))
        return
    wanted = access.grants(federation, server=server, client=client, function=function, viewer=viewer)
    count = granting.apply(broker, wanted, settings=kafka)
    click.echo(f"granted on {broker}: {count} access rules of federation {federation!r}")
    click.echo(
        "clients' rates are not bounded by that: without --apply this command prints how kafka-configs.sh does it",
        err=True,
    )


@command.command("settings", cls=Command)
@options.federation
@options.shards
@replicas
def settings(federation: str, shards: int, replicas: int) -> None:
    """Print the commands that create the topics by hand."""
    from fdstream.topics import access

    click.echo(access.creation(federation, shards, replicas=replicas))
