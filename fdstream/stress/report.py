"""Figures as a page of Markdown and as JSON. Pure: figures in, text out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence

from fdstream.stress.comparison import Centre, centre
from fdstream.stress.measurement import Flow, Link, Measurement, Results, as_json, percentile, pooled, typical
from fdstream.stress.observation import BROKER, CLIENTS, SERVER
from fdstream.stress.plan import GRPC, KAFKA, Plan, Scenario
from fdstream.stress.texts import (
    ADDING_UP,
    BY,
    CENTRE,
    COSTS,
    COUNTED,
    EXPECTED,
    HEAD,
    NO_WIRE,
    REQUESTS,
    SOCKETS,
    TIMES,
    UPDATES,
    WIRE,
)

NAMES = {KAFKA: "Kafka", GRPC: "gRPC"}
MB = 1e6
MILLI = 1e3

Row = list[str]
Figures = Mapping[str, Sequence[Measurement]]  # of one scenario by channel, one for each run


def raw(plan: Plan, facts: Mapping[str, str], results: Results) -> str:
    """Everything that was measured, run by run. Samples of each client are left to their percentiles."""
    runs = [
        {"scenario": as_json(scenario), "channel": channel, "runs": [_run(each) for each in measured]}
        for (scenario, channel), measured in results.items()
    ]
    whole = {"facts": dict(facts), "repeat": plan.repeat, "results": runs}
    return json.dumps(whole, indent=1) + "\n"


def _run(measured: Measurement) -> object:
    made = as_json(measured)
    for name in ("model", "update"):
        made["times"][name] = {label: round(value, 6) for label, value in spread(made["times"][name]).items()}
    return made


def spread(values: Sequence[float]) -> dict[str, float]:
    """The percentiles that are told."""
    return {"p50": percentile(values, 50), "p95": percentile(values, 95), "max": max(values)}


def page(plan: Plan, facts: Mapping[str, str], results: Results, pictures: Mapping[str, str]) -> str:
    """The report. `pictures` are names of files by what they show."""
    parts = [HEAD, "\n".join(f"- {name}: {value}" for name, value in facts.items()), _runs(plan)]
    parts += ["## In short", summary(plan, results)]
    parts += [f"![{name}]({file})" for name, file in pictures.items() if name == "sweep"]
    for scenario in plan.scenarios:
        shown = pictures if scenario == plan.scenarios[0] else {}
        parts += _scenario(scenario, of(results, scenario), shown, facts["network"])
    parts += _analysis(plan.analysis, of(results, plan.analysis), pictures)
    return "\n\n".join(parts) + "\n"


def of(results: Results, scenario: Scenario) -> Figures:
    """What was measured of a scenario, by channel."""
    return {channel: measured for (each, channel), measured in results.items() if each == scenario}


def summary(plan: Plan, results: Results) -> str:
    """A line for each scenario and channel."""
    head = [
        "federation",
        "channel",
        "rounds",
        "total s",
        "of it training",
        "round p50 ms",
        "p95",
        "model on all devices p50 ms",
        "server egress ÷ model, a round",
        "CPU-s a round",
    ]
    rows = [
        _short(scenario, channel, measured)
        for scenario in plan.scenarios
        for channel, measured in of(results, scenario).items()
    ]
    return table(head, rows)


def table(head: Row, rows: Sequence[Row]) -> str:
    """Markdown; the first two columns are words."""
    lines = [head, ["---" if index < 2 else "---:" for index in range(len(head))], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _runs(plan: Plan) -> str:
    times = "once" if plan.repeat == 1 else f"{plan.repeat} times"
    return (
        f"Each federation was run {times} over each channel, in turns; figures are medians over these runs."
    )


def _short(scenario: Scenario, channel: str, measured: Sequence[Measurement]) -> Row:
    rounds = pooled(measured, lambda times: times.rounds)
    everybody = pooled(measured, lambda times: times.everybody)
    total = typical(measured, lambda m: m.times.total)
    share = typical(measured, lambda m: m.times.training_share)
    return [
        scenario.title,
        NAMES[channel],
        str(scenario.rounds),
        f"{total:.2f}",
        f"{100 * share:.0f} %",
        _ms(percentile(rounds, 50)),
        _ms(percentile(rounds, 95)),
        _ms(percentile(everybody, 50)),
        _egress(scenario, measured),
        f"{_cpu_a_round(scenario, measured):.2f}",
    ]


def _egress(scenario: Scenario, measured: Sequence[Measurement]) -> str:
    if measured[0].egress_bytes is None:
        return "not counted"
    models = scenario.training_rounds + 1
    return f"{typical(measured, lambda m: (m.egress_bytes or 0) / m.model_bytes) / models:.2f}"


def _cpu_a_round(scenario: Scenario, measured: Sequence[Measurement]) -> float:
    whole = typical(measured, lambda m: sum(cost.cpu_seconds for cost in m.costs.values()))
    return whole / (scenario.training_rounds + 1)


# One scenario


def _scenario(
    scenario: Scenario, figures: Figures, pictures: Mapping[str, str], network: str
) -> Iterator[str]:
    yield f"## {scenario.title}"
    yield "### 1. Messages"
    counted = SOCKETS.format(network=network) if network.startswith("loopback") else WIRE
    wire = counted if _is_counted(figures) else NO_WIRE.format(network=network)
    yield COUNTED.format(rounds=scenario.training_rounds, wire=wire)
    yield from _picture("messages", pictures)
    yield _messages(figures)
    yield REQUESTS
    yield _requests(figures)
    yield ADDING_UP
    yield _adding_up(scenario, figures)
    yield "### 2. Time"
    yield TIMES.format(rounds=scenario.rounds)
    yield from _picture("time", pictures)
    yield _times(figures)
    yield "### 3. Until the model is on all devices, and back"
    yield UPDATES
    yield from _picture("updates", pictures)
    yield _updates(figures)
    yield "### 4. Processor, memory, the server's link"
    yield COSTS
    yield from _picture("costs", pictures)
    yield _costs(scenario, figures)


def _is_counted(figures: Figures) -> bool:
    return all(each.egress_bytes is not None for measured in figures.values() for each in measured)


def _picture(name: str, pictures: Mapping[str, str]) -> Iterator[str]:
    if name in pictures:
        yield f"![{name}]({pictures[name]})"


def flows(link: Link) -> Iterator[tuple[str, Callable[[Link], Flow]]]:
    """Both directions in words, and how to get them."""
    yield f"{link.party} → {link.peer}", lambda each: each.up
    yield f"{link.peer} → {link.party}", lambda each: each.down


def _directions(figures: Figures) -> Iterator[tuple[str, str, Callable[[Callable[[Flow], float]], float]]]:
    """Every direction of every link: channel, in words, and what gives a typical figure of it."""
    for channel, measured in figures.items():
        for index, link in enumerate(measured[0].links):
            for words, get in flows(link):

                def pick(
                    what: Callable[[Flow], float],
                    index: int = index,
                    get: Callable[[Link], Flow] = get,
                    measured: Sequence[Measurement] = measured,
                ) -> float:
                    return typical(measured, lambda m: what(get(m.links[index])))

                yield channel, words, pick


def _messages(figures: Figures) -> str:
    rows = [
        [
            NAMES[channel],
            words,
            _count(pick(lambda flow: flow.records)),
            _mb(pick(lambda flow: flow.record_bytes)),
            *_wire(pick),
        ]
        for channel, words, pick in _directions(figures)
    ]
    return table(["channel", "link", "records", "their MB", "packets", "MB on the wire"], rows)


def _wire(pick: Callable[[Callable[[Flow], float]], float]) -> Row:
    packets = pick(lambda flow: flow.wire.packets if flow.wire else 0)
    if not packets:
        return ["not counted", "not counted"]
    return [_count(packets), _mb(pick(lambda flow: flow.wire.bytes if flow.wire else 0))]


def _requests(figures: Figures) -> str:
    rows = [
        [
            NAMES[channel],
            party,
            *(_count(_typical_requests(measured, party, way)) for way in ("sent", "received")),
        ]
        for channel, measured in figures.items()
        for party in ((SERVER, CLIENTS) if channel == KAFKA else (CLIENTS,))
    ]
    return table(["channel", "counted at", "sent", "received"], rows)


def _typical_requests(measured: Sequence[Measurement], party: str, way: str) -> float:
    return typical(measured, lambda m: m.requests[party][way])


def _adding_up(scenario: Scenario, figures: Figures) -> str:
    rows = []
    for channel, words, pick in _directions(figures):
        wire = pick(lambda flow: flow.wire.bytes if flow.wire else 0)
        records, size = pick(lambda flow: flow.records), pick(lambda flow: flow.record_bytes)
        mean = f"{size / records / MILLI:.3f}" if records else "-"
        rest = (
            [
                _mb(pick(lambda flow: flow.header_bytes)),
                _mb(pick(lambda flow: flow.protocol_bytes)),
                _mb(wire),
                f"{100 * (wire / size - 1):+.1f} %" if size else "-",
            ]
            if wire
            else ["not counted"] * 4
        )
        rows.append([NAMES[channel], words, _count(records), mean, _mb(size), *rest])
    head = [
        "channel",
        "link",
        "records",
        f"{BY} KB each",
        "= MB",
        "+ headers",
        "+ protocol",
        "= wire MB",
        "overhead",
    ]
    return table(head, rows) + f"\n\n{EXPECTED}\n\n" + expected(scenario, figures)


def expected(scenario: Scenario, figures: Figures) -> str:
    """What the records must amount to, from the plan alone, and what they do."""
    rows = []
    for channel, measured in figures.items():
        size, rounds = measured[0].model_bytes, scenario.training_rounds
        updates, models = (
            typical(measured, lambda m, what=what: m.payload_bytes[what])  # type: ignore[misc]
            for what in ("updates", "model")
        )
        sent, received = scenario.clients * rounds * size, measured[0].connections * (rounds + 1) * size
        sums = (
            f"{scenario.clients} {BY} {rounds} {BY} {size:,}",
            f"{measured[0].connections} {BY} {rounds + 1} {BY} {size:,}",
        )
        rows.append(
            [NAMES[channel], "updates", sums[0], _mb(sent), _mb(updates), f"{updates / sent - 1:+.2%}"]
        )
        rows.append(
            [NAMES[channel], "models", sums[1], _mb(received), _mb(models), f"{models / received - 1:+.2%}"]
        )
    return table(["channel", "of the clients", "by the plan, bytes", "MB", "counted MB", "more"], rows)


def _times(figures: Figures) -> str:
    rows = []
    for channel, measured in figures.items():
        rounds = spread(pooled(measured, lambda times: times.rounds))
        total = typical(measured, lambda m: m.times.total)
        training = typical(measured, lambda m: m.times.training)
        share = typical(measured, lambda m: m.times.training_share)
        cells = [f"{total:.2f}", f"{training:.2f}", f"{100 * share:.1f} %"]
        rows.append([NAMES[channel], f"{len(measured)} runs", *cells, *map(_ms, rounds.values())])
    return table(
        ["channel", "", "total s", "training s", "share", "round p50 ms", "round p95 ms", "round max ms"],
        rows,
    )


def _updates(figures: Figures) -> str:
    rows = []
    for channel, measured in figures.items():
        for words, values in (
            ("model on a device", pooled(measured, lambda times: times.model)),
            ("model on all devices", pooled(measured, lambda times: times.everybody)),
            ("update at the server", pooled(measured, lambda times: times.update)),
        ):
            rows.append([NAMES[channel], words, *map(_ms, spread(values).values()), str(len(values))])
    return table(["channel", "until", "p50 ms", "p95 ms", "max ms", "samples"], rows)


def _costs(scenario: Scenario, figures: Figures) -> str:
    rows = []
    for channel, measured in figures.items():
        for party in (SERVER, BROKER, CLIENTS):
            cpu = typical(measured, lambda m, party=party: m.costs[party].cpu_seconds)  # type: ignore[misc]
            peak = typical(measured, lambda m, party=party: m.costs[party].peak_bytes)  # type: ignore[misc]
            if not measured[0].costs[party].processes:
                continue
            link = ["", ""] if party != SERVER else _server_link(scenario, measured)
            processes = str(measured[0].costs[party].processes)
            rows.append([NAMES[channel], party, processes, f"{cpu:.1f}", f"{peak / 2**20:.0f}", *link])
    head = [
        "channel",
        "party",
        "processes",
        "CPU-s",
        "peak MiB",
        "egress ÷ model a round",
        "ingress ÷ updates",
    ]
    return table(head, rows)


def _server_link(scenario: Scenario, measured: Sequence[Measurement]) -> Row:
    if measured[0].ingress_bytes is None:
        return ["not counted", "not counted"]
    updates = scenario.training_rounds * scenario.clients
    ingress = typical(measured, lambda m: (m.ingress_bytes or 0) / m.model_bytes) / updates
    return [_egress(scenario, measured), f"{ingress:.2f}"]


# The analysis of the network


def _analysis(scenario: Scenario, figures: Figures, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "## 5. Federated training against sending the data to a centre"
    found = {channel: centre(scenario, measured) for channel, measured in figures.items()}
    how = "measured on the wire" if _is_counted(figures) else "of the records alone"
    yield CENTRE.format(title=scenario.title, rounds=scenario.training_rounds, how=how)
    yield from _picture("centre", pictures)
    yield table(
        [
            "channel",
            "accuracy",
            "federated MB",
            "a client KB",
            "raw data MB",
            "a client KB",
            "federated ÷ raw",
        ],
        [[NAMES[channel], *_centre(each)] for channel, each in found.items()],
    )


def _centre(each: Centre) -> Row:
    accuracy = "-" if each.accuracy is None else f"{100 * each.accuracy:.1f} %"
    return [
        accuracy,
        f"{each.federated_bytes / MB:.2f}",
        f"{each.federated_bytes / each.clients / MILLI:.0f}",
        f"{each.raw_bytes / MB:.3f}",
        f"{each.raw_bytes / each.clients / MILLI:.1f}",
        f"{each.federated_bytes / each.raw_bytes:.0f}",
    ]


# Numbers


def _ms(seconds: float) -> str:
    return f"{MILLI * seconds:.0f}" if seconds >= 0.01 else f"{MILLI * seconds:.1f}"


def _mb(size: float) -> str:
    return f"{size / MB:.1f}" if abs(size) >= MB else f"{size / MB:.3f}"


def _count(number: float) -> str:
    return f"{number:,.0f}"
