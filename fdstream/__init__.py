"""Federated learning over Kafka: exact, sharded, restartable.

`App` is what a user writes; `connect` is for scripts with a training loop of their own. Both are imported when
first used, so that a command line which only prints its help does not wait for numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdstream.app import App
    from fdstream.client.connect import connect

__all__ = ["App", "connect"]
__version__ = "0.1.0"

_HOMES = {"App": "fdstream.app", "connect": "fdstream.client.connect"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fdstream' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
