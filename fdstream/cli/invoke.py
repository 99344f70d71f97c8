"""`fdstream invoke`: invoke functions until their federation has ended."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fdstream import config
from fdstream.cli import options
from fdstream.cli.base import Command, print_result
from fdstream.cli.param_types import Checked, Duration, KeyValue

if TYPE_CHECKING:
    from fdstream.scheduling import Plan, Tally


@click.command("invoke", cls=Command)
@click.option(  # url: str
    "--url",
    type=Checked(
        "url", re.compile(r"https?://[^\s/]+\S*").fullmatch, "an address that begins with http:// or https://"
    ),
    metavar="URL",
    required=True,
    help="Where the function is.",
)
@click.option(  # clients: int
    "--clients",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=10,
    help="For how many clients; each of them takes part as function-0, function-1 and so on.",
)
@click.option(  # every_seconds: float
    "--every",
    "every_seconds",
    type=Duration(0.01, 86_400),
    metavar="TIME",
    default="2s",
    help="How often to invoke each: 500ms, 2s, 5m.",
)
@options.federation
@click.option(  # headers: dict[str, str]
    "--header",
    "headers",
    type=KeyValue(typed=False),
    metavar="NAME=VALUE",
    multiple=True,
    callback=config.merged,
    show_default=False,
    help="A header of every request, such as Authorization=Bearer ...; repeatable. Give secrets in the environment "
    "(one a line, or with ; between) or in the file (in [header]).",
)
@options.as_json
@click.pass_context
def command(ctx: click.Context, /, federation: str, as_json: bool, **values: Any) -> None:
    """Invoke functions again and again, as a cloud's scheduler does, until their federation has ended.

    A function that fails is invoked again like the others.
    """
    import time

    from fdstream.errors import FederationFailedError
    from fdstream.scheduling import Plan

    given = ctx.get_parameter_source("federation") is not ParameterSource.DEFAULT
    plan = Plan(**values, fields={"federation": federation} if given else {})
    began = time.monotonic()
    tally = drive(plan, as_json=as_json)
    assert tally.finished is not None
    if tally.finished["failed"]:
        raise FederationFailedError(f"the federation ended early: {tally.finished['reason']}")
    seconds = time.monotonic() - began
    if as_json:
        counted = {"functions": plan.clients, "reported": tally.reported, "failed_invocations": tally.failed}
        print_result({**counted, "reason": tally.finished["reason"], "seconds": round(seconds, 3)})
    else:
        click.echo(tally.conclusion(seconds))


def drive(plan: Plan, *, as_json: bool) -> Tally:
    """Invoke until somebody says that the federation has ended, and show how it goes."""
    from rich.console import Console

    from fdstream.display import Display
    from fdstream.errors import TransportError
    from fdstream.progress import Rounds
    from fdstream.scheduling import Tally, replies

    tally = Tally(plan.clients)
    with Display(Console(stderr=as_json), Rounds()) as display:
        display.tell(f"invoking {plan.clients} functions")
        for reply in replies(plan):
            for line in tally.hear(reply):
                display.say(line)
            display.tell(tally.doing())
            if tally.is_hopeless:
                raise TransportError(f"no function at {plan.url} could be invoked: {reply.error}")
            if tally.finished is not None:
                return tally
    raise AssertionError("replies come for ever")
