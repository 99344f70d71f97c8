"""`fdstream demo`: a whole federation on this machine, on real data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fdstream import logs
from fdstream.cli import options
from fdstream.cli.base import Command, print_result
from fdstream.cli.param_types import FileToWrite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fdstream.demo.run import Outcome, Plan


@click.command("demo", cls=Command)
@click.option(  # clients: int
    "--clients", type=click.IntRange(1, 100), metavar="N", default=10, help="How many clients."
)
@click.option(  # rounds: int
    "--rounds", type=click.IntRange(1, 1000), metavar="N", default=10, help="Rounds of training."
)
@options.seed
@click.option(  # save_path: Path
    "--save",
    "save_path",
    type=FileToWrite(".npz"),
    metavar="PATH.npz",
    default="fdstream-demo.npz",
    help="Where the trained model goes.",
)
@click.option(
    "--dashboard/--no-dashboard", help="Open a page in the browser that shows the federation as it runs."
)
@options.as_json
def command(clients: int, rounds: int, seed: int, save_path: Path, dashboard: bool, as_json: bool) -> None:
    """Train a network on handwritten digits that are spread unevenly over many clients.

    Starts a real Kafka broker on free ports, a server and the clients, each a process of its own, shows how the
    rounds go, compares with training in one place, saves the model and stops everything. The first run downloads
    Apache Kafka into a cache.
    """
    from rich.console import Console

    from fdstream.demo.children import ChildFailedError
    from fdstream.demo.run import Plan, run

    console = Console(stderr=as_json)
    plan = Plan(clients=clients, rounds=rounds, seed=seed, save_path=save_path, dashboard=dashboard)
    try:
        outcome = run(plan, console)
    except ChildFailedError as error:
        for line in error.tail:
            click.echo(f"  {error.name} | {logs.plain(line)}", err=True)
        raise
    for line in summary(plan, outcome):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    if as_json:
        print_result(asdict(outcome))


def summary(plan: Plan, outcome: Outcome) -> Iterator[str]:
    """What came of it, in words."""
    one_place = f"in one place, {plan.epochs} epochs"
    federated = f"{outcome.rounds} rounds, {outcome.clients} clients"
    yield "accuracy on held-out images:"
    yield f"  {federated:<28}{100 * outcome.accuracy:8.1f} %"
    yield f"  {one_place:<28}{100 * outcome.centralised_accuracy:8.1f} %"
    yield f"model saved in {plan.save_path.absolute()}"
    yield f"  sha256 {outcome.model_sha256}"
    yield f"everything is shut down again, after {outcome.seconds:.0f} s"
