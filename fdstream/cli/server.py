"""`fdstream server`: run a federation, or join its servers."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from fdstream.cli import channel, measuring, options, watching
from fdstream.cli.base import Command, print_result
from fdstream.cli.param_types import ByteSize

if TYPE_CHECKING:
    from fdstream.app import App
    from fdstream.events import Tell
    from fdstream.instruments import Instruments
    from fdstream.messages import ConfigValue
    from fdstream.server.run import Identity, Plan, ServerRun

logger = logging.getLogger("fdstream.server")
MAX_EXTENSIONS = 144  # a day of deadlines of the default length


@click.command("server", cls=Command)
@options.broker
@channel.grpc
@channel.listen
@options.federation
@options.app
@click.option(  # model_bytes: int | None
    "--model-size",
    "model_bytes",
    type=ByteSize(1, 1 << 42),
    metavar="SIZE",
    help="Instead of an app: a model of random weights, to measure with `fdstream swarm`.",
)
@options.numrounds
@options.minclients
@options.maxclients
@options.deadline
@options.fraction
@options.strategy
@options.clip
@options.codec
@options.model_codec
@options.shards
@options.chunk_bytes
@options.keep_rounds
@options.seed
@options.settings
@options.key
@options.server_key
@options.trust
@options.save
@options.heartbeat_period
@options.metrics_port
@options.metrics_host
@options.kafka
@options.write_moments
@options.as_json
@click.pass_context
def command(ctx: click.Context, /, as_json: bool, save_path: Path | None, **values: Any) -> None:
    """Run a federation to its end, or join those who do.

    Servers of one federation share its work: start more of them, kill any, start again where the log stands.
    The first one opens the federation with its settings; the others adopt them.
    """
    from rich.console import Console

    from fdstream.display import Audience
    from fdstream.npz import save_npz

    channel.check(ctx, grpc=values["grpc"])
    audience = Audience(log_progress)
    place = values.pop("metrics_host"), values.pop("metrics_port"), values.pop("moments")
    with (
        measuring.measured(values["federation"], "server", *place) as instruments,
        watching.activity(ctx, "joining the servers") as activity,
        open_server(choose_app(ctx, values), make_plan(ctx, values), audience, values, instruments) as run,
    ):
        activity.tell(None)
        watched = watching.is_watched(ctx)
        with audience.show(run.core.ledger, Console(stderr=True)) if watched else nullcontext():
            summary = run.run()
        if as_json:
            print_result(asdict(summary))
        if save_path is not None:
            save_npz(save_path, run.final_weights())
    facts = {"rounds": summary.rounds, "clients": summary.clients, "model_sha256": summary.model_sha256}
    logger.info("the federation has finished: all its rounds are done", extra=facts)


def open_server(
    app: App,
    plan: Plan,
    observe: Callable[[Tell], None],
    values: dict[str, Any],
    instruments: Instruments,
) -> AbstractContextManager[ServerRun]:
    """Over the channel that was chosen."""
    where, period, identity = values["federation"], values["heartbeat_period_seconds"], make_identity(values)
    if values["grpc"]:
        from fdstream.grpc import start

        return start.start_server(
            values["listen"],
            where,
            app,
            plan,
            heartbeat_period_seconds=period,
            observe=observe,
            instruments=instruments,
            identity=identity,
        )
    from fdstream.server.start import start_server

    return start_server(
        values["broker"],
        where,
        app,
        plan,
        kafka=values["kafka"],
        heartbeat_period_seconds=period,
        observe=observe,
        instruments=instruments,
        identity=identity,
    )


def make_identity(values: dict[str, Any]) -> Identity:
    """Who this server is and whom it knows, from the key files it was given."""
    from fdstream.errors import UsageError
    from fdstream.keys import TrustFile, load_private, load_public
    from fdstream.server.run import Identity

    key = load_private(values["key"]) if values["key"] is not None else None
    others = load_public(values["server_key"]).values() if values["server_key"] is not None else ()
    if others and (key is None or key.public not in others):
        raise UsageError(
            "--server-key names who may run the federation, and this server is none of them: give with --key a "
            "private key that belongs to it"
        )
    servers = frozenset(others) | ({key.public} if key is not None else set())
    return Identity(key, servers, TrustFile(values["trust"]) if values["trust"] is not None else None)


def choose_app(ctx: click.Context, values: dict[str, Any]) -> App:
    """The user's app, or one that has nothing but weights of the size asked for."""
    from fdstream.app import load
    from fdstream.errors import UsageError
    from fdstream.examples import synthetic

    if values["model_bytes"] is None:
        return load(values["app"])
    if ctx.get_parameter_source("app") is not ParameterSource.DEFAULT:
        raise UsageError("--model-size stands instead of an app: leave one of --app and --model-size out")
    return synthetic.app(values["model_bytes"], values["seed"])


def make_plan(ctx: click.Context, values: dict[str, Any]) -> Plan:
    """The settings to open a federation with, and which of them were asked for."""
    from fdstream.aggregation.strategies import strategy, strategy_of
    from fdstream.codecs import codec, model_codec
    from fdstream.errors import UsageError
    from fdstream.messages import Settings
    from fdstream.server.run import Plan

    limit = values["max_clients"] or values["min_clients"]
    if limit < values["min_clients"]:
        raise UsageError(
            f"--maxclients {limit} is below --minclients {values['min_clients']}: raise it or leave it out"
        )
    settings = Settings(
        num_rounds=values["num_rounds"],
        min_clients=values["min_clients"],
        max_clients=limit,
        deadline_seconds=values["deadline_seconds"],
        max_extensions=MAX_EXTENSIONS,
        fraction=values["fraction"],
        strategy=strategy(values["strategy"]).text,
        keep_rounds=values["keep_rounds"],
        seed=values["seed"],
        final_evaluation=True,
        codec=codec(values["codec"]).text,
        model_codec=model_codec(values["model_codec"]).text,
        clip=values["clip"],
        signed_reports=values["trust"] is not None,
    )
    strategy_of(settings)  # refused here, before anything starts
    config: dict[str, ConfigValue] = {"seed": values["seed"], **values["settings"]}
    return Plan(settings, values["chunk_bytes"], values["shards"], config, chosen(ctx, values["settings"]))


def chosen(ctx: click.Context, config: Mapping[str, object]) -> dict[str, str]:
    """What was asked for, by flag, environment or file: the names of settings and how options are written."""
    given = {
        param.name: param.opts[0]
        for param in ctx.command.params
        if param.name and ctx.get_parameter_source(param.name) is not ParameterSource.DEFAULT
    }
    return given | {f"set {name}": f"--set {name}" for name in config}


def log_progress(tell: Tell) -> None:
    """What a person who watches the log wants to know."""
    from fdstream.messages import Report, RoundClosed

    match tell.name, tell.facts:
        case "phase", {"phase": phase, "round": number}:
            logger.debug("phase", extra={"round": number, "phase": phase.name.lower()})
        case "report", {"outcome": outcome, "report": Report() as report}:
            facts = {"round": report.round, "client": report.client, "outcome": outcome}
            if report.failure:
                logger.warning("a client failed", extra=facts | {"reason": report.failure})
            else:
                logger.debug("report", extra=facts)
        case "round closed", {"record": RoundClosed() as closed}:
            facts = {"round": closed.round, "clients": closed.num_clients}
            metrics = {f"train_{k}": v for k, v in closed.train_metrics.items()}
            metrics |= {f"evaluate_{k}": v for k, v in closed.evaluate_metrics.items()}
            rounded = {name: round(value, 4) for name, value in metrics.items()}
            if closed.num_examples:
                logger.info("round closed", extra=facts | {"examples": closed.num_examples} | rounded)
            else:
                logger.info("the clients have evaluated the final model", extra=facts | rounded)
        case "rejected", {"count": count} if count in (1, 10, 100) or count % 1000 == 0:
            logger.warning("record refused", extra=dict(tell.facts))
