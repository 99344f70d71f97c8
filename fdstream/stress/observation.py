"""What was observed of one federation, as values. Knows neither how it was observed nor what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fdstream.stress.plan import Scenario
from fdstream.stress.wire import Traffic

SERVER, BROKER, CLIENTS = "server", "broker", "clients"
PARTIES = (SERVER, BROKER, CLIENTS)

Moment = Mapping[str, Any]  # a line that `fdstream.moments` wrote


@dataclass(frozen=True, slots=True)
class Cost:
    """What a party's processes used: processor time of all, memory of all at their peaks, as far as it is known."""

    cpu_seconds: float
    peak_bytes: int
    processes: int


@dataclass(frozen=True, slots=True)
class Observation:
    """One federation over one channel, from the start of its first process to the end of its last."""

    scenario: Scenario
    channel: str
    connections: int  # of all clients
    moments: Mapping[str, tuple[Moment, ...]]  # by party: server, clients
    traffic: Mapping[str, Traffic]  # by party, as it saw its own link; empty where links are not counted
    costs: Mapping[str, Cost]  # by party
    summary: Mapping[str, Any]  # what the server said at the end
