"""How much do lying clients harm the model under each rule, below the rule's bound and above it?

    python evaluations/bench_robust.py [--rounds 10] [--seeds 3]

Eleven clients share the training images of the digits evenly and train a small network in numpy. Some lie: they
send their update with its sign turned (five times as long), or fifty times too long, or they train on wrong labels
(9 - y). They are the first in the log, as an attacker would be who knows how ties are broken. The server's and the
clients' cores run in one process on a log in memory: what they write is what they would write to Kafka. Accuracy is
that of the last model on the 360 held-out images, the mean of the seeds. `skewed` is without liars, on data split as
in the example.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from machine import report

from fdstream.client.connection import Connection
from fdstream.driver import Driver
from fdstream.dtypes import Array
from fdstream.examples import digits
from fdstream.heartbeats import Heartbeats
from fdstream.layout import Layout
from fdstream.log import Lost, MemoryBroker, MemoryLog, Record
from fdstream.messages import Settings
from fdstream.server.opening import Proposal
from fdstream.server.server import Server
from fdstream.topics import table

CLIENTS = 11
MOST_LIARS = 6
SHARDS = 2
NEVER_SECONDS = 1e6
EPOCHS, BATCH, RATE = 3, 16, 0.3
NAMES = [f"client-{index:02}" for index in range(CLIENTS)]
Weights = dict[str, Array]
Batch = tuple[Array, Array]


@dataclass(frozen=True)
class Method:
    """A rule, and how many liars among eleven it is made for."""

    label: str
    spelling: str
    bound: int
    clip: float = 0.0


Case = tuple[Method, str | None, int, bool]  # rule, lie, number of liars, whether the data is skewed

METHODS = (
    Method("fedavg", "fedavg", 0),
    Method("fedavg --clip 2", "fedavg", 0, clip=2.0),
    Method("median", "median", 5),
    Method("trimmed-mean:0.3", "trimmed-mean:0.3", 3),
    Method("krum:4", "krum:4", 4),
    Method("multi-krum:4,5", "multi-krum:4,5", 4),
)


def train(weights: Mapping[str, Array], batch: Batch, seed: int) -> Weights:
    """Some epochs of SGD: 64 pixels -> 32 hidden units -> 10 digits, cross-entropy."""
    w = {name: value.copy() for name, value in weights.items()}
    images, labels = batch
    random = np.random.default_rng(seed)
    for _ in range(EPOCHS):
        order = random.permutation(len(labels))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            step(w, images[rows], labels[rows])
    return w


def step(w: Weights, x: Array, y: Array) -> None:
    hidden = np.maximum(x @ w["w1"] + w["b1"], 0)
    grad = probabilities(hidden @ w["w2"] + w["b2"])
    grad[np.arange(len(y)), y] -= 1
    grad *= np.float32(RATE / len(y))
    back = (grad @ w["w2"].T) * (hidden > 0)
    w["w2"] -= hidden.T @ grad
    w["b2"] -= grad.sum(axis=0)
    w["w1"] -= x.T @ back
    w["b1"] -= back.sum(axis=0)


def probabilities(scores: Array) -> npt.NDArray[np.float32]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: npt.NDArray[np.float32] = powers / powers.sum(axis=1, keepdims=True)
    return shares


def accuracy(w: Mapping[str, Array]) -> float:
    images, labels = digits.held_out()
    with np.errstate(all="ignore"):
        hidden = np.maximum(images @ w["w1"] + w["b1"], 0)
        return float((np.argmax(hidden @ w["w2"] + w["b2"], axis=1) == labels).mean())


def initial(seed: int) -> Weights:
    random = np.random.default_rng(seed)
    first, second = (random.standard_normal(shape).astype(np.float32) for shape in ((64, 32), (32, 10)))
    return {
        "w1": first * np.float32(0.15),
        "b1": np.zeros(32, np.float32),
        "w2": second * np.float32(0.2),
        "b2": np.zeros(10, np.float32),
    }


@cache
def data_of(index: int, *, skewed: bool) -> Batch:
    images, labels = digits.digits()
    images, labels = images[digits.HELD_OUT :], labels[digits.HELD_OUT :]
    rows = digits.split(CLIENTS)[index] if skewed else np.arange(index, len(labels), CLIENTS)
    return images[rows], labels[rows]


def farther(times: float) -> Callable[[Mapping[str, Array], Batch, int], Weights]:
    """Train honestly and send the update `times` as long."""

    def lie(weights: Mapping[str, Array], batch: Batch, seed: int) -> Weights:
        trained = train(weights, batch, seed)
        return {name: old + np.float32(times) * (trained[name] - old) for name, old in weights.items()}

    return lie


def flip_labels(weights: Mapping[str, Array], batch: Batch, seed: int) -> Weights:
    images, labels = batch
    return train(weights, (images, 9 - labels), seed)


LIES = {"sign flip": farther(-5.0), "scaling": farther(50.0), "label flip": flip_labels}


class Site(MemoryLog):
    """The clients' log: the server moves whenever they wait."""

    def __init__(self, broker: MemoryBroker, driver: Driver) -> None:
        super().__init__(broker)
        self._driver = driver

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        self._driver.turn(0)
        return super().poll(timeout_seconds)


def settings(method: Method, rounds: int) -> Settings:
    return Settings(
        num_rounds=rounds,
        min_clients=CLIENTS,
        max_clients=CLIENTS,
        deadline_seconds=NEVER_SECONDS,
        max_extensions=0,
        fraction=1.0,
        strategy=method.spelling,
        keep_rounds=2,
        seed=0,
        final_evaluation=True,
        clip=method.clip,
    )


def run(
    method: Method, lie: str | None, liars: int, rounds: int, seed: int, *, skewed: bool = False
) -> float:
    """One federation from its opening to its end; the accuracy of the last model."""
    broker = MemoryBroker({spec.name: spec.partitions for spec in table.topic_specs(SHARDS)}, time.time)
    ids = (number.to_bytes(16, "big") for number in itertools.count(1))
    server = Server(control_end=0, new_id=lambda: next(ids))
    driver = Driver(server, MemoryLog(broker), tell=lambda _: None, monotonic=time.monotonic)
    driver.begin()
    driver.perform(server.assign(range(SHARDS)))
    weights = initial(seed)
    layout = Layout.of(weights, chunk_bytes=None, shards=SHARDS)
    driver.perform(server.propose(Proposal(layout, weights, settings(method, rounds), {})))
    found = 0.0
    with Connection(Site(broker, driver), NAMES, Heartbeats(NEVER_SECONDS)) as connection:
        for task in connection:
            if not task.training:
                found = accuracy(task.named)
                connection.report(None, 0)
                continue
            index = NAMES.index(task.client)
            work = LIES[lie] if lie is not None and index < liars else train
            batch = data_of(index, skewed=skewed)
            new = work(task.named, batch, 10_000 * seed + 100 * index + task.round)
            connection.report({name: new[name] for name in task.named}, len(batch[1]))
    return found


def mean(rounds: int, seeds: int, case: Case) -> float:
    """Over the seeds."""
    method, lie, liars, skewed = case
    return sum(run(method, lie, liars, rounds, seed, skewed=skewed) for seed in range(seeds)) / seeds


@dataclass
class Study:
    """Accuracies by method, lie and number of liars; the mean of the seeds."""

    rounds: int
    seeds: int
    found: dict[tuple[str, str, int], float] = field(default_factory=dict)
    skewed: dict[str, float] = field(default_factory=dict)

    def make(self, workers: int) -> None:
        """All of it, spread over processes."""
        cases: list[Case] = [
            (m, lie, liars, False) for m in METHODS for lie in LIES for liars in range(1, MOST_LIARS + 1)
        ]
        cases.extend((m, None, 0, skewed) for m in METHODS for skewed in (False, True))
        with ProcessPoolExecutor(workers) as pool:
            means = pool.map(partial(mean, self.rounds, self.seeds), cases)
            for (method, lie, liars, skewed), share in zip(cases, means, strict=True):
                print(method.label, lie or "honest", liars, f"{share:.3f}", flush=True)
                if skewed:
                    self.skewed[method.label] = share
                else:
                    lies = [lie] if lie else list(LIES)
                    self.found |= {(method.label, each, liars): share for each in lies}

    def rows(self) -> list[list[str]]:
        return [
            [
                method.label,
                str(method.bound) if method.spelling != "fedavg" else "-",
                lie,
                *(percent(self.found[method.label, lie, liars]) for liars in range(MOST_LIARS + 1)),
                percent(self.skewed[method.label]),
            ]
            for method in METHODS
            for lie in LIES
        ]


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def plot(study: Study, path: Path) -> None:
    """A panel for each lie; filled where a rule is made for so many liars, hollow beyond."""
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(LIES), figsize=(12, 4), sharey=True, layout="constrained")
    styles = itertools.cycle("os^vDP")
    markers = {method.label: next(styles) for method in METHODS}
    for axis, lie in zip(axes, LIES, strict=True):
        for number, method in enumerate(METHODS):
            xs = list(range(MOST_LIARS + 1))
            ys = [100 * study.found[method.label, lie, x] for x in xs]
            color, marker = f"C{number}", markers[method.label]
            axis.plot(xs, ys, color=color, linewidth=1.2, alpha=0.8)
            for x, y in zip(xs, ys, strict=True):
                face = color if x <= method.bound else "white"
                axis.plot(x, y, marker, color=color, markerfacecolor=face, markersize=6)
            axis.plot([], [], marker, color=color, label=method.label)
        axis.set_title(lie)
        axis.set_xlabel(f"liars among {CLIENTS} clients")
        axis.set_ylim(0, 100)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"held-out accuracy after {study.rounds} rounds, %")
    axes[-1].legend(loc="lower left", fontsize=8)
    figure.suptitle("Filled: within what the rule is made for. Hollow: beyond it.", fontsize=10)
    for suffix in (".png", ".svg"):
        figure.savefig(path.with_suffix(suffix), dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, default=Path("results/bench_robust.md"))
    options = parser.parse_args()
    study = Study(options.rounds, options.seeds)
    study.make(options.workers)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plot(study, options.out)
    page = report(
        "Lying clients",
        f"Written by `python evaluations/bench_robust.py`, which says what is measured. {CLIENTS} clients, "
        f"{options.rounds} rounds, {options.seeds} seeds; columns are the number of liars. `bound` is how many the "
        "rule is made for; clipping bounds each client's pull instead of their number. The last column has no liars, "
        "and skewed data, which rules that drop what is unusual pay for.\n\n"
        f"![accuracy by number of liars]({options.out.with_suffix('.svg').name})",
        ["rule", "bound", "lie", *map(str, range(MOST_LIARS + 1)), "skewed"],
        study.rows(),
    )
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
