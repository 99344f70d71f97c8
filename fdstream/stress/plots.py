"""Figures as pictures, each as PNG and as SVG. Colours that the colour-blind can tell apart (Okabe and Ito)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fdstream.stress.comparison import centre
from fdstream.stress.measurement import Measurement, Results, percentile, pooled, typical
from fdstream.stress.observation import BROKER, CLIENTS, SERVER
from fdstream.stress.plan import GRPC, KAFKA, Plan, Scenario
from fdstream.stress.report import NAMES, Figures, flows, of

COLOURS = {KAFKA: "#0072B2", GRPC: "#D55E00"}
PARTY_COLOURS = {SERVER: "#009E73", BROKER: "#56B4E9", CLIENTS: "#E69F00"}
GREY = "#999999"
DPI = 130
STYLE: Any = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.alpha": 0.3,
    "axes.axisbelow": True,
    "svg.hashsalt": "fdstream",
    "figure.constrained_layout.use": True,
}


def draw(plan: Plan, results: Results, folder: Path) -> dict[str, str]:
    """Write all pictures into the folder; the PNG files' names by what they show."""
    first = plan.scenarios[0]
    figures = of(results, first)
    made: dict[str, Callable[[], Figure]] = {
        "messages": lambda: messages(first, figures),
        "time": lambda: time(first, figures),
        "updates": lambda: updates(first, figures),
        "costs": lambda: costs(first, figures),
        "centre": lambda: data_against_model(plan.analysis, of(results, plan.analysis)),
    }
    if len(plan.scenarios) > 1:
        made["sweep"] = lambda: sweep(plan, results)
    with mpl.rc_context(STYLE):
        return {name: _save(make(), folder / name) for name, make in made.items()}


def _save(figure: Figure, path: Path) -> str:
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    png = path.with_suffix(".png")
    figure.savefig(png, dpi=DPI)
    plt.close(figure)
    return png.name


def _labelled(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axes.set_ylabel(unit)


def messages(scenario: Scenario, figures: Figures) -> Figure:
    """Records and bytes on each link."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6))
    places: list[tuple[str, str, float, float]] = []
    for channel, measured in figures.items():
        for index, link in enumerate(measured[0].links):
            for words, get in flows(link):
                count = typical(measured, lambda m: get(m.links[index]).records)  # noqa: B023 - called at once
                size = typical(measured, lambda m: _bytes(get(m.links[index])))  # noqa: B023
                places.append((channel, f"{NAMES[channel]}\n{words.replace(' → ', '→')}", count, size / 1e6))
    _bars(left, [(label, count, COLOURS[channel]) for channel, label, count, _ in places])
    _labelled(left, "Application records", "records in the whole run")
    _bars(right, [(label, size, COLOURS[channel]) for channel, label, _, size in places])
    _labelled(right, "On the wire", "MB in the whole run, headers included")
    figure.suptitle(f"Messages: {scenario.title}, {scenario.training_rounds} rounds and the final model")
    return figure


def _bytes(flow: object) -> float:
    wire = getattr(flow, "wire", None)
    return float(wire.bytes if wire else getattr(flow, "record_bytes"))  # noqa: B009


def _bars(axes: Axes, bars: Sequence[tuple[str, float, str]]) -> None:
    drawn = axes.bar(
        range(len(bars)), [value for _, value, _ in bars], color=[colour for *_, colour in bars], width=0.7
    )
    axes.bar_label(drawn, labels=[_short(value) for _, value, _ in bars], padding=2, fontsize=8)
    axes.set_xticks(range(len(bars)), [label for label, *_ in bars], fontsize=8, rotation=40, ha="right")
    axes.margins(y=0.12)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def time(scenario: Scenario, figures: Figures) -> Figure:
    """Total, with the share of training, and each round."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.0))
    for place, (channel, measured) in enumerate(figures.items()):
        total = typical(measured, lambda m: m.times.total)
        training = typical(measured, lambda m: m.times.training)
        left.bar(place, training, color=COLOURS[channel], width=0.6)
        rest = left.bar(
            place, total - training, bottom=training, color=COLOURS[channel], alpha=0.45, width=0.6
        )
        share = f"{total:.2f} s\n{100 * training / total:.0f} % training"
        left.bar_label(rest, labels=[share], padding=2, fontsize=9)
        rounds = pooled(measured, lambda times: times.rounds)
        right.boxplot(
            [1000 * seconds for seconds in rounds],
            positions=[place],
            widths=0.5,
            whis=(0, 100),
            patch_artist=True,
            boxprops={"facecolor": COLOURS[channel], "alpha": 0.6},
            medianprops={"color": "black"},
        )
    left.margins(y=0.25)
    for axes in (left, right):
        axes.set_xticks(range(len(figures)), [NAMES[channel] for channel in figures])
        axes.set_ylim(bottom=0)  # fixes the top too: after the margins
    _labelled(left, f"{scenario.rounds} rounds in all (dark: training)", "seconds")
    _labelled(right, "One round (box: quartiles, whiskers: all)", "milliseconds")
    figure.suptitle(f"Time: {scenario.title}")
    return figure


def updates(scenario: Scenario, figures: Figures) -> Figure:
    """What share of the clients has its model, and what share of the updates is in, after so long."""
    figure, both = plt.subplots(1, 2, figsize=(10, 4.0), sharey=True)
    for axes, title, pick in (
        (both[0], "From opening a round to the model on a device", lambda times: times.model),
        (both[1], "From trained to the update at the server", lambda times: times.update),
    ):
        for channel, measured in figures.items():
            values = sorted(1000 * seconds for seconds in pooled(measured, pick))
            shares = [100 * (index + 1) / len(values) for index in range(len(values))]
            axes.step(
                values, shares, where="post", color=COLOURS[channel], label=NAMES[channel], linewidth=1.8
            )
            axes.plot(percentile(values, 95), 95, "o", color=COLOURS[channel])
        axes.set_xlabel("milliseconds (dot: p95)")
        axes.set_xlim(left=0)
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.legend(frameon=False, loc="lower right")
    both[0].set_ylabel("% of all clients in all rounds")
    figure.suptitle(f"Until the model is on all devices, and back: {scenario.title}")
    return figure


def costs(scenario: Scenario, figures: Figures) -> Figure:
    """Processor time and memory of each party."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.0))
    parties = (SERVER, BROKER, CLIENTS)
    for place, measured in enumerate(figures.values()):
        base = 0.0
        for number, party in enumerate(parties):
            cpu = typical(measured, lambda m: m.costs[party].cpu_seconds)  # noqa: B023 - called at once
            peak = typical(measured, lambda m: m.costs[party].peak_bytes)  # noqa: B023
            if cpu:
                drawn = left.bar(place, cpu, bottom=base, color=PARTY_COLOURS[party], width=0.6)
                left.bar_label(drawn, labels=[f"{party} {cpu:.1f}"], label_type="center", fontsize=9)
                base += cpu
            if peak:
                spot = place + (number - 1) * 0.27
                bar = right.bar(spot, peak / 2**20, color=PARTY_COLOURS[party], width=0.25)
                right.bar_label(bar, labels=[f"{party}\n{peak / 2**20:.0f}"], padding=2, fontsize=8)
    for axes in (left, right):
        axes.set_xticks(range(len(figures)), [NAMES[channel] for channel in figures])
    right.margins(y=0.15)
    _labelled(left, "Processor time of a whole run", "CPU-seconds")
    _labelled(right, "Peak memory, all processes of a party", "MiB")
    figure.suptitle(f"Cost: {scenario.title}")
    return figure


def data_against_model(scenario: Scenario, figures: Figures) -> Figure:
    """Bytes after each round, against the raw data."""
    figure, axes = plt.subplots(figsize=(7.5, 4.2))
    for channel, measured in figures.items():
        found = centre(scenario, measured)
        a_round = found.federated_bytes / found.clients / found.rounds / 1e3
        rounds = range(1, found.rounds + 1)
        line: dict[str, Any] = {
            "color": COLOURS[channel],
            "linestyle": "-" if channel == KAFKA else "--",
            "marker": "o",
        }
        axes.plot(
            rounds,
            [a_round * each for each in rounds],
            markersize=4,
            label=f"federated, {NAMES[channel]}",
            **line,
        )
        raw = found.raw_bytes / found.clients / 1e3
    axes.axhline(raw, color=GREY, label=f"the client's raw data, {raw:.1f} KB", linewidth=2)
    axes.set_yscale("log")
    axes.set_xlabel("rounds of training")
    axes.legend(frameon=False)
    _labelled(axes, f"A client's bytes: training {scenario.title}", "KB of one client, both ways (log)")
    return figure


def sweep(plan: Plan, results: Results) -> Figure:
    """How a round and its cost grow."""
    figure, panels = plt.subplots(1, 3, figsize=(12, 4.0))
    by_clients = len({scenario.clients for scenario in plan.scenarios}) > 1
    picks: Mapping[str, Callable[[Scenario, Sequence[Measurement]], float]] = {
        "One round, ms": lambda _, runs: 1e3 * percentile(pooled(runs, lambda times: times.rounds), 50),
        "Model on all devices, ms": lambda _, runs: 1e3 * percentile(pooled(runs, lambda t: t.everybody), 50),
        "Processor time of a round, CPU-s": lambda s, runs: (
            typical(runs, lambda m: sum(cost.cpu_seconds for cost in m.costs.values()))
            / (s.training_rounds + 1)
        ),
    }
    for axes, (title, pick) in zip(panels, picks.items(), strict=True):
        for channel in plan.channels:
            points = [
                (s.clients if by_clients else s.model_bytes / 1e6, pick(s, results[s, channel]))
                for s in plan.scenarios
            ]
            axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[channel], label=NAMES[channel])
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("clients" if by_clients else "model, MB")
        axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        axes.legend(frameon=False)
    figure.suptitle(f"Sweep over {'clients' if by_clients else 'model sizes'}, medians")
    return figure
