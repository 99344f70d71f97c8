from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner

from fdstream.cli import main


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the cluster was made with, and what it runs for."""
    got: dict[str, Any] = {}
    module = ModuleType("fdstream.broker")
    module.new_cluster = lambda **values: got.update(values)  # type: ignore[attr-defined]
    module.run = lambda _, **values: got.update(values)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fdstream.broker", module)
    return got


def test_defaults(started: dict[str, Any]) -> None:
    assert CliRunner().invoke(main, ["broker"]).exit_code == 0
    assert callable(started.pop("tell"))
    assert started == {
        "nodes": 1,
        "host": "127.0.0.1",
        "port": 9091,
        "data_dir": None,
        "reset": False,
        "secure": None,
        "federation": "default",
        "echo": click.echo,
    }


def test_options(started: dict[str, Any], tmp_path: Path) -> None:
    args = ["--nodes", "3", "--host", "0.0.0.0", "--port", "19091", "--data-dir", str(tmp_path), "--reset"]
    args += ["--secure", str(tmp_path / "keys"), "--federation", "wards"]
    assert CliRunner().invoke(main, ["broker", *args], env={"FDSTREAM_NODES": "1"}).exit_code == 0
    assert callable(started.pop("tell"))
    assert started | {"echo": None} == {
        "nodes": 3,
        "host": "0.0.0.0",
        "port": 19091,
        "data_dir": tmp_path,
        "reset": True,
        "secure": tmp_path / "keys",
        "federation": "wards",
        "echo": None,
    }


def test_nodes_from_the_environment_is_a_number(started: dict[str, Any]) -> None:
    assert CliRunner().invoke(main, ["broker"], env={"FDSTREAM_NODES": "3"}).exit_code == 0
    assert started["nodes"] == 3
