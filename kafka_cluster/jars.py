"""The broker's jars: named, sized and hashed in `artifacts.lock`, kept in a per-user cache.

Every start hashes every file again (about 40 ms), so a damaged or replaced file is fetched anew and nothing
runs that is not in the lock. Knows nothing of brokers, and loads what is for the network only where a jar is
missing.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fdstream.errors import UsageError

LOCK_FILE = Path(__file__).with_name("artifacts.lock")

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Artifact:
    """One locked jar by its Maven coordinates; `sha256` in hex."""

    group: str
    name: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        return f"{self.name}-{self.version}.jar"

    @property
    def repository_path(self) -> str:
        return f"{self.group.replace('.', '/')}/{self.name}/{self.version}/{self.file_name}"

    def is_whole_in(self, folder: Path) -> bool:
        try:
            with (folder / self.file_name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False

    def line(self) -> str:
        return f"{self.sha256} {self.size_bytes} {self.group}:{self.name}:{self.version}"


def read_lock(path: Path = LOCK_FILE) -> list[Artifact]:
    """The artifacts of a lock file, in its order: one `sha256 size_bytes group:name:version` a line."""
    artifacts = []
    for line in path.read_text(encoding="utf-8").splitlines():
        sha256, size_bytes, coordinates = line.split()
        group, name, version = coordinates.split(":")
        artifacts.append(Artifact(group, name, version, sha256, int(size_bytes)))
    return artifacts


def cache_folder() -> Path:
    """`$FDSTREAM_CACHE_DIR`, or fdstream's folder where the platform keeps caches."""
    if named := os.environ.get("FDSTREAM_CACHE_DIR"):
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "fdstream"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "fdstream"


def ensure_jars(say: Say, artifacts: Sequence[Artifact] | None = None) -> list[Path]:
    """Paths of all jars, verified; what is missing or damaged is downloaded first.

    Errors: `TransportError` where a jar cannot be had with the locked bytes, `UsageError` where the cache
    cannot be written. Complete files stay, so a second try goes on where the first one stopped.
    """
    artifacts = read_lock() if artifacts is None else artifacts
    folder = cache_folder() / "jars"
    try:
        if not all(artifact.is_whole_in(folder) for artifact in artifacts):
            from kafka_cluster.download import download

            download(artifacts, folder, say)
    except OSError as error:
        raise UsageError(
            f"cannot keep the broker's jars in {folder}: {error.strerror or error}; "
            "make room there or name another folder in FDSTREAM_CACHE_DIR"
        ) from error
    return [folder / artifact.file_name for artifact in artifacts]
