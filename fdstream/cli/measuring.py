"""The instruments that --metrics-port asks for; without it nothing is measured and no metrics library is imported."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdstream.instruments import Instruments

logger = logging.getLogger("fdstream.metrics")


@contextmanager
def measured(federation: str, role: str, host: str, port: int | None) -> Iterator[Instruments]:
    """Instruments for a process of this role, served inside the block. Raises `UsageError`."""
    from fdstream.errors import UsageError
    from fdstream.instruments import UNMEASURED

    if port is None:
        yield UNMEASURED
        return
    try:
        from fdstream.metrics import exporter
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        raise UsageError("--metrics-port needs prometheus-client: pip install 'fdstream[metrics]'") from error
    with exporter.exported(federation, role, host, port) as (instruments, bound):
        shown = f"[{host}]" if ":" in host else host
        logger.info("serving metrics", extra={"url": f"http://{shown}:{bound}/metrics"})
        yield instruments
