"""The demo from nothing to a saved model and back to nothing: what happens, in which order.

On two cores the import of Keras, about 9 s of processor time, is the longest part, so it is done once (see
`nursery`) and while the broker starts. Next are JAX's compilations, 6 s in each process: the central training
comes first and leaves them in a cache on disk, from which the clients then take most of theirs.
"""

from __future__ import annotations

import json
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from fdstream.broker import download, new_cluster
from fdstream.dashboard import needs
from fdstream.demo import central
from fdstream.demo.children import Children
from fdstream.demo.spectator import Seat, spectate
from fdstream.demo.surroundings import (
    CalmExitStack,
    check_installed,
    environment,
    method,
    scratch_folder,
)
from fdstream.display import Display
from fdstream.examples import digits
from fdstream.progress import Rounds, metric
from fdstream.topics.admin import Admin

if TYPE_CHECKING:
    from kafka_cluster import Cluster

FEDERATION = "demo"
SHARDS = 4
SERVER, CENTRAL, DASHBOARD = "server", "central", "dashboard"
TURN_SECONDS = 0.1
MODULES = (
    digits.__name__,  # before Keras, because it chooses the backend
    "keras",
    "sklearn.datasets",
    "fdstream.cli.client",
    "fdstream.client.connect",
    "fdstream.npz",
    "fdstream.server.start",
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and where the model goes."""

    clients: int
    rounds: int
    seed: int
    save_path: Path
    dashboard: bool = False  # whether to open a page that shows it

    @property
    def epochs(self) -> int:
        """How often a client's examples are trained on, in all."""
        return self.rounds * digits.EPOCHS


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. Accuracies are shares of the held-out images."""

    rounds: int
    clients: int  # in the last cohort
    accuracy: float
    centralised_accuracy: float
    model_sha256: str
    seconds: float


def run(plan: Plan, console: Console) -> Outcome:
    """Run the whole demo; nothing of it runs any more afterwards, and of its files only the model is left.

    Raises `UsageError`, `TransportError`, `ChildFailedError`; the last two keep the logs that they name.
    """
    check_installed()
    if plan.dashboard:
        needs.check_installed()
    started = time.monotonic()
    with CalmExitStack() as stack:
        folder = stack.enter_context(scratch_folder())
        cluster = new_cluster(data_dir=folder / "kafka")
        stack.callback(cluster.stop)
        children = stack.enter_context(new_children(folder))
        download_kafka(console)
        display = stack.enter_context(Display(console, Rounds(), names(plan.clients)))
        demo = Demo(plan, children, cluster, display)
        demo.start_broker()
        seat = stack.enter_context(spectate(cluster.bootstrap, FEDERATION, display.rounds))
        result = demo.train(seat)
    return Outcome(**result, seconds=round(time.monotonic() - started, 1))


def new_children(folder: Path) -> Children:
    """Not yet started; they write into the folder."""
    how = method()
    modules = MODULES if how == "fork" else ()
    return Children(folder, method=how, modules=modules, environment=environment(folder))


def download_kafka(console: Console) -> None:
    """What the broker needs, where it is not there yet; before the display, as it draws a bar of its own."""
    download(lambda text: console.print(text, highlight=False, soft_wrap=True))


def names(clients: int) -> list[str]:
    """The clients' names, by data index."""
    return [f"client-{index}" for index in range(clients)]


class Demo:
    """The steps. Each says what it does and, when it is done, how long that took."""

    def __init__(self, plan: Plan, children: Children, cluster: Cluster, display: Display) -> None:
        self._plan = plan
        self._children = children
        self._cluster = cluster
        self._display = display
        self._begun = time.monotonic()

    def start_broker(self) -> None:
        """A broker, and on it the federation's topics, which the server would make else."""
        self._begin("starting Apache Kafka and importing Keras")
        self._cluster.start()
        with Admin(self._cluster.bootstrap, settings={}) as admin:
            admin.create_topics(FEDERATION, SHARDS)
        self._done(f"Apache Kafka answers at {self._cluster.bootstrap}")
        self._display.tell("importing Keras")

    def train(self, seat: Seat) -> dict[str, Any]:
        """Train centrally, then in the federation; both results."""
        self._turn_until(seat, lambda: self._children.ready)
        self._done("Keras is imported, once for all processes")
        if self._plan.dashboard:
            self._open_dashboard(seat)
        centralised = self._train_centrally(seat)
        self._begin("starting the server and the clients, which compile their network")
        self._start_server()
        self._start_clients()
        self._turn_until(seat, lambda: self._somebody_has_reported)
        self._begin(None)
        everybody = {SERVER, *names(self._plan.clients)}
        self._turn_until(seat, lambda: everybody <= self._children.statuses.keys())
        seat.see_the_end(TURN_SECONDS)
        summary = self._result(SERVER)
        return {
            "rounds": summary["rounds"],
            "clients": summary["clients"],
            "accuracy": round(summary["metrics"]["global_accuracy"], 4),
            "centralised_accuracy": round(centralised, 4),
            "model_sha256": summary["model_sha256"],
        }

    def _train_centrally(self, seat: Seat) -> float:
        self._begin(f"training on all data in one place for {self._plan.epochs} epochs, to compare with")
        self._children.start(CENTRAL, central.__name__, self._plan.epochs)
        self._turn_until(seat, lambda: CENTRAL in self._children.statuses)
        found = self._result(CENTRAL)
        self._done(f"trained in one place: {metric(found)} of the held-out images")
        return float(found["accuracy"])

    def _open_dashboard(self, seat: Seat) -> None:
        """The page lives as long as the demo; what it shows last stays in the browser."""
        self._children.start(DASHBOARD, "fdstream", DASHBOARD, *self._place(), "--port", 0)
        out = self._children.out(DASHBOARD)
        self._turn_until(seat, lambda: out.exists() and "\n" in out.read_text("utf-8"))
        address = out.read_text("utf-8").split(" is at ")[1].split()[0]
        opened = webbrowser.open(address)
        self._display.say(f"the dashboard is at {address}{'' if opened else ': open it in a browser'}")

    def _start_server(self) -> None:
        self._children.start(
            SERVER,
            "fdstream",
            "server",
            *self._place(),
            *("--numrounds", self._plan.rounds, "--seed", self._plan.seed, "--shards", SHARDS),
            *("--minclients", self._plan.clients, "--maxclients", self._plan.clients),
            *("--save", self._plan.save_path.absolute(), "--json"),
        )

    def _start_clients(self) -> None:
        for index, name in enumerate(names(self._plan.clients)):
            which = ("--client-id", name, "--data-index", index, "--set", f"partitions={self._plan.clients}")
            self._children.start(name, "fdstream", "client", *self._place(), *which)

    @property
    def _somebody_has_reported(self) -> bool:
        return any(made.reported or made.number > 1 for made in self._display.rounds.open)

    def _place(self) -> tuple[str, ...]:
        return "--broker", self._cluster.bootstrap, "--federation", FEDERATION

    def _result(self, name: str) -> Any:
        """The JSON object that stands last in what the child wrote."""
        return json.loads(self._children.out(name).read_text("utf-8").splitlines()[-1])

    def _turn_until(self, seat: Seat, condition: Callable[[], bool]) -> None:
        while not condition():
            seat.turn(TURN_SECONDS)
            self._display.show()
            self._cluster.check()
            self._children.check()

    def _begin(self, what: str | None) -> None:
        self._begun = time.monotonic()
        self._display.tell(what)

    def _done(self, what: str) -> None:
        self._display.say(f"{what} ({time.monotonic() - self._begun:.1f} s)")
