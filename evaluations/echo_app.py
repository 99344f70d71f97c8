"""An app whose training hands the model back, for measuring what surrounds it. BENCH_BYTES is the model's size."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from fdstream.app import App

app = App(weights=lambda: {"weights": np.zeros(int(os.environ["BENCH_BYTES"]) // 4, np.float32)})


@app.train
def train(weights: Any, _config: Any) -> Any:
    return weights, 1, {}
