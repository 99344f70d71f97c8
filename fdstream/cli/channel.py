"""The options of the gRPC channel, and which options go with which channel."""

from __future__ import annotations

import click
from click.core import ParameterSource

from fdstream.cli.param_types import Addresses

_KAFKA = ("broker", "kafka")
_GRPC = ("listen", "server_address")

grpc = click.option(  # grpc: bool
    "--grpc/--no-grpc",
    "grpc",
    help="Over gRPC to one server instead of Kafka: no replay, no second server, no going on after it died.",
)
listen = click.option(  # listen: str
    "--listen",
    type=Addresses(lowest_port=0),
    metavar="HOST:PORT",
    default="127.0.0.1:9095",
    help="With --grpc: where to listen for clients; port 0 takes a free one.",
)
server = click.option(  # server_address: str
    "--server",
    "server_address",
    type=Addresses(),
    metavar="HOST:PORT",
    default="127.0.0.1:9095",
    help="With --grpc: the server.",
)


def check(ctx: click.Context, *, grpc: bool) -> None:
    """Raises `UsageError` where an option of the other channel was given, or what gRPC needs is not installed."""
    from fdstream.errors import UsageError

    for param in ctx.command.params:
        given = ctx.get_parameter_source(param.name or "") is not ParameterSource.DEFAULT
        if given and param.name in (_KAFKA if grpc else _GRPC):
            other = (
                "is for Kafka: leave it or --grpc out"
                if grpc
                else "goes with --grpc: add that, or leave it out"
            )
            raise UsageError(f"{param.opts[0]} {other}")
    if grpc:
        _check_installed()


def _check_installed() -> None:
    from fdstream.errors import UsageError

    try:
        import fdstream.grpc.start  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name != "grpc":
            raise
        raise UsageError("the gRPC channel needs grpcio: pip install 'fdstream[grpc]'") from error
