from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from fdstream import config
from fdstream.cli import options
from fdstream.cli.base import Command, print_result

DEFAULT = 4
SOURCES = {"flag": 10, "environment": 9, "[topics.create]": 8, "[topics]": 7, "top of the file": 6}


def show(**values: Any) -> None:
    print_result(values)


@click.group(context_settings={"show_default": True})
def program() -> None:
    pass


@program.group("topics")
def topics() -> None:
    pass


for add_to, name, taken in (
    (program, "server", (options.broker, options.kafka, options.settings, options.as_json)),
    (program, "broker", (options.seed,)),
    (program, "client", (options.broker, options.kafka, options.client_id, options.heartbeat_period)),
    (topics, "create", (options.shards, options.kafka)),
):
    function = functools.partial(show)
    for option in taken:
        function = option(function)
    add_to.add_command(click.command(name, cls=Command)(function))


def run(args: list[str], toml: str | None = None, folder: Path | None = None, **env: str) -> Result:
    if toml is not None:
        assert folder is not None
        (folder / "fdstream.toml").write_text(toml)
        args = [*args, "--config", str(folder / "fdstream.toml")]
    return CliRunner().invoke(program, args, env=env)


def values(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("present", [*itertools.product([False, True], repeat=len(SOURCES))])
def test_the_most_explicit_of_the_sources_present_wins(present: tuple[bool, ...], tmp_path: Path) -> None:
    given = {source: SOURCES[source] for source, here in zip(SOURCES, present, strict=True) if here}
    lines = [
        f"shards = {given['top of the file']}" if "top of the file" in given else "",
        f"[topics]\nshards = {given['[topics]']}" if "[topics]" in given else "",
        f"[topics.create]\nshards = {given['[topics.create]']}" if "[topics.create]" in given else "",
    ]
    flags = ["--shards", str(given["flag"])] if "flag" in given else []
    env = {"FDSTREAM_SHARDS": str(given["environment"])} if "environment" in given else {}
    result = run(["topics", "create", *flags], "\n".join(lines), tmp_path, **env)
    assert values(result)["shards"] == max(given.values(), default=DEFAULT)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "any name.toml"
    path.write_text('broker = "a:1"')
    assert values(run(["server"], FDSTREAM_CONFIG=str(path)))["broker"] == "a:1"


def test_one_variable_serves_every_command_that_has_the_option() -> None:
    for name in ("server", "client"):
        assert values(run([name], FDSTREAM_BROKER="a:1"))["broker"] == "a:1"


def test_a_table_of_another_command_does_not_apply(tmp_path: Path) -> None:
    toml = 'broker = "a:1"\n[client]\nbroker = "b:1"'
    assert values(run(["server"], toml, tmp_path))["broker"] == "a:1"
    assert values(run(["client"], toml, tmp_path))["broker"] == "b:1"


def test_a_command_and_an_option_may_share_a_name(tmp_path: Path) -> None:
    text, table = 'broker = "a:1"', '[broker]\nseed = 7\n[server]\nbroker = "b:1"'
    assert values(run(["server"], text, tmp_path))["broker"] == "a:1"
    assert values(run(["broker"], text, tmp_path)) == {"seed": 0}
    assert values(run(["server"], table, tmp_path))["broker"] == "b:1"
    assert values(run(["broker"], table, tmp_path)) == {"seed": 7}


@pytest.mark.parametrize("key", ["heartbeat-period", "heartbeat_period"])
def test_dashes_and_underscores_are_one(key: str, tmp_path: Path) -> None:
    assert values(run(["client"], f"{key} = 7", tmp_path))["heartbeat_period_seconds"] == 7.0


def test_a_flag_can_take_back_what_file_and_environment_say(tmp_path: Path) -> None:
    assert values(run(["server"], "json = true", tmp_path))["as_json"] is True
    assert values(run(["server"], "json = true", tmp_path, FDSTREAM_JSON="0"))["as_json"] is False
    assert (
        values(run(["server", "--no-json"], "json = true", tmp_path, FDSTREAM_JSON="1"))["as_json"] is False
    )


@pytest.mark.parametrize(
    ("toml", "hint"),
    [
        ("brokr = 'a:1'", "there is no option or command 'brokr'; did you mean 'broker'?"),
        ("[server]\njsn = true", "there is no option or command 'jsn'; did you mean 'json'?"),
        ("[servr]\njson = true", "there is no option or command 'servr'; did you mean 'server'?"),
        ("[server]\nclient-id = 'a'", "there is no option or command 'client-id'"),
        ("[server.topics]\nshards = 1", "there is no option or command 'topics'"),
        ("config = 'other.toml'", "there is no option or command 'config'"),
        ("zzzzzz = 1", "there is no option or command 'zzzzzz'\n"),
    ],
)
def test_unknown_keys_are_refused_with_the_closest_valid_one(toml: str, hint: str, tmp_path: Path) -> None:
    result = run(["server"], toml, tmp_path)
    assert result.exit_code == 2
    assert f"fdstream.toml: {hint}" in result.stderr


def test_a_key_of_another_command_is_known_at_the_top(tmp_path: Path) -> None:
    toml = 'client-id = "a"\nshards = 2\n[client]\nclient-id = "b"\n[topics.create]\nshards = 3'
    assert values(run(["server"], toml, tmp_path))["broker"] == "127.0.0.1:9091"


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("server = 3", "'server' is a command: give its options in [server]"),
        ("kafka = 'a=b'", "'kafka' is a table: give its entries in [kafka]"),
        ("broker = ['a:1', 'b:1']", "'broker' takes one string, number or boolean"),
        ("[json]\nhost = 'a'", "'json' takes one string, number or boolean"),
        ("[server.broker]\nhost = 'a'", "'broker' takes one string, number or boolean"),
        ("[kafka]\na.b = ['x']", "'kafka.a.b' takes one string, number or boolean"),
        ("broker = ", "Invalid value (at end of document)"),
    ],
)
def test_values_of_the_wrong_kind_are_refused(toml: str, message: str, tmp_path: Path) -> None:
    result = run(["server"], toml, tmp_path)
    assert result.exit_code == 2
    assert f"fdstream.toml: {message}" in result.stderr


@pytest.mark.parametrize("content", ["2.5", "true", "'x'", "0", "nan"])
def test_the_file_obeys_the_rules_of_the_flag(content: str, tmp_path: Path) -> None:
    result = run(["topics", "create"], f"shards = {content}", tmp_path)
    assert result.exit_code == 2
    assert f"Invalid value for 'shards' in {tmp_path / 'fdstream.toml'}: " in result.stderr


def test_an_error_names_the_source_of_the_value(tmp_path: Path) -> None:
    flagged = run(["topics", "create", "--shards", "x"], "shards = 0", tmp_path, FDSTREAM_SHARDS="y")
    assert "Invalid value for '--shards': 'x'" in flagged.stderr
    around = run(["topics", "create"], "shards = 0", tmp_path, FDSTREAM_SHARDS="y")
    assert "Invalid value for environment variable FDSTREAM_SHARDS: 'y'" in around.stderr


def test_key_value_options_merge_key_by_key(tmp_path: Path) -> None:
    toml = """
        [kafka]
        a = "file"
        b = "file"
        c = "file"
        d = "file"
        [server.kafka]
        b = "table"
        c = "table"
        d = "table"
    """
    result = run(
        ["server", "--kafka", "d=flag"], toml, tmp_path, FDSTREAM_KAFKA="c=environment;d=environment"
    )
    assert values(result)["kafka"] == {"a": "file", "b": "table", "c": "environment", "d": "flag"}


def test_dotted_keys_need_no_quotes(tmp_path: Path) -> None:
    toml = '[kafka]\nsasl.username = "me"\nsasl.password = "p"\n"security.protocol" = "SASL_SSL"\n'
    assert values(run(["server"], toml, tmp_path))["kafka"] == {
        "sasl.username": "me",
        "sasl.password": "p",
        "security.protocol": "SASL_SSL",
    }


def test_types_in_the_file(tmp_path: Path) -> None:
    toml = '[kafka]\na = true\nb = 5\n[set]\na = true\nb = 5\nc = 0.5\nd = "007"'
    found = values(run(["server"], toml, tmp_path))
    assert found["kafka"] == {"a": "true", "b": "5"}
    assert found["settings"] == {"a": True, "b": 5, "c": 0.5, "d": "007"}


SECRET = "hunter2"


@pytest.mark.parametrize(
    ("args", "env", "toml"),
    [
        (["--kafka", SECRET], {}, ""),
        ([f"--kafka=={SECRET}"], {}, ""),
        ([], {"FDSTREAM_KAFKA": f"sasl.username=me;{SECRET}"}, ""),
        (["--kafka", "a=b"], {"FDSTREAM_KAFKA": SECRET}, ""),
        ([], {}, f"kafka = '{SECRET}'"),
        ([], {}, f"[kafka]\nsasl.password = ['{SECRET}']"),
        ([], {}, f"[kafka]\nsasl.password = '{SECRET}"),
        ([], {}, f"[kafka]\nsasl.password = {SECRET}"),
        ([f"--kafak=sasl.password={SECRET}"], {}, ""),
    ],
)
def test_errors_do_not_show_secrets(args: list[str], env: dict[str, str], toml: str, tmp_path: Path) -> None:
    result = run(["server", *args], toml, tmp_path, **env)
    assert result.exit_code == 2
    assert SECRET not in result.output


def test_help_does_not_show_the_secrets_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_text(f"[kafka]\nsasl.password = '{SECRET}'\n[set]\ntoken = '{SECRET}'")
    result = run(["server", "--config", str(tmp_path / "f.toml"), "--help"])
    assert result.exit_code == 0
    assert SECRET not in result.output


def test_a_folder_or_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert run(["server", "--config", str(tmp_path)]).exit_code == 2
    assert run(["server", "--config", str(tmp_path / "none.toml")]).exit_code == 2


def test_a_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f.toml").write_bytes(b"\xff\xfe")
    result = run(["server", "--config", str(tmp_path / "f.toml")])
    assert result.exit_code == 2
    assert "f.toml" in result.stderr


def test_names_follow_from_the_flag() -> None:
    option = click.Option(["-x", "--xyz-abc/--no-xyz-abc", "other"])
    assert config.key_of(option) == "xyz-abc"
    assert config.envvar_of(option) == "FDSTREAM_XYZ_ABC"
