"""Federated learning over Kafka: exact, sharded, restartable.

`App` is what a user writes; `connect` is for scripts with a training loop of their own. Importing this imports
neither a Kafka client nor a machine learning library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fdstream.app import App

if TYPE_CHECKING:
    from fdstream.client.connect import connect

__all__ = ["App", "connect"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "connect":
        from fdstream.client.connect import connect

        return connect
    raise AttributeError(f"module 'fdstream' has no attribute {name!r}")
