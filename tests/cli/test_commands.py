"""Every command at once: none forgotten, none dead, each with its help, its variables and its keys in a file."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.core import ParameterSource
from click.testing import CliRunner

import fdstream.cli
from fdstream.cli import main
from fdstream.cli._main import COMMANDS
from fdstream.config import envvar_of, key_of, options_of

NO_COMMANDS = {"_main", "base", "channel", "function", "measuring", "options", "param_types", "watching"}
WIDTH = 80
WITHOUT_DEFAULT = {
    "app": "fdstream.examples.linear:app",
    "chunk-bytes": "1MB",
    "client-id": "ada",
    "data-dir": "folder",
    "data-index": 1,
    "functions": 3,
    "local": 3,
    "function": "User:function",
    "viewer": "User:viewer",
    "key": "all.toml",
    "maxclients": 5,
    "metrics-port": 9464,
    "model-size": "1MB",
    "moments": "moments.jsonl",
    "out": "out.html",
    "output": "model.npz",
    "round": 1,
    "save": "model.npz",
    "secure": "keys",
    "stragglers": "10%:5s",
    "sweep": "clients=10,100",
    "url": "http://127.0.0.1:8080",
    "server-key": ".",
    "trust": ".",
}
"""What a file may say where there is no default to repeat; paths are of the current folder."""


def leaves(path: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from leaves((*path, name), inner)
    else:
        yield path, command


LEAVES = dict(
    leaf
    for name in COMMANDS
    for leaf in leaves((name,), importlib.import_module(f"fdstream.cli.{name}").command)
)


def test_no_command_is_forgotten_and_no_module_is_dead() -> None:
    modules = {module.name for module in pkgutil.iter_modules(fdstream.cli.__path__)}
    assert modules - NO_COMMANDS == set(COMMANDS)
    assert modules >= NO_COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_called_like_its_module(name: str) -> None:
    assert importlib.import_module(f"fdstream.cli.{name}").command.name == name


def test_each_command_has_one_line_in_the_programs_help() -> None:
    lines = CliRunner(env={"COLUMNS": str(WIDTH)}).invoke(main, ["--help"]).stdout.splitlines()
    assert max(map(len, lines)) <= WIDTH
    for name, text in COMMANDS.items():
        assert text.endswith(".")
        assert [line.split() for line in lines].count([name, *text.split()]) == 1


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_help_begins_with_a_sentence_and_fits_a_terminal(path: tuple[str, ...]) -> None:
    result = CliRunner(env={"COLUMNS": str(WIDTH)}).invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= WIDTH
    first = (LEAVES[path].help or "").partition("\n")[0]
    assert first[:1].isupper()
    assert first.endswith(".")
    assert first in " ".join(result.stdout.split())


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_help_documents_each_option_with_its_variable(path: tuple[str, ...]) -> None:
    shown = " ".join(CliRunner().invoke(main, [*path, "--help"]).stdout.split())
    for option in options_of(LEAVES[path]).values():
        assert f"--{key_of(option)}" in shown
        assert f"[env var: {envvar_of(option)}" in shown
        assert option.help
        assert option.help.endswith(".")


def test_the_programs_help_tells_how_keys_in_the_file_are_called() -> None:
    shown = " ".join(CliRunner().invoke(main, ["--help"]).stdout.split())
    assert (
        "a key of the TOML file given by --config: --log-level is FDSTREAM_LOG_LEVEL and log-level" in shown
    )


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_a_file_may_name_every_option_like_its_flag(
    path: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read with the command's own table; no value comes from elsewhere."""
    monkeypatch.chdir(tmp_path)
    command = LEAVES[path]
    options = options_of(command)
    given = {key: said_of(option) for key, option in options.items() if not option.multiple}
    lines = [f"[{'.'.join(path)}]", *(f"{key} = {json.dumps(value)}" for key, value in given.items())]
    tables = [f"[{'.'.join(path)}.{key}]\nkey = 'value'" for key in options if options[key].multiple]
    (tmp_path / "all.toml").write_text("\n".join([*lines, *tables]))
    sources: dict[str, ParameterSource | None] = {}

    def take_down_sources(**values: object) -> None:
        context = click.get_current_context()
        named = values.keys() & {option.name for option in options.values()}
        sources.update({name: context.get_parameter_source(name) for name in named})

    monkeypatch.setattr(command, "callback", take_down_sources)
    arguments = ["ada" for param in command.params if isinstance(param, click.Argument)]
    result = CliRunner().invoke(main, [*path, "--config", "all.toml", *arguments])
    assert result.exit_code == 0, result.output
    assert set(sources.values()) == {ParameterSource.DEFAULT_MAP}
    assert len(sources) == len(options) - len({"log-format", "log-level", "debug"})


def said_of(option: click.Option) -> object:
    """A value that the option takes."""
    return True if option.is_flag else WITHOUT_DEFAULT.get(key_of(option), option.default)
