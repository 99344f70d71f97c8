"""A cluster's data folder: recognised by a marker file, locked while a broker runs on it, cleared on request.

cluster.json          the marker: cluster id and number of nodes, written once
.lock                 held by every process of a running cluster; carries the pid of the one that started it
node-<id>/            Kafka's own data of one node; appears formatted or not at all
node-<id>.properties  written at every start, as is log4j2.xml
logs/node-<id>.log
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from fdstream.errors import UsageError

MARKER = "cluster.json"
OURS = (MARKER, "cluster.part", ".lock", "log4j2.xml", "logs")
STOPPING_SECONDS = 40.0


def default_folder(nodes: int) -> Path:
    """Where the platform keeps a user's data; clusters of different size do not share a folder."""
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return base / "fdstream" / ("kafka" if nodes == 1 else f"kafka-{nodes}-nodes")


@dataclass(frozen=True, slots=True)
class DataFolder:
    """An open folder: locked until `release`, and as long as a process that inherited `lock` lives."""

    path: Path
    cluster_id: str
    lock: int

    def release(self) -> None:
        os.close(self.lock)


def open_folder(path: Path, *, nodes: int, reset: bool) -> DataFolder:
    """Lock the folder and read its marker, made where there is none; `reset` deletes its data first.

    Errors: `UsageError` where the folder is in use, is not ours, was made for another number of nodes, or
    cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        _refuse_strangers(path)
        lock = _lock(path)
        try:
            if reset:
                _clear(path)
            (path / "logs").mkdir(exist_ok=True)
            return DataFolder(path, _cluster_id(path, nodes), lock)
        except BaseException:
            os.close(lock)
            raise
    except OSError as error:
        raise UsageError(
            f"cannot keep the broker's data in {path}: {error.strerror or error}; "
            "make room there or name another folder with --data-dir (for the demo: TMPDIR)"
        ) from error


def _refuse_strangers(path: Path) -> None:
    if not (path / MARKER).exists() and any(entry.name not in OURS for entry in path.iterdir()):
        raise UsageError(
            f"{path} holds other files and no broker of ours: name an empty or new folder with --data-dir"
        )


def _lock(path: Path) -> int:
    lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _wait_for(lock, path)
        os.ftruncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _wait_for(lock: int, path: Path) -> None:
    """Take the lock; wait only for a broker that is stopping because its starter is gone."""
    deadline = time.monotonic() + STOPPING_SECONDS
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(lock, 20, 0).decode() or "unknown"
            if _is_alive(owner) or time.monotonic() > deadline:
                raise UsageError(
                    f"the data folder {path} is in use by a running broker (process {owner}): "
                    "stop that one or name another folder with --data-dir"
                ) from None
        time.sleep(0.05)


def _is_alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _clear(path: Path) -> None:
    """Delete what a cluster made, and nothing else that may lie there; the marker goes last."""
    for data in path.glob("node-[0-9]*"):
        shutil.rmtree(data) if data.is_dir() else data.unlink()
    shutil.rmtree(path / "logs", ignore_errors=True)
    (path / MARKER).unlink(missing_ok=True)


def _cluster_id(path: Path, nodes: int) -> str:
    marker = path / MARKER
    if not marker.exists():
        _write_marker(marker, {"cluster_id": _new_cluster_id(), "nodes": nodes})
    try:
        content = json.loads(marker.read_text(encoding="utf-8"))
        cluster_id, found_nodes = str(content["cluster_id"]), int(content["nodes"])
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{marker} is damaged ({error}): start with --reset, or name another --data-dir"
        ) from error
    if found_nodes != nodes:
        raise UsageError(
            f"the data in {path} was made with --nodes {found_nodes}, not {nodes}: "
            "give that number, another --data-dir, or --reset to delete the data"
        )
    return cluster_id


def _write_marker(marker: Path, content: dict[str, object]) -> None:
    part = marker.with_suffix(".part")
    part.write_text(json.dumps(content) + "\n", encoding="utf-8")
    part.replace(marker)


def _new_cluster_id() -> str:
    """Kafka's form of an id: 16 random bytes in URL-safe base64, not starting like an option."""
    while (made := base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=")).startswith("-"):
        pass
    return made
