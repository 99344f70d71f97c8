"""Jars come whole, with the locked bytes, or not at all. A small web server on loopback plays the repository."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
import trustme

from fdstream.errors import TransportError, UsageError
from kafka_cluster import download
from kafka_cluster.jars import Artifact, cache_folder, ensure_jars, read_lock

CONTENTS = {"one": b"first" * 50_000, "two": b"second" * 7, "three": b"third" * 100_000}
ARTIFACTS = [
    Artifact("org.example", name, "1.0", hashlib.sha256(content).hexdigest(), len(content))
    for name, content in CONTENTS.items()
]


@dataclass
class Repository:
    """What it serves by path, what was asked for, and how many answers it is yet to break off half-way."""

    url: str
    files: dict[str, bytes]
    asked: Counter[str] = field(default_factory=Counter)
    breaks: int = 0


class Server(ThreadingHTTPServer):
    repository: Repository


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        repository = self.server.repository
        repository.asked[self.path] += 1
        content = repository.files.get(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if repository.breaks and content:
            repository.breaks -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        with suppress(ConnectionError):  # the client may have had enough
            self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(scheme: str, context: ssl.SSLContext | None = None) -> Iterator[Repository]:
    with Server(("127.0.0.1", 0), Handler) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.repository = Repository(
            f"{scheme}://127.0.0.1:{server.server_port}/maven2",
            {f"/maven2/{found.repository_path}": CONTENTS[found.name] for found in ARTIFACTS},
        )
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.repository
        server.shutdown()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    with served("http") as found:
        monkeypatch.setattr(download, "repositories", lambda: [found.url])
        monkeypatch.setenv("FDSTREAM_CACHE_DIR", str(tmp_path / "cache"))
        yield found


def say_nothing(message: str) -> None:
    del message


def ensured() -> list[bytes]:
    return [path.read_bytes() for path in ensure_jars(say_nothing, ARTIFACTS)]


def files() -> set[str]:
    return {path.name for path in (cache_folder() / "jars").iterdir()} - {".lock"}


def test_jars_are_downloaded_once(repository: Repository) -> None:
    assert ensured() == ensured() == list(CONTENTS.values())
    assert set(repository.asked.values()) == {1}


def test_a_damaged_jar_is_fetched_again_alone(repository: Repository) -> None:
    ensured()
    (cache_folder() / "jars" / "two-1.0.jar").write_bytes(b"second" * 6 + b"sEcond")
    assert ensured() == list(CONTENTS.values())
    assert repository.asked["/maven2/org/example/two/1.0/two-1.0.jar"] == 2
    assert repository.asked.total() == len(ARTIFACTS) + 1


def test_other_bytes_than_the_locked_ones_are_refused(repository: Repository) -> None:
    repository.files["/maven2/org/example/two/1.0/two-1.0.jar"] = b"sEcond" * 7
    with pytest.raises(TransportError, match=r"two-1\.0\.jar answers with other bytes"):
        ensured()
    assert files() == {"one-1.0.jar"}


def test_more_bytes_than_locked_are_not_read_to_the_end(repository: Repository, tmp_path: Path) -> None:
    one = ARTIFACTS[0]
    repository.files[f"/maven2/{one.repository_path}"] = bytes(1 << 24)
    received: list[int] = []
    with requests.Session() as session, pytest.raises(TransportError, match="refused"):
        download._fetch(session, f"{repository.url}/{one.repository_path}", one, tmp_path, received.append)
    assert -min(received) <= one.size_bytes + download.BLOCK_BYTES


def test_a_connection_that_breaks_is_tried_again(repository: Repository) -> None:
    repository.breaks = 1
    assert ensured() == list(CONTENTS.values())
    assert max(repository.asked.values()) == 2


def test_a_second_repository_is_asked_for_what_the_first_lacks(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"{repository.url}/not-here/", f"{repository.url}/"]
    monkeypatch.setattr(download, "repositories", lambda: urls)
    assert ensured() == list(CONTENTS.values())


def test_a_missing_jar_is_named_and_the_rest_is_kept(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    del repository.files["/maven2/org/example/three/1.0/three-1.0.jar"]
    with pytest.raises(TransportError, match=r"cannot download three-1\.0\.jar .*404"):
        ensured()
    assert files() == {"one-1.0.jar", "two-1.0.jar"}


def test_an_interrupted_download_leaves_no_half_file_and_is_taken_up_again(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(download, "_check", interrupt)
        with pytest.raises(KeyboardInterrupt):
            ensured()
    assert files() == set()
    (cache_folder() / "jars" / "one-1.0.jar.part").write_bytes(b"left by a SIGKILL")
    assert ensured() == list(CONTENTS.values())
    assert not any(name.endswith(".part") for name in files())
    assert repository.asked.total() == len(ARTIFACTS) + 1


def test_starts_at_the_same_time_download_once(repository: Repository) -> None:
    with ThreadPoolExecutor(8) as pool:
        results = [future.result() for future in [pool.submit(ensured) for _ in range(8)]]
    assert results == [list(CONTENTS.values())] * 8
    assert set(repository.asked.values()) == {1}


def test_a_cache_that_cannot_be_written_is_named(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("FDSTREAM_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"file.*FDSTREAM_CACHE_DIR"):
        ensured()
    assert not repository.asked


def test_the_lock_holds_one_kafka_and_its_logging() -> None:
    locked = read_lock()
    kafka = [artifact for artifact in locked if artifact.group == "org.apache.kafka"]
    assert {artifact.version for artifact in kafka} == {"4.4.0"}
    assert {"kafka_2.13", "kafka-clients"} <= {artifact.name for artifact in kafka}
    log4j = [artifact for artifact in locked if artifact.group == "org.apache.logging.log4j"]
    assert {artifact.name for artifact in log4j} == {"log4j-api", "log4j-core", "log4j-slf4j-impl"}
    assert len({artifact.version for artifact in log4j}) == 1
    assert len({artifact.file_name for artifact in locked}) == len(locked)


@pytest.mark.parametrize("trusted", [True, False])
def test_an_authority_that_the_system_trusts_is_trusted(
    trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network that looks into TLS has an authority of its own, which requests alone would not know."""
    authority, system = trustme.CA(), tmp_path / "system.pem"
    (authority if trusted else trustme.CA()).cert_pem.write_to_path(str(system))
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with served("https", context) as found, download.new_session() as session:
        url = f"{found.url}/{ARTIFACTS[0].repository_path}"
        if trusted:
            assert session.get(url).content == CONTENTS["one"]
        else:
            with pytest.raises(requests.exceptions.SSLError):
                session.get(url)
