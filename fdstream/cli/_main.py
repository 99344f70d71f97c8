"""The `fdstream` program: which commands there are, and what becomes of an error.

A command is `command` in `fdstream/cli/<name>.py`, imported when asked for. Every exception ends here as one
sentence on stderr and an exit code; no other place calls `sys.exit`.
"""

from __future__ import annotations

import errno
import importlib
import io
import logging
import sys
import traceback
from typing import Any, NoReturn

import click

from fdstream import config, interrupts, logs
from fdstream.cli.base import DEBUG, LOG_FORMAT
from fdstream.errors import FdstreamError

COMMANDS = {
    "broker": "Run a real Kafka broker on this machine.",
    "server": "Run a federation, or join its servers.",
    "client": "Train on this machine's data.",
    "swarm": "Run many light clients in one process.",
    "invoke": "Invoke functions until their federation has ended.",
    "demo": "Broker, server and clients on real data, all at once.",
    "stress": "Kafka against gRPC: measured, with report and plots.",
    "status": "Show how a federation is doing.",
    "dashboard": "Serve a page that shows a federation as it runs.",
    "report": "Write a federation's course into one HTML file.",
    "export": "Write a round's global model to a file.",
    "keys": "Make keys that sign what clients report and servers decide.",
    "topics": "Create, list or delete a federation's topics.",
}

_BUG = 70

EXIT_CODES = {
    0: "done",
    1: "the operating system refused: disk full, no permission, stdout closed",
    2: "wrong use: an option, path, setting or function of yours",
    3: "the federation's log is not as it must be",
    4: "the broker cannot be reached, or refused",
    5: "the federation failed; the reason is in its log",
    _BUG: "a bug in fdstream",
    130: "stopped by Ctrl-C",
}

_SOURCES = """Every option of a command is also an environment variable (the command's --help names it) and a
key of the TOML file given by --config: --log-level is FDSTREAM_LOG_LEVEL and log-level. A flag overrides the
environment, the environment the file. Options stand after the command."""
_EXITS = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())


class Program(click.Group):
    """The group of all commands; keeps `fdstream --help` fast by importing none of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            ctx.fail(f"there is no command '{cmd_name}'{config.closest(cmd_name, COMMANDS)}")
        command = importlib.import_module(f"fdstream.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with interrupts.remembered():
                result = super().invoke(ctx)
            sys.stdout.flush()  # later its errors would bypass this place
            return result
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click prints the first, and leaves quietly where nobody reads any more
        except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - nothing may end in a bare traceback
            _leave(ctx, error)


@click.group(
    cls=Program,
    epilog=f"{_SOURCES}\n\n\b\nExit codes:\n{_EXITS}",
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 110},
)
@click.version_option(package_name="fdstream", message="fdstream %(version)s")
def main() -> None:
    """Federated learning over Kafka: exact, sharded, restartable."""


def explain(error: BaseException) -> tuple[int, str]:
    """The exit code for an exception, and the sentence about it."""
    match error:
        case KeyboardInterrupt():
            return 130, "stopped by Ctrl-C"
        case FdstreamError():
            return error.exit_code, str(error)
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            place = f" (writing {error.filename})" if error.filename else ""
            return 1, f"the disk is full{place}: free some space and run this again"
        case OSError():
            place = f": {error.filename}" if error.filename else ""
            return 1, f"{error.strerror or error}{place}"
    return _BUG, f"unexpected {type(error).__name__}: {error}; run again with --debug to see where"


def _drop_unwritable_stdout() -> None:
    """What cannot be written now will not be at exit either, where it would change the exit code."""
    try:
        sys.stdout.flush()
    except OSError:
        sys.stdout = io.StringIO()


def _leave(ctx: click.Context, error: BaseException) -> NoReturn:
    code, sentence = explain(error)
    debug = ctx.meta.get(DEBUG, code == _BUG)  # a bug before --debug is read shows itself
    if ctx.meta.get(LOG_FORMAT) == "json":
        cause = error if debug else None
        logging.getLogger("fdstream").error(sentence, exc_info=cause, extra={"exit_code": code})
    else:
        if debug:
            traceback.print_exception(error)
        click.echo(_opening(error) + logs.plain(sentence), err=True)
    _drop_unwritable_stdout()
    ctx.exit(code)


def _opening(error: BaseException) -> str:
    if not isinstance(error, KeyboardInterrupt):
        return "Error: "
    return "\n" if sys.stderr.isatty() else ""  # the terminal has just shown ^C
