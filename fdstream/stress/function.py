"""What a functions framework serves in the stress test: the entry point of every function, and an app for it.

The app's config says how: `work` is echo or synthetic, `seconds` how long training takes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from fdstream.app import App, Config
from fdstream.client.serverless import handler
from fdstream.dtypes import Array
from fdstream.examples import synthetic

__all__ = ["app", "handler"]

app = App(weights=dict)


@app.train
def train(weights: Mapping[str, Array], config: Config) -> tuple[Mapping[str, Array], int, dict[str, Any]]:
    """What a client of a swarm does."""
    time.sleep(float(config["seconds"]))
    if config["work"] == "synthetic":
        return *synthetic.train(weights, 0, str(config["client_id"]), int(config["round"])), {}
    return weights, 1, {}
