"""Observations of the same federation, folded into figures. Pure.

Times leave the first round out, in which processes start and connect, and the last, in which the final model is only
evaluated. Counts are of the whole run, so that they can be added up: nothing on a link belongs to something else.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fdstream.stress.observation import BROKER, CLIENTS, SERVER, Cost, Moment, Observation
from fdstream.stress.plan import KAFKA, Scenario
from fdstream.stress.wire import HEADER_BYTES, Count, Traffic


@dataclass(frozen=True, slots=True)
class Flow:
    """One direction of a link: what the application handed over, and what passed."""

    records: int
    record_bytes: int
    wire: Count | None

    @property
    def header_bytes(self) -> int:
        """Of the packets, as far as they are TCP's."""
        return self.wire.packets * HEADER_BYTES if self.wire else 0

    @property
    def protocol_bytes(self) -> int:
        """The rest: framing, acknowledgements, questions, what was sent and not used."""
        return self.wire.bytes - self.record_bytes - self.header_bytes if self.wire else 0


@dataclass(frozen=True, slots=True)
class Link:
    """Between a party and the one it talks to. `up` is away from the party."""

    party: str
    peer: str
    up: Flow
    down: Flow


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. What is per client has one entry for each client and measured round."""

    total: float  # from the opening of the first measured round to the closing of the last
    training: float  # of the slowest client in each round, summed
    rounds: list[float] = field(default_factory=list)  # from opening to closing
    model: list[float] = field(
        default_factory=list
    )  # from opening a round to a client having its model, verified
    everybody: list[float] = field(default_factory=list)  # … to the last client having it
    update: list[float] = field(
        default_factory=list
    )  # from a client having trained to the server knowing its report

    @property
    def training_share(self) -> float:
        return self.training / self.total


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one run gave."""

    times: Times
    links: tuple[Link, ...]
    requests: Mapping[str, Mapping[str, int]]  # by party: sent, received
    costs: Mapping[str, Cost]
    egress_bytes: int | None  # of the server, over its link
    ingress_bytes: int | None
    model_bytes: int
    connections: int
    accuracy: float | None  # of the final model on held-out data, where there is any
    payload_bytes: Mapping[str, int]  # of what the clients sent, "updates", and received, "model"


Results = dict[tuple[Scenario, str], list[Measurement]]
"""Of each scenario over each channel, one for each run."""


def measure(seen: Observation) -> Measurement:
    """Fold one observation."""
    server = seen.traffic.get(SERVER)
    return Measurement(
        times=_times(seen),
        links=_links(seen),
        requests={party: _requests(moments) for party, moments in seen.moments.items()},
        costs=seen.costs,
        egress_bytes=server.up.bytes if server else None,
        ingress_bytes=server.down.bytes if server else None,
        model_bytes=next(m["model_bytes"] for m in _named("model received", seen.moments[CLIENTS])),
        connections=seen.connections,
        accuracy=seen.summary["metrics"].get("global_accuracy"),
        payload_bytes={
            "updates": _updates_bytes(seen.moments[CLIENTS]),
            "model": records_of(seen.moments[CLIENTS], "read", ".model")[1],
        },
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """By nearest rank: always one of the values."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(percent) // 100) - 1)]


def typical(measurements: Sequence[Measurement], pick: Callable[[Measurement], float]) -> float:
    """The median over runs."""
    return statistics.median(map(pick, measurements))


def pooled(measurements: Sequence[Measurement], pick: Callable[[Times], Iterable[float]]) -> list[float]:
    """The samples of all runs."""
    return [value for each in measurements for value in pick(each.times)]


# Times


def _times(seen: Observation) -> Times:
    rounds = seen.scenario.measured
    came = [m for m in seen.moments[CLIENTS] if m["moment"] == "model received" and m["round"] in rounds]
    opened = {m["round"]: m["opened_seconds"] for m in came}
    closed = {m["round"]: m["seconds"] for m in seen.moments[SERVER] if m["moment"] == "round closed"}
    longest: dict[int, float] = defaultdict(float)
    for m in _named("trained", seen.moments[CLIENTS]):
        longest[m["round"]] = max(longest[m["round"]], m["lasted_seconds"])
    return Times(
        total=closed[rounds[-1]] - opened[rounds[0]],
        training=sum(longest[number] for number in rounds),
        rounds=[closed[number] - opened[number] for number in rounds],
        model=[m["seconds"] - opened[m["round"]] for m in came for _ in m["clients"]],
        everybody=[
            max(m["seconds"] for m in came if m["round"] == number) - opened[number] for number in rounds
        ],
        update=_updates(seen, rounds),
    )


def _updates(seen: Observation, rounds: range) -> list[float]:
    trained = {(m["client"], m["round"]): m["seconds"] for m in _named("trained", seen.moments[CLIENTS])}
    known = {(m["client"], m["round"]): m["seconds"] for m in _named("report", seen.moments[SERVER])}
    return [known[key] - trained[key] for key in known if key[1] in rounds and key in trained]


def _named(moment: str, moments: Iterable[Moment]) -> list[Moment]:
    return [m for m in moments if m["moment"] == moment]


# Counts


def _links(seen: Observation) -> tuple[Link, ...]:
    """Over gRPC there is one link between the two, told from the clients' side; the server's records stay in it."""
    if seen.channel != KAFKA:
        return (_link(seen, CLIENTS, SERVER),)
    return _link(seen, SERVER, BROKER), _link(seen, CLIENTS, BROKER)


def _link(seen: Observation, party: str, peer: str) -> Link:
    wire = seen.traffic.get(party)
    return Link(party, peer, _flow(seen, party, wire, "up"), _flow(seen, party, wire, "down"))


def _flow(seen: Observation, party: str, wire: Traffic | None, direction: str) -> Flow:
    records, size = records_of(seen.moments[party], "appended" if direction == "up" else "read")
    return Flow(records, size, getattr(wire, direction) if wire else None)


def records_of(moments: Iterable[Moment], way: str, topic: str = "") -> tuple[int, int]:
    """How many records were `appended` or `read`, of topics that end so, and their bytes."""
    counts = [
        count for m in _named("records", moments) for name, count in m[way].items() if name.endswith(topic)
    ]
    return sum(count for count, _ in counts), sum(size for _, size in counts)


def _updates_bytes(moments: Iterable[Moment]) -> int:
    """A small update travels in its report."""
    told = list(moments)
    return sum(records_of(told, "appended", topic)[1] for topic in (".updates", ".reports"))


def _requests(moments: Iterable[Moment]) -> dict[str, int]:
    told = _named("requests", moments)
    return {name: sum(m.get(name, 0) for m in told) for name in ("sent", "received")}


def as_json(value: Any) -> Any:
    """Dataclasses as dicts, for the report's raw side."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: as_json(getattr(value, name)) for name in value.__dataclass_fields__}
    if isinstance(value, Mapping):
        return {key: as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(each) for each in value]
    return round(value, 6) if isinstance(value, float) else value
