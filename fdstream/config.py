"""Flag `--xyz-abc` = environment variable FDSTREAM_XYZ_ABC = key `xyz-abc` of the TOML file of `--config`.

click does the work: `Option.envvar` for the environment, `Context.default_map` for the file, and its own
order, flag before environment before file before default. What is added here: names made from the flag,
tables (`[server]` overrides for that command, `[kafka]` gives a `key=value` option), unknown keys refused,
errors that say which of the sources is wrong. The file's values become the text one would type, so the same
rules hold for them. Where a command and an option share a name (`broker`), a table is the command's and a text
is the option's. This file knows no option by name, except the one that names the file.
"""

from __future__ import annotations

import difflib
import itertools
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

Scalar = str | int | float | bool
Pair = tuple[str, Scalar]

_FILE = "fdstream.config.file"
SHOWN_SECRETS = "fdstream.config.shown_secrets"
_SECRET = re.compile(r"password|passphrase|secret|key\.pem|oauthbearer\.config")


def key_of(option: click.Option) -> str:
    """The option's name in a TOML file: its long flag without the dashes."""
    return next(flag for flag in option.opts if flag.startswith("--")).removeprefix("--")


def envvar_of(option: click.Option) -> str:
    """The option's environment variable, the same for every command that has the option."""
    return "FDSTREAM_" + key_of(option).replace("-", "_").upper()


def options_of(command: click.Command) -> dict[str, click.Option]:
    """The options of one command by key. No file names another file, so `config` is not among them."""
    options = {key_of(param): param for param in command.params if isinstance(param, click.Option)}
    return {key: option for key, option in options.items() if key != "config"}


def read_file(ctx: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Callback of an eager `--config`: makes the file's values the defaults of the command that is starting.

    Errors: `click.UsageError` for a file that is not TOML, an unknown key or a value of the wrong kind.
    """
    if path is None:
        return
    ctx.meta[_FILE] = path
    try:
        ctx.default_map = _defaults(ctx, tomllib.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise click.UsageError(f"{path}: {error}", ctx) from None


def merged(ctx: click.Context, param: click.Parameter, pairs: Iterable[Pair]) -> dict[str, Scalar]:
    """Callback of `key=value` options: the sources are merged key by key, in click's order."""
    layers = (ctx.lookup_default(param.name or ""), param.value_from_envvar(ctx))
    lower = (param.type_cast_value(ctx, layer) for layer in layers if layer)
    return dict(itertools.chain(*lower, pairs))


def merged_secrets(ctx: click.Context, param: click.Parameter, pairs: Iterable[Pair]) -> dict[str, Scalar]:
    """`merged`, for pairs that may be secret; remembers which of them stood on the command line."""
    given = dict(pairs)
    if ctx.get_parameter_source(param.name or "") is ParameterSource.COMMANDLINE:
        ctx.meta[SHOWN_SECRETS] = sorted(filter(_SECRET.search, given))
    return merged(ctx, param, given.items())


def origin(ctx: click.Context, param: click.Parameter) -> str:
    """Where the value of `param` comes from, for an error message."""
    if not isinstance(param, click.Option):
        return param.get_error_hint(ctx)
    source = ctx.get_parameter_source(param.name or "")
    if source is ParameterSource.ENVIRONMENT:
        return f"environment variable {envvar_of(param)}"
    if source is ParameterSource.DEFAULT_MAP:
        return f"'{key_of(param)}' in {ctx.meta[_FILE]}"
    return f"'--{key_of(param)}'"


def as_text(value: Scalar) -> str:
    """What one would type on the command line: 5, true, text."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def closest(word: str, words: Iterable[str]) -> str:
    """A hint to end a message with: the most similar of `words`, or nothing where none is similar."""
    found = difflib.get_close_matches(word, words, n=1)
    return f"; did you mean '{found[0]}'?" if found else ""


def _defaults(ctx: click.Context, table: Mapping[str, Any]) -> dict[str, Any]:
    """The file's values for the options of `ctx.command`, by parameter name; inner tables override outer."""
    mine = options_of(ctx.command)
    values: dict[str, Any] = {}
    levels = _lineage(ctx)
    for level, inner in zip(levels, [*levels[1:], None], strict=True):
        table = {key.replace("_", "-"): value for key, value in table.items()}
        for key, value in table.items():
            if key in _subcommands(level) and isinstance(value, dict):
                continue
            if key in mine:
                name = mine[key].name or ""
                values[name] = _value(mine[key], value, values.get(name, []))
            else:
                _require_known(level, key)
        table = _table_of(inner.info_name or "", table) if inner else {}
    return values


def _table_of(command: str, table: Mapping[str, Any]) -> Mapping[str, Any]:
    """A command may share its name with an option (`broker`): only a table is the command's."""
    found = table.get(command)
    return found if isinstance(found, dict) else {}


def _value(option: click.Option, value: object, outer: list[Pair]) -> str | list[Pair]:
    """What click is to take for an option: pairs, after those of an outer table, or text."""
    key = key_of(option)
    if option.multiple and isinstance(value, dict):
        return [*outer, *_pairs(key, value)]
    _require(not option.multiple, f"'{key}' is a table: give its entries in [{key}]")
    return as_text(_scalar(key, value))


def _pairs(name: str, table: Mapping[str, Any]) -> Iterator[Pair]:
    """`sasl.username = "me"` is to TOML a table in a table; here it is the key that it looks like."""
    for key, value in table.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{rest}", inner) for rest, inner in _pairs(f"{name}.{key}", value))
        else:
            yield key, _scalar(f"{name}.{key}", value)


def _scalar(key: str, value: object) -> Scalar:
    if not isinstance(value, Scalar):
        raise ValueError(f"'{key}' takes one string, number or boolean")
    return value


def _require_known(level: click.Context, key: str) -> None:
    """Outside the commands' tables a key may belong to any command; to know, all are imported."""
    keys, commands = {*_keys_below(level, level.command)}, _subcommands(level)
    if key not in keys:
        _require(key not in commands, f"'{key}' is a command: give its options in [{key}]")
        raise ValueError(f"there is no option or command '{key}'{closest(key, [*sorted(keys), *commands])}")


def _keys_below(ctx: click.Context, command: click.Command) -> Iterator[str]:
    yield from options_of(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None
            yield from _keys_below(ctx, inner)


def _subcommands(ctx: click.Context) -> list[str]:
    return ctx.command.list_commands(ctx) if isinstance(ctx.command, click.Group) else []


def _lineage(ctx: click.Context) -> list[click.Context]:
    """From the program's context to `ctx`."""
    return [*(_lineage(ctx.parent) if ctx.parent else ()), ctx]


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)
