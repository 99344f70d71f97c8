"""The default app end to end: real images, two Keras clients, two rounds."""

from __future__ import annotations

import pytest

from fdstream.messages import GlobalEvaluated
from fdstream.topics import table
from tests.cluster.processes import Federation
from tests.cluster.topics import Topics

DIGITS = "fdstream.examples.digits:app"


def test_two_clients_learn_digits(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    # Most of the time goes into compiling for speed what then runs for milliseconds.
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    server = federation.server("--numrounds", "2", "--minclients", "2", "--chunk-bytes", "900KiB", app=DIGITS)
    for index in range(2):
        federation.client(f"digits-{index}", "--data-index", str(index), app=DIGITS)
    result = server.result()
    with Topics(federation) as topics:
        topics.all_entries(table.CONTROL)
        found = {e.round: e.metrics["accuracy"] for e in topics.messages(table.CONTROL, GlobalEvaluated)}
    assert result["rounds"] == 2
    assert result["metrics"]["global_accuracy"] == found[3]
    assert found[3] > max(0.5, found.get(1, 0.0) + 0.2)
