"""Federated training against sending the data to a centre, in bytes. Pure, but for the data itself."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fdstream.examples import digits
from fdstream.stress.measurement import Measurement
from fdstream.stress.observation import CLIENTS
from fdstream.stress.plan import Scenario

EXAMPLE_BYTES = 64 + 1
"""Of a digit: 8 x 8 pixels in 17 shades, and which digit it is."""


@dataclass(frozen=True, slots=True)
class Centre:
    """Bytes of all clients together."""

    clients: int
    rounds: int
    federated_bytes: float
    raw_bytes: float
    accuracy: float | None


def centre(scenario: Scenario, measured: Sequence[Measurement]) -> Centre:
    """What the clients sent and received on the wire or, where that is not counted, in records."""
    return Centre(
        clients=scenario.clients,
        rounds=scenario.training_rounds,
        federated_bytes=statistics.median(map(_clients_bytes, measured)),
        raw_bytes=EXAMPLE_BYTES * sum(map(len, digits.split(scenario.clients))),
        accuracy=measured[-1].accuracy,
    )


def _clients_bytes(measured: Measurement) -> float:
    link = next(link for link in measured.links if link.party == CLIENTS)
    return sum(flow.wire.bytes if flow.wire else flow.record_bytes for flow in (link.up, link.down))
