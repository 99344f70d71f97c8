"""The broker's jars: named, sized and hashed in `artifacts.lock`, downloaded once into a per-user cache.

Every start hashes every file again (about 40 ms), so a damaged or replaced file is fetched anew and nothing
runs that is not in the lock. Files appear in the cache whole or not at all. Knows nothing of brokers.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fdstream.errors import TransportError, UsageError
from kafka_cluster.repositories import repositories

LOCK_FILE = Path(__file__).with_name("artifacts.lock")
ATTEMPTS = 3
TIMEOUT_SECONDS = 30
BLOCK_BYTES = 1 << 16

Say = Callable[[str], None]
Advance = Callable[[int], None]


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
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fdstream"


def ensure_jars(say: Say, artifacts: Sequence[Artifact] | None = None) -> list[Path]:
    """Paths of all jars, verified; what is missing or damaged is downloaded first.

    Errors: `TransportError` where a jar cannot be had with the locked bytes, `UsageError` where the cache
    cannot be written. Complete files stay, so a second try goes on where the first one stopped.
    """
    artifacts = read_lock() if artifacts is None else artifacts
    folder = cache_folder() / "jars"
    try:
        if not all(_is_whole(folder, artifact) for artifact in artifacts):
            _download_missing(artifacts, folder, say)
    except OSError as error:
        raise UsageError(
            f"cannot keep the broker's jars in {folder}: {error.strerror or error}; "
            "make room there or name another folder in FDSTREAM_CACHE_DIR"
        ) from error
    return [folder / artifact.file_name for artifact in artifacts]


def _is_whole(folder: Path, artifact: Artifact) -> bool:
    try:
        with (folder / artifact.file_name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == artifact.sha256
    except FileNotFoundError:
        return False


def _download_missing(artifacts: Sequence[Artifact], folder: Path, say: Say) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    base_urls = repositories()
    with _exclusive(folder / ".lock", say):
        missing = [artifact for artifact in artifacts if not _is_whole(folder, artifact)]
        with requests.Session() as session, _progress(missing, folder, say) as advance:
            for artifact in missing:
                _download(session, base_urls, artifact, folder, advance)


@contextmanager
def _exclusive(path: Path, say: Say) -> Iterator[None]:
    """Holds the lock file, so that processes started together download once."""
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another process that is downloading the broker")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _progress(missing: Sequence[Artifact], folder: Path, say: Say) -> Iterator[Advance]:
    """A bar where stderr is a terminal; a line before and after anywhere."""
    total_bytes = sum(artifact.size_bytes for artifact in missing)
    if missing:
        say(f"downloading Apache Kafka: {len(missing)} jars, {total_bytes / 1e6:.1f} MB, once, into {folder}")
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    terminal = sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not terminal) as progress:
        task = progress.add_task("Apache Kafka", total=total_bytes)
        yield lambda count_bytes: progress.advance(task, count_bytes)


def _download(
    session: requests.Session, base_urls: Sequence[str], artifact: Artifact, folder: Path, advance: Advance
) -> None:
    """Try every repository, then all of them again: networks fail for a moment more often than for good."""
    failures: list[str] = []
    for attempt in range(ATTEMPTS):
        time.sleep(attempt)
        for base_url in base_urls:
            url = f"{base_url.rstrip('/')}/{artifact.repository_path}"
            try:
                return _fetch(session, url, artifact, folder, advance)
            except requests.RequestException as error:
                failures.append(f"{url}: {error}")
    raise TransportError(
        f"cannot download {artifact.file_name} ({failures[-1]}). Check the network, the proxy (HTTPS_PROXY) "
        "or the mirror in ~/.m2/settings.xml and start again: what is complete is kept"
    )


def _fetch(session: requests.Session, url: str, artifact: Artifact, folder: Path, advance: Advance) -> None:
    """Write beside the target, then rename: the name never holds half a file. The caller holds the lock."""
    part = folder / f"{artifact.file_name}.part"
    digest, received_bytes = hashlib.sha256(), 0
    try:
        with session.get(url, stream=True, timeout=TIMEOUT_SECONDS) as response, part.open("wb") as file:
            response.raise_for_status()
            for block in response.iter_content(BLOCK_BYTES):
                digest.update(block)
                received_bytes += file.write(block)
                advance(len(block))
                if received_bytes > artifact.size_bytes:
                    break
        _check(url, artifact, digest.hexdigest())
        part.replace(folder / artifact.file_name)
    except BaseException:
        advance(-received_bytes)
        part.unlink(missing_ok=True)
        raise


def _check(url: str, artifact: Artifact, sha256: str) -> None:
    if sha256 != artifact.sha256:
        raise TransportError(
            f"{url} answers with other bytes (SHA-256 {sha256}) than those locked for it "
            f"({artifact.sha256}): refused. Correct the mirror that answers there, then start again"
        )
