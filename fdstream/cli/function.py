"""What a function (one invocation, one round) is set to: the options of its environment, and what a request adds.

A function has no command line, but the same options under the same names: environment variables, or a TOML file
named by FDSTREAM_CONFIG. What these set, no request changes; of the rest a request sets the four of `FIELDS`.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from fdstream import keys, logs
from fdstream.cli import channel, options
from fdstream.cli.base import Command
from fdstream.cli.param_types import FiniteRange, KeySource
from fdstream.config import Scalar
from fdstream.errors import UsageError

FIELDS = ("broker", "channel", "client_id", "federation")
_CHANNELS = {"kafka": "--no-grpc", "grpc": "--grpc"}


class RefusedError(Exception):
    """A request that cannot be served, with a status of HTTP and a sentence for whoever sent it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True, slots=True)
class FunctionSettings:
    """One invocation's. `address` is the broker's, or over gRPC the server's."""

    grpc: bool
    address: str
    federation: str
    client_id: str
    app: str
    config: Mapping[str, Scalar]
    kafka: Mapping[str, str] = field(repr=False)
    key: Path | str | None = field(repr=False)  # of this client: a file, or a text
    server_key: Path | str | None
    timeout_seconds: float
    log_format: logs.Format
    log_level: str

    @property
    def place(self) -> Hashable:
        """What invocations must have in common to use the same connection."""
        return (
            self.grpc,
            self.address,
            self.federation,
            self.server_key,
            *(tuple(sorted(pairs.items())) for pairs in (self.config, self.kafka)),
        )


@click.command("function", cls=Command)
@options.broker
@channel.grpc
@channel.server
@options.federation
@options.app
@options.client_id
@click.option(  # key: Path | str | None
    "--key",
    type=KeySource(keys.is_private_text, dir_okay=True, secret=True),
    metavar="FILE|DIRECTORY",
    show_default=False,
    help="Private key to sign with, or its text; or a directory with a CLIENT.key for each client.",
)
@options.server_key
@options.data_index
@options.settings
@options.kafka
@click.option(  # timeout_seconds: float
    "--timeout",
    "timeout_seconds",
    type=FiniteRange(1, 86_400),
    metavar="SECONDS",
    default=50.0,
    help="When to give up, before the platform kills the function.",
)
def _options(**values: Any) -> FunctionSettings:
    """The values as settings."""
    if values["client_id"] is None:
        raise RefusedError(400, "the request names no client: give client_id, or set FDSTREAM_CLIENT_ID")
    index = {} if values["data_index"] is None else {"data_index": values["data_index"]}
    return FunctionSettings(
        grpc=values["grpc"],
        address=values["server_address"] if values["grpc"] else values["broker"],
        federation=values["federation"],
        client_id=values["client_id"],
        app=values["app"],
        config=values["settings"] | index,
        kafka=values["kafka"],
        key=_key_of(values["client_id"], values["key"]),
        server_key=values["server_key"],
        timeout_seconds=values["timeout_seconds"],
        log_format=values["log_format"],
        log_level=values["log_level"],
    )


def _key_of(client: str, key: Path | str | None) -> Path | str | None:
    """The client's own, where there is one for each."""
    if not (isinstance(key, Path) and key.is_dir()):
        return key
    found = keys.key_of(key, client)
    if found is None:
        raise RefusedError(403, f"this function has no key for client {client[:80]!r}")
    return found


def read_settings(fields: Mapping[str, object]) -> FunctionSettings:
    """The environment's options with a request's fields.

    Raises `RefusedError`, and `UsageError` where the environment itself is wrong.
    """
    try:
        own = _parsed([])
    except click.UsageError as error:
        raise UsageError(error.format_message()) from None
    asked = _asked(fields, own)
    try:
        values = _parsed(asked).params
    except click.UsageError as error:
        raise RefusedError(400, f"the request cannot be used: {error.format_message()}") from None
    for name in ("broker", "server_address", "grpc", "federation", "client_id"):
        if _is_fixed(own, name) and values[name] != own.params[name]:
            raise RefusedError(
                403, f"this function's {_SPOKEN.get(name, name)} is fixed where it is deployed"
            )
    if "--broker" in asked and own.params["kafka"] and not _is_fixed(own, "broker"):
        raise RefusedError(
            403, "a function with Kafka settings of its own goes to no broker that a request names"
        )
    assert _options.callback is not None
    found = _options.callback(**values)
    assert isinstance(found, FunctionSettings)
    return found


_SPOKEN = {"server_address": "broker", "grpc": "channel"}


def _parsed(arguments: Sequence[str]) -> click.Context:
    return _options.make_context("function", list(arguments))  # click takes the list apart


def _is_fixed(own: click.Context, name: str) -> bool:
    return own.get_parameter_source(name) in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


def _asked(fields: Mapping[str, object], own: click.Context) -> list[str]:
    """A request's fields as options."""
    for name, value in fields.items():
        if name not in FIELDS:
            raise RefusedError(400, f"a request may set {', '.join(FIELDS)}, not {name[:40]!r}")
        if not isinstance(value, str) or not value:
            raise RefusedError(400, f"{name} has to be a text that is not empty")
    asked = [_channel(fields["channel"])] if "channel" in fields else []
    grpc = asked == ["--grpc"] if asked else own.params["grpc"]
    for name, option in (
        ("broker", "--server" if grpc else "--broker"),
        ("client_id", "--client-id"),
        ("federation", "--federation"),
    ):
        if name in fields:
            asked += [option, str(fields[name])]
    return asked


def _channel(value: object) -> str:
    try:
        return _CHANNELS[str(value)]
    except KeyError:
        raise RefusedError(400, "channel has to be kafka or grpc") from None
