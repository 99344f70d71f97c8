from __future__ import annotations

import logging

import click
import pytest
from click.testing import CliRunner

from fdstream.cli.base import Command, print_result


def test_the_function_does_not_get_the_common_options() -> None:
    @click.command("probe", cls=Command)
    @click.option("--mine", default=1)
    def probe(**values: object) -> None:
        assert values == {"mine": 1}

    assert CliRunner().invoke(probe, ["--debug", "--log-level", "error"]).exit_code == 0


def test_log_options_take_effect() -> None:
    @click.command("probe", cls=Command)
    def probe() -> None:
        logging.getLogger("fdstream.x").info("quiet")
        logging.getLogger("fdstream.x").warning("loud")

    result = CliRunner().invoke(probe, ["--log-level", "WARNING"])
    assert result.stdout == ""
    assert result.stderr.endswith("warning loud\n")
    assert result.stderr.count("\n") == 1


def test_a_missing_option_is_named_by_its_flag() -> None:
    @click.command("probe", cls=Command)
    @click.option("--mine", required=True)
    def probe(mine: str) -> None:
        del mine

    result = CliRunner().invoke(probe, [])
    assert result.exit_code == 2
    assert "Missing option '--mine' (env var: 'FDSTREAM_MINE')" in result.stderr


def test_a_result_is_one_line_in_the_order_given(capsys: pytest.CaptureFixture[str]) -> None:
    print_result({"rounds": 3, "accuracy": 0.5, "a": {"z": 1, "b": float("nan")}})
    assert capsys.readouterr().out == '{"rounds":3,"accuracy":0.5,"a":{"z":1,"b":null}}\n'
