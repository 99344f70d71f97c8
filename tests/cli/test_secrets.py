"""Passwords and keys: never in help, errors, logs or tracebacks, and a warning where all users can read them."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from fdstream.cli import main
from fdstream.config import options_of
from tests.cli.conftest import Run

SECRET = "hunter2-correct-horse"
WARNING = "every user of this machine can read a secret on the command line"


def invoke(*args: str, **env: str) -> Result:
    return CliRunner().invoke(main, args, env=env)


def file_with_secret(folder: Path) -> str:
    path = folder / "fdstream.toml"
    path.write_text(f'[kafka]\nsasl.password = "{SECRET}"\nnonsense = "{SECRET}"\n')
    return str(path)


@pytest.mark.parametrize("command", [("server",), ("client",), ("status",), ("topics", "list")], ids=" ".join)
def test_help_shows_no_secret_wherever_it_stands(command: tuple[str, ...], tmp_path: Path) -> None:
    file = file_with_secret(tmp_path)
    for result in (
        invoke(*command, "--help", FDSTREAM_KAFKA=f"sasl.password={SECRET}"),
        invoke(*command, "--config", file, "--help"),
        invoke(*command, f"--kafka=sasl.password={SECRET}", "--help"),
    ):
        assert result.exit_code == 0
        assert SECRET not in result.output


@pytest.mark.parametrize("log_format", ["human", "json"])
def test_an_error_shows_no_secret_and_no_traceback_does(tmp_path: Path, log_format: str) -> None:
    """The setting `nonsense` is unknown to librdkafka, which says so at once."""
    common = ("topics", "list", "--broker", "127.0.0.1:1", "--debug", "--log-format", log_format)
    kafka = f"sasl.password={SECRET};nonsense={SECRET}"
    for result in (
        invoke(*common, FDSTREAM_KAFKA=kafka),
        invoke(*common, "--config", file_with_secret(tmp_path)),
        invoke(*common, f"--kafka=sasl.password={SECRET}", f"--kafka=nonsense={SECRET}"),
        invoke(*common, f"--kafka={SECRET}"),
    ):
        assert result.exit_code != 0
        assert SECRET not in result.output


def test_a_secret_on_the_command_line_is_warned_of_and_elsewhere_not(run_probe: Run) -> None:
    def probe(**_: object) -> None:
        click.echo("done")

    command = main.get_command(click.Context(main), "topics")
    assert isinstance(command, click.Group)
    kafka = options_of(command.commands["list"])["kafka"]
    probe = click.option(*kafka.opts, type=kafka.type, multiple=True, callback=kafka.callback)(probe)
    shown = run_probe(
        probe, f"--kafka=sasl.password={SECRET}", "--kafka=ssl.key.pem=x", "--kafka=linger.ms=1"
    )
    assert WARNING in shown.stderr
    assert 'settings="sasl.password, ssl.key.pem"' in shown.stderr
    assert SECRET not in shown.output
    harmless = run_probe(probe, "--kafka=linger.ms=1")
    assert WARNING not in harmless.stderr


KEY = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----"


def test_a_private_keys_text_is_taken_from_the_environment_and_shown_nowhere(tmp_path: Path) -> None:
    file = tmp_path / "fdstream.toml"
    file.write_text(f"key = '''\n{KEY}'''\n")
    client = ("client", "--debug", "--broker", "127.0.0.1:1", "--client-id", "ada")
    for result in (
        invoke(*client, FDSTREAM_KEY=KEY),
        invoke(*client, "--config", str(file)),
        invoke(*client, FDSTREAM_KEY=SECRET),
        invoke(*client, f"--key={KEY}"),
    ):
        assert result.exit_code == 2
        assert SECRET not in result.output
    assert "give the key's file" in result.output
    for result in (
        invoke("client", "--config", str(file), "--help"),
        invoke("client", "--help", FDSTREAM_KEY=KEY),
    ):
        assert result.exit_code == 0
        assert SECRET not in result.output
