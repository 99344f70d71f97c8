"""`fdstream swarm`: many light clients in one process, for trying a federation out and measuring it."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fdstream.cli import channel, measuring, options, watching
from fdstream.cli.base import Command, print_result
from fdstream.cli.param_types import ByteSize, Checked
from fdstream.messages import MAX_CLIENTS

if TYPE_CHECKING:
    from fdstream.client.swarm import OpenLog, Swarm
    from fdstream.instruments import Instruments
    from fdstream.log import Log

logger = logging.getLogger("fdstream.swarm")
WORK = re.compile(r"(echo|synthetic)(:\d{1,9}(\.\d{1,9})?)?|sleep:\d{1,9}(\.\d{1,9})?", re.ASCII)


@click.command("swarm", cls=Command)
@options.broker
@channel.grpc
@channel.server
@options.federation
@click.option(  # clients: int
    "--clients", type=click.IntRange(1, MAX_CLIENTS), metavar="N", default=10, help="How many clients."
)
@click.option(  # multiplex: int
    "--multiplex",
    type=click.IntRange(1, MAX_CLIENTS),
    metavar="N",
    default=1,
    help="Clients behind one connection; each connection is a thread and receives the model once.",
)
@click.option(  # work: str
    "--work",
    type=Checked("work", WORK.fullmatch, "echo, synthetic or sleep:SECONDS"),
    metavar="WORK[:SECONDS]",
    default="echo",
    help="What a client does with a model, after so many seconds: hands it back (echo, sleep), or adds what "
    "only the seed, its name and the round decide (synthetic).",
)
@click.option(  # app: str | None
    "--app",
    metavar="MODULE:ATTRIBUTE",
    show_default="none: --work",
    help="Train with this app instead, one client of this process at a time; data_index is a client's number.",
)
@click.option(  # first: int
    "--first",
    type=click.IntRange(0, MAX_CLIENTS),
    metavar="N",
    default=0,
    help="Number of the first client: several swarms of one federation count on.",
)
@click.option(  # model_bytes: int | None
    "--model-size",
    "model_bytes",
    type=ByteSize(1, 1 << 42),
    metavar="SIZE",
    show_default="any",
    help="Stop if the federation's model has another size.",
)
@options.seed
@options.key
@options.server_key
@options.heartbeat_period
@options.metrics_port
@options.metrics_host
@options.kafka
@options.write_moments
@options.as_json
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, federation: str, grpc: bool, **values: Any) -> None:
    """Run many light clients in one process until the federation has finished.

    Each is a member with a name of its own, swarm-SEED-00000 and so on, the same at every start. They do not
    train: they try out and measure a federation.
    """
    from fdstream.client.connect import identity_of
    from fdstream.client.crowd import Crowd
    from fdstream.client.swarm import run_swarm

    channel.check(ctx, grpc=grpc)
    identity = identity_of(federation, values.pop("key"), values.pop("server_key"))
    where = {name: values.pop(name) for name in ("broker", "kafka", "server_address")}
    place = values.pop("metrics_host"), values.pop("metrics_port"), values.pop("moments")
    swarm = make_swarm(values)
    over = over_grpc if grpc else over_kafka
    with (
        measuring.measured(federation, "swarm", *place) as instruments,
        watching.activity(ctx, "looking for the federation") as activity,
    ):
        crowd = Crowd(swarm.clients, instruments)
        open_log = over(where, federation, crowd)
        activity.tell(crowd.doing)
        logger.info("taking part", extra={"clients": swarm.clients, "federation": federation})
        totals = run_swarm(swarm, open_log, crowd, identity)
        crowd.end()
    logger.info("the federation has finished", extra=asdict(totals))
    if as_json:
        print_result(asdict(totals))


def over_kafka(where: dict[str, Any], federation: str, instruments: Instruments) -> OpenLog:
    """What opens a log for the clients named; returns once the federation's topics exist."""
    from fdstream.client.connect import wait_for_federation
    from fdstream.topics import table
    from fdstream.topics.kafka_log import KafkaLog

    broker, kafka = where["broker"], where["kafka"]
    wait_for_federation(broker, federation, kafka)

    def open_log(clients: Sequence[str]) -> Log:
        return KafkaLog(
            broker,
            federation,
            client_id=clients[0],
            settings=kafka,
            statistics=instruments.statistics(),
            needs=table.used_by("client"),
            shared=len(clients) > 1,
        )

    return open_log


def over_grpc(where: dict[str, Any], federation: str, instruments: Instruments) -> OpenLog:
    """What opens a stream to the server."""
    from fdstream.grpc.stream_log import StreamLog

    return lambda _: StreamLog(where["server_address"], federation, instruments.hear)


def make_swarm(values: dict[str, Any]) -> Swarm:
    """The swarm that the options describe."""
    from fdstream.app import load
    from fdstream.client.swarm import Swarm, Work

    kind, _, seconds = values.pop("work").partition(":")
    path = values.pop("app")
    app = None if path is None else load(path)
    return Swarm(work=Work(synthetic=kind == "synthetic", seconds=float(seconds or 0), app=app), **values)
