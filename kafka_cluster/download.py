"""Fetches the jars that a folder lacks. Files appear there whole, with the locked bytes, or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import truststore
from requests.adapters import HTTPAdapter
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from fdstream.errors import TransportError
from kafka_cluster.jars import Artifact, Say
from kafka_cluster.repositories import repositories

ATTEMPTS = 3
TIMEOUT_SECONDS = 30
BLOCK_BYTES = 1 << 16

Advance = Callable[[int], None]


def download(artifacts: Sequence[Artifact], folder: Path, say: Say) -> None:
    """One jar after another, so that Ctrl-C ends it at once. Errors: `TransportError`, `OSError` (disk)."""
    folder.mkdir(parents=True, exist_ok=True)
    base_urls = repositories()
    with _exclusive(folder / ".lock", say):
        missing = [artifact for artifact in artifacts if not artifact.is_whole_in(folder)]
        with new_session() as session, _progress(missing, folder, say) as advance:
            for artifact in missing:
                _download(session, base_urls, artifact, folder, advance)


class _SystemTrust(HTTPAdapter):
    """Believes whom the system believes too: networks that look into TLS tell it of their own authority."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=_system_context())

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        return super().proxy_manager_for(*args, **kwargs, ssl_context=_system_context())


def _system_context() -> ssl.SSLContext:
    return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def new_session() -> requests.Session:
    """Proxies, certificates and passwords come from the environment and from ~/.netrc, as requests has it."""
    session = requests.Session()
    session.mount("https://", _SystemTrust())
    return session


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
    """One line, and a bar where stderr is a terminal."""
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
