"""A data folder is recognised, locked, kept, and cleared only where it is ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fdstream.errors import UsageError
from kafka_cluster.folder import default_folder, open_folder


def cluster_id(path: Path, *, nodes: int = 1, reset: bool = False) -> str:
    folder = open_folder(path, nodes=nodes, reset=reset)
    folder.release()
    return folder.cluster_id


def test_a_folder_keeps_its_cluster(tmp_path: Path) -> None:
    assert cluster_id(tmp_path / "a b" / "c") == cluster_id(tmp_path / "a b" / "c")


def test_reset_makes_a_new_cluster_and_deletes_only_what_a_cluster_made(tmp_path: Path) -> None:
    before = cluster_id(tmp_path)
    (tmp_path / "node-1").mkdir()
    (tmp_path / "node-1" / "data").touch()
    (tmp_path / "node-1.properties").touch()
    (tmp_path / "notes.txt").write_text("mine")
    assert cluster_id(tmp_path, reset=True) != before
    assert not list(tmp_path.glob("node-*"))
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_reset_allows_another_number_of_nodes(tmp_path: Path) -> None:
    cluster_id(tmp_path, nodes=1)
    with pytest.raises(UsageError, match="--nodes 1, not 3"):
        cluster_id(tmp_path, nodes=3)
    cluster_id(tmp_path, nodes=3, reset=True)


@pytest.mark.parametrize("reset", [False, True])
def test_a_strangers_folder_is_refused_and_left_alone(tmp_path: Path, reset: bool) -> None:
    (tmp_path / "node-1").mkdir()
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(UsageError, match="holds other files"):
        cluster_id(tmp_path, reset=reset)
    assert {entry.name for entry in tmp_path.iterdir()} == {"node-1", "thesis.tex"}


@pytest.mark.parametrize("reset", [False, True])
def test_a_folder_in_use_is_refused_at_once(
    tmp_path: Path, reset: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kafka_cluster.folder.time.sleep", lambda _: pytest.fail("it waits"))
    folder = open_folder(tmp_path, nodes=1, reset=False)
    try:
        with pytest.raises(UsageError, match=rf"in use by a running broker \(process {os.getpid()}\)"):
            open_folder(tmp_path, nodes=1, reset=reset)
    finally:
        folder.release()


def test_a_broker_whose_starter_died_is_waited_for(tmp_path: Path) -> None:
    """The starter's child still holds the lock when the next start comes."""
    starter = (
        "import subprocess, sys; from pathlib import Path; from kafka_cluster.folder import open_folder\n"
        "folder = open_folder(Path(sys.argv[1]), nodes=1, reset=False)\n"
        "subprocess.Popen(['sh', '-c', 'read line'], pass_fds=[folder.lock])\n"
        "print(folder.cluster_id, flush=True)"
    )
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", starter, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()
        assert cluster_id(tmp_path) == first


def test_a_damaged_marker_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cluster.json").write_text("{")
    with pytest.raises(UsageError, match="--reset"):
        cluster_id(tmp_path)
    cluster_id(tmp_path, reset=True)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"file.*--data-dir"):
        cluster_id(tmp_path / "file")


def test_clusters_of_different_size_have_different_default_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_folder(1) != default_folder(3)
