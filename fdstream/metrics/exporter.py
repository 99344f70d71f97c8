"""Serves a registry over HTTP for Prometheus to scrape, from threads of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from fdstream.errors import UsageError
from fdstream.instruments import Instruments
from fdstream.metrics.client import ClientInstruments
from fdstream.metrics.definitions import SERVER
from fdstream.metrics.meters import Meters
from fdstream.metrics.server import ServerInstruments


def instruments(registry: CollectorRegistry, federation: str, role: str) -> Instruments:
    """Those of a role, which put what they count into the registry."""
    meters = Meters(registry, federation, role)
    return ServerInstruments(meters) if role == SERVER else ClientInstruments(meters)


@contextmanager
def serving(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Answer scrapes inside the block; the port. Raises `UsageError` where it cannot listen there."""
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise UsageError(
            f"cannot listen on {host}:{port} for scrapes: {(error.strerror or str(error)).lower()}. Choose another "
            "--metrics-port (0 takes a free one) or --metrics-host"
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def exported(federation: str, role: str, host: str, port: int) -> Iterator[tuple[Instruments, int]]:
    """Instruments whose findings are served, with those of the process; and the port."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    made = instruments(registry, federation, role)
    with serving(registry, host, port) as bound:
        yield made, bound
