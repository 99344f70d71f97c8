from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from fdstream.app import DEFAULT_APP
from fdstream.cli import options
from fdstream.cli.base import Command
from fdstream.config import envvar_of, key_of, options_of

SHARED: dict[str, Callable[..., Any]] = {
    name: value
    for name, value in vars(options).items()
    if getattr(value, "__qualname__", "").startswith("option.")
}

# key: (what one types, parameter, what the command gets)
TYPED: dict[str, tuple[str, str, object]] = {
    "broker": ("a:1,[::1]:9091", "broker", "a:1,[::1]:9091"),
    "federation": ("my-fed_1", "federation", "my-fed_1"),
    "kafka": ("a.b=c=d", "kafka", {"a.b": "c=d"}),
    "app": ("mine:app", "app", "mine:app"),
    "numrounds": ("7", "num_rounds", 7),
    "minclients": ("3", "min_clients", 3),
    "maxclients": ("9", "max_clients", 9),
    "deadline": ("1.5", "deadline_seconds", 1.5),
    "fraction": ("0.25", "fraction", 0.25),
    "shards": ("2", "shards", 2),
    "strategy": ("fedadam:lr=0.1", "strategy", "fedadam:lr=0.1"),
    "clip": ("2.5", "clip", 2.5),
    "codec": ("topk:0.01", "codec", "topk:0.01"),
    "model-codec": ("bfloat16", "model_codec", "bfloat16"),
    "chunk-bytes": ("1MB", "chunk_bytes", 1_000_000),
    "keep-rounds": ("all", "keep_rounds", 0),
    "seed": ("5", "seed", 5),
    "set": ("lr=0.5", "settings", {"lr": 0.5}),
    "client-id": ("Hôpital 3", "client_id", "Hôpital 3"),
    "key": ("/dev/null", "key", Path("/dev/null")),
    "server-key": (".", "server_key", Path()),
    "trust": (".", "trust", Path()),
    "data-index": ("4", "data_index", 4),
    "heartbeat-period": ("2", "heartbeat_period_seconds", 2.0),
    "save": ("model.npz", "save_path", Path("model.npz")),
    "metrics-port": ("9464", "metrics_port", 9464),
    "metrics-host": ("0.0.0.0", "metrics_host", "0.0.0.0"),
    "moments": ("moments.jsonl", "moments", Path("moments.jsonl")),
    "json": ("true", "as_json", True),
    "log-format": ("json", "log_format", "json"),
    "log-level": ("warning", "log_level", "warning"),
    "debug": ("true", "debug", True),
}

REFUSED = {
    "broker": ["", "host", "host:0", "host:65536", "a:1,,b:1", "http://a:1", "::1:9091"],
    "federation": ["a b", "", "ä", "a/b", "x" * 101],
    "key": ["no-such-file", "."],
    "server-key": ["no-such-file"],
    "trust": ["no-such-file"],
    "numrounds": ["0", "-1", "1.5", "2147483649"],
    "minclients": ["0", "100001"],
    "maxclients": ["0", "100001"],
    "deadline": ["0", "-1", "nan", "inf"],
    "fraction": ["0", "1.01", "nan"],
    "shards": ["0", "1025"],
    "codec": ["", "int4", "topk", "topk:0", "topk:0.6", "topk:nan"],
    "model-codec": ["", "int4", "topk:0.1"],
    "chunk-bytes": ["7", "65MiB", "1XB", "-1", "1e6", "0.3B"],
    "keep-rounds": ["0", "none", "-1"],
    "seed": ["-1", str(1 << 62)],
    "set": ["novalue", "=1", f"n={1 << 63}"],
    "kafka": ["novalue", "=1"],
    "client-id": ["", "a\nb", "x" * 257],
    "data-index": ["-1"],
    "heartbeat-period": ["0", "nan"],
    "save": ["model.npy", "no/such/folder/model.npz"],
    "log-format": ["xml"],
    "log-level": ["loud"],
}


class Seeing(Command):
    """A command with every option, which remembers what it was given."""

    def invoke(self, ctx: click.Context) -> Any:
        ctx.find_root().meta["seen"] = dict(ctx.params)
        return super().invoke(ctx)


def every_option() -> Command:
    function: Callable[..., Any] = lambda **_: click.get_current_context().meta["seen"]  # noqa: E731
    for option in SHARED.values():
        function = option(function)
    return click.command("all", cls=Seeing)(function)


def taken(*args: str, **env: str) -> dict[str, Any]:
    result = CliRunner().invoke(every_option(), args, env=env, standalone_mode=False)
    assert result.exception is None, result.output
    found: dict[str, Any] = result.return_value
    return found


@pytest.mark.parametrize("key", TYPED)
def test_flag_environment_and_file_give_the_same(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text, name, expected = TYPED[key]
    flag = [f"--{key}"] if text == "true" else [f"--{key}={text}"]
    file = tmp_path / "f.toml"
    entry = (
        "[{}]\n{} = {!r}".format(key, *text.split("=", 1))
        if isinstance(expected, dict)
        else f"{key} = {text!r}"
    )
    file.write_text(entry.replace("'0.5'", "0.5"))
    assert taken(*flag)[name] == expected
    assert taken(**{f"FDSTREAM_{key.replace('-', '_').upper()}": text})[name] == expected
    assert taken("--config", str(file))[name] == expected


def test_every_option_is_in_the_table_above() -> None:
    assert set(options_of(every_option())) == set(TYPED)


@pytest.mark.parametrize(("key", "text"), [(key, text) for key in REFUSED for text in REFUSED[key]])
def test_refused_values(key: str, text: str) -> None:
    result = CliRunner().invoke(every_option(), [f"--{key}={text}"])
    assert result.exit_code == 2
    assert f"Invalid value for '--{key}'" in result.stderr


def test_help_names_every_variable() -> None:
    command = every_option()
    shown = " ".join(CliRunner().invoke(command, ["--help"]).stdout.split())
    for param in command.params:
        assert isinstance(param, click.Option)
        assert re.search(rf"--{key_of(param)}\b.*env var: {envvar_of(param)}\b", shown), param


def test_every_default_passes_its_own_check() -> None:
    values = taken()
    assert values["chunk_bytes"] is None
    assert values["app"] == DEFAULT_APP
    assert values["kafka"] == values["settings"] == {}
    assert values["client_id"] is values["data_index"] is values["save_path"] is None
