"""A few cases of the matrix, each once; `make faults` plays them all, as often as asked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.starting import ROOT
from tests.faults.case import all_cases
from tests.faults.lab import ISOLATED
from tests.needed import needs

SEED = "1"
PATIENCE_SECONDS = 280


def _can_isolate() -> bool:
    """Whether this user may, where the programs are there."""
    if sys.platform != "linux" or shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*ISOLATED, "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0


@needs("iproute2", "ip")
@needs("util-linux", "unshare", "setpriv")
@pytest.mark.skipif(not _can_isolate(), reason="labs need Linux and leave to make namespaces")
def test_the_short_form_ends_as_it_must(tmp_path: Path) -> None:
    record = tmp_path / "record"
    command = ["-m", "tests.faults", "--short", "--seed", SEED, "--record", str(record)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    outcomes = {found["case"]: found["outcome"] for found in map(json.loads, record.read_text().splitlines())}
    expected = {name: "passed" for name, case in all_cases().items() if case.short}
    assert outcomes == expected, done.stderr
    assert done.returncode == 0
