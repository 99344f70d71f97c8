"""`fdstream keys`: files that work at once, a refusal to overwrite, and what to do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from fdstream.cli import main
from fdstream.keys import load_private, load_public


def test_new_writes_a_pair_and_says_what_to_do_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["keys", "new", "ward-7"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert load_public(Path("ward-7.pub")) == {"ward-7": load_private(Path("ward-7.key")).public}
    assert "fdstream client --client-id ward-7 --key ward-7.key" in result.stdout
    assert "--trust" in result.stdout
    assert "fdstream server --key ward-7.key" in result.stdout
    assert "--server-key" in result.stdout
    assert "PRIVATE" not in result.output
    again = CliRunner().invoke(main, ["keys", "new", "ward-7"])
    assert again.exit_code == 2
    assert "ward-7.pub exists and is not overwritten" in again.stderr


def test_new_writes_where_it_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        main, ["keys", "new", "Station 7/8", "--output", str(tmp_path / "s7"), "--json"]
    )
    assert json.loads(result.stdout) == {
        "name": "Station 7/8",
        "private": str(tmp_path / "s7.key"),
        "public": str(tmp_path / "s7.pub"),
    }
    assert list(load_public(tmp_path / "s7.pub")) == ["Station 7/8"]


@pytest.mark.parametrize("name", ["a/b", "..", ".hidden"])
def test_a_name_that_is_no_file_name_needs_an_output(name: str) -> None:
    result = CliRunner().invoke(main, ["keys", "new", name])
    assert result.exit_code == 2
    assert "say with --output" in result.stderr
