"""The demo as a user runs it: real broker, real processes, real data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

import numpy as np
import psutil
import pytest

from fdstream.demo.run import SHARDS
from fdstream.digests import chunk_digest, model_sha256, shard_digest
from fdstream.flat import weight_chunks
from fdstream.layout import Layout

COMMAND = [sys.executable, "-m", "fdstream", "demo", "--clients", "3", "--rounds", "2"]
WAIT_SECONDS = 200


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demo is run; it has a space in its name and a folder for temporary files."""
    folder = tmp_path / "my demo"
    (folder / "tmp").mkdir(parents=True)
    return folder


def start(folder: Path, *options: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "TMPDIR": str(folder / "tmp"), "FDSTREAM_STRATEGY": "fedadam"}
    return subprocess.Popen(
        [*COMMAND, *options],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def read_until(stream: IO[str] | None, beginning: str) -> None:
    assert stream is not None
    assert any(line.startswith(beginning) for line in stream), f"{beginning!r} was never said"


def test_after_a_ctrl_c_nothing_is_left_and_the_next_run_is_whole(folder: Path) -> None:
    with start(folder) as process:
        read_until(process.stdout, "round  reported")
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) >= 7  # the broker and its reaper, the nursery, the server, three clients
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, said) == (130, "stopped by Ctrl-C\n")
    assert not any(child.is_running() for child in family)
    assert [path.name for path in folder.rglob("*")] == ["tmp"]

    with start(folder, "--json") as process:
        out, said = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, said
    result = json.loads(out.splitlines()[-1])
    assert result["rounds"] == 2
    assert result["clients"] == 3
    assert 0.8 < result["accuracy"] <= 1
    assert 0.9 < result["centralised_accuracy"] <= 1
    assert 0 < result["seconds"] < WAIT_SECONDS
    assert sorted(path.name for path in folder.rglob("*")) == ["fdstream-demo.npz", "tmp"]
    assert result["model_sha256"] == sha256_of(folder / "fdstream-demo.npz")
    rows = [line.split()[:2] for line in said.splitlines()]
    assert ["1", "3/3"] in rows
    assert ["2", "3/3"] in rows


def sha256_of(path: Path) -> str:
    """The hash that names the model in the file."""
    with np.load(path) as file:
        weights = dict(file)
    layout = Layout.of(weights, chunk_bytes=None, shards=SHARDS)
    digests: list[list[bytes]] = [[] for _ in range(SHARDS)]
    for spec, values in weight_chunks(layout, weights):
        digests[spec.shard].append(chunk_digest(values.tobytes()))
    return model_sha256(layout, [shard_digest(of_shard) for of_shard in digests])


def test_a_process_that_dies_ends_the_demo_which_says_so(folder: Path) -> None:
    with start(folder) as process:
        nursery = child_running(process.pid, "fdstream.demo.nursery")
        nursery.kill()
        _, said = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 5
    assert "Error: nursery was killed by SIGKILL; its log: " in said
    (kept,) = (folder / "tmp").iterdir()
    assert (kept / "nursery.log").exists()
    assert not folder_is_used(kept)


def child_running(parent: int, module: str) -> psutil.Process:
    """The child that runs the module, once there is one."""
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        for child in psutil.Process(parent).children():
            if module in child.cmdline():
                return child
        time.sleep(0.01)
    raise AssertionError(f"no child runs {module}")


def folder_is_used(folder: Path) -> bool:
    """Whether any process works in it, as the broker does."""
    return any(str(folder) in (process.info["cwd"] or "") for process in psutil.process_iter(["cwd"]))
