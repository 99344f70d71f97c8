"""What every command is made of: the class with the options that all share, and how a result is printed.

Importing this, like `options`, costs little, and modules in this package keep it so: what needs Kafka, numpy
or a broker is imported inside the command's function.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from fdstream import config, logs

logger = logging.getLogger("fdstream")
DEBUG: Final = "fdstream.debug"
LOG_FORMAT: Final = "fdstream.log_format"

_COMMON = (
    click.option(
        "--config",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=config.read_file,
        help="TOML file with options; a table with a command's name overrides for that command.",
    ),
    click.option(
        "--log-format",
        type=click.Choice(["human", "json"]),
        default="human",
        help="Log lines on stderr for people, or one JSON object a line.",
    ),
    click.option(
        "--log-level",
        type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
        default="info",
        help="The least important log lines to show.",
    ),
    click.option("--debug/--no-debug", help="Show the traceback of an error."),
)


class Command(click.Command):
    """A command whose options all come from flag, environment or file, with those that every command has.

    The common ones are dealt with here; the function does not get them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for add_option in _COMMON:
            add_option(self)
        for param in self.params:
            if isinstance(param, click.Option):
                param.envvar = config.envvar_of(param)
                param.show_envvar = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter:
            raise
        except click.BadParameter as error:
            if error.param:
                error.param_hint = config.origin(ctx, error.param)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        ctx.meta[DEBUG] = ctx.params.pop("debug")
        ctx.meta[LOG_FORMAT] = ctx.params.pop("log_format")
        logs.setup(ctx.meta[LOG_FORMAT], ctx.params.pop("log_level"))
        if shown := ctx.meta.get(config.SHOWN_SECRETS):
            logger.warning(
                "every user of this machine can read a secret on the command line: give it in FDSTREAM_KAFKA or in "
                "[kafka] of a --config file",
                extra={"settings": ", ".join(shown)},
            )
        return super().invoke(ctx)


def print_result(result: Mapping[str, object]) -> None:
    """The last line of a `--json` command's stdout: one object, keys in the order given."""
    click.echo(logs.to_json(result))
