"""`fdstream dashboard`: a page that shows a federation as it runs."""

from __future__ import annotations

import sys
import webbrowser

import click

from fdstream.cli import options
from fdstream.cli.base import Command


@click.command("dashboard", cls=Command)
@options.broker
@options.federation
@click.option(  # host: str
    "--host",
    metavar="ADDRESS",
    default="127.0.0.1",
    help="Where to listen. Whoever reaches it sees the federation: nobody signs in.",
)
@click.option(  # port: int
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    default=8080,
    show_default=True,
    help="The port to listen on; 0 takes a free one.",
)
@click.option("--open/--no-open", "opens", help="Open the page in a browser.")
@options.kafka
def command(broker: str, federation: str, host: str, port: int, opens: bool, kafka: dict[str, str]) -> None:
    """Serve a page that shows a federation as it runs: nodes, rounds, curves, traffic, refusals.

    It reads the federation's small topics and writes nothing. Any number of people may look.
    """
    from fdstream.dashboard import needs

    needs.check_installed()

    from fdstream.dashboard.feed import Feed
    from fdstream.dashboard.reader import reading
    from fdstream.dashboard.web import listen, serve

    with listen(host, port) as listening, reading(broker, federation, kafka) as reader:
        address = url(host, listening.getsockname()[1])
        click.echo(f"the dashboard of federation {federation!r} is at {address} (Ctrl-C ends it)")
        sys.stdout.flush()  # who waits for this line through a pipe
        if opens and not webbrowser.open(address):
            click.echo("no browser was found to open it in", err=True)
        serve(Feed(reader, federation), listening, host)


def url(host: str, port: int) -> str:
    """What to type into a browser."""
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/"
