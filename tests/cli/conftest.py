"""A command to stand in for the real ones: what it does is given by the test."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import ModuleType

import click
import pytest
from click.testing import CliRunner, Result

from fdstream.cli import main
from fdstream.cli.base import Command

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def no_settings_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("FDSTREAM_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def run_probe(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `fdstream status ARGS` where `status` is the given function."""

    def run(function: Callable[[], None], *args: str) -> Result:
        module = ModuleType("fdstream.cli.status")
        module.command = click.command("status", cls=Command)(function)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "fdstream.cli.status", module)
        return CliRunner().invoke(main, ["status", *args])

    return run
