"""`fdstream client`: train on this machine's data."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import click

from fdstream.cli import channel, measuring, options, watching
from fdstream.cli.base import Command, print_result

if TYPE_CHECKING:
    from fdstream.client.connection import Connection
    from fdstream.instruments import Instruments
    from fdstream.messages import ConfigValue

logger = logging.getLogger("fdstream.client")


@click.command("client", cls=Command)
@options.broker
@channel.grpc
@channel.server
@options.federation
@options.app
@options.client_id
@options.key
@options.server_key
@options.data_index
@options.settings
@options.heartbeat_period
@options.metrics_port
@options.metrics_host
@options.kafka
@options.write_moments
@options.as_json
@click.pass_context
def command(
    ctx: click.Context, /, client_id: str | None, data_index: int | None, as_json: bool, **values: Any
) -> None:
    """Take part in a federation until it has finished. Start any number, before or after the server."""
    from fdstream.app import load
    from fdstream.client.connect import new_client_id
    from fdstream.client.connection import work
    from fdstream.client.progress import doing

    channel.check(ctx, grpc=values["grpc"])
    app = load(values["app"])
    name = client_id or new_client_id()
    config = values["settings"] | ({} if data_index is None else {"data_index": data_index})
    reported = failed = 0
    place = values.pop("metrics_host"), values.pop("metrics_port"), values.pop("moments")
    with (
        measuring.measured(values["federation"], "client", *place) as instruments,
        watching.activity(ctx, "looking for the federation") as activity,
        open_connection(name, config, values, instruments) as connection,
    ):
        activity.tell(lambda: (doing(connection), tally(reported, failed)))
        logger.info("taking part", extra={"client": name, "federation": values["federation"]})
        for task, error in work(app, connection):
            facts = {"round": task.round, "training": task.training}
            if error is None:
                reported += 1
                logger.info("reported", extra=facts)
            else:
                failed += 1
                logger.error("could not take part in this round", extra=facts | {"reason": str(error)})
    logger.info("the federation has finished", extra={"reported": reported, "failed": failed})
    if as_json:
        print_result({"client": name, "reported": reported, "failed": failed})


def tally(reported: int, failed: int) -> str:
    """How many rounds went well and badly, for the end of a line."""
    counts = (f"; {reported} reported" * bool(reported), f"; {failed} failed" * bool(failed))
    return "".join(counts)


def open_connection(
    name: str, config: dict[str, ConfigValue], values: dict[str, Any], instruments: Instruments
) -> AbstractContextManager[Connection]:
    """Over the channel that was chosen."""
    from fdstream.client.connect import connect

    where, period = values["federation"], values["heartbeat_period_seconds"]
    if values["grpc"]:
        from fdstream.grpc import start

        return start.connect(
            values["server_address"],
            where,
            client_id=name,
            config=config,
            heartbeat_period_seconds=period,
            instruments=instruments,
            key=values["key"],
            server_key=values["server_key"],
        )
    return connect(
        values["broker"],
        where,
        client_id=name,
        config=config,
        kafka=values["kafka"],
        heartbeat_period_seconds=period,
        instruments=instruments,
        key=values["key"],
        server_key=values["server_key"],
    )
