"""The instruments that --metrics-port or --moments asks for; without them nothing is measured or imported."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fdstream.instruments import Instruments

logger = logging.getLogger("fdstream.metrics")


@contextmanager
def measured(
    federation: str, role: str, host: str, port: int | None, moments: Path | None
) -> Iterator[Instruments]:
    """Instruments for a process of this role, served or written inside the block. Raises `UsageError`."""
    from fdstream.errors import UsageError
    from fdstream.instruments import UNMEASURED
    from fdstream.moments import writing

    if port is not None and moments is not None:
        raise UsageError("--metrics-port and --moments both want to look on: leave one of them out")
    if moments is not None:
        with writing(moments) as recorder:
            yield recorder
        return
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
