"""Everything in its order: hosts, processes, a warm broker, the federations in turns, the report, nothing left."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from fdstream.demo.surroundings import CalmExitStack, scratch_folder
from fdstream.errors import TransportError
from fdstream.stress import plots, report
from fdstream.stress.crew import Crew
from fdstream.stress.machine import about
from fdstream.stress.measurement import Results, measure
from fdstream.stress.network import hosts
from fdstream.stress.observation import BROKER, PARTIES, SERVER, Observation
from fdstream.stress.plan import KAFKA, Plan, Scenario
from fdstream.stress.show import Show
from fdstream.stress.trial import TURN_SECONDS, Trial
from kafka_cluster.jars import ensure_jars
from kafka_cluster.ports import free_ports

READY = "Apache Kafka is ready at "
READY_SECONDS = 300.0


def run(plan: Plan, console: Console) -> Path:
    """Measure all that is planned; the folder with the report.

    Raises `UsageError`, `TransportError`, `ChildFailedError`; nothing of it runs any more afterwards.
    """
    with CalmExitStack() as stack:
        if KAFKA in plan.channels:
            ensure_jars(lambda text: console.print(text, highlight=False, soft_wrap=True))
        folder = stack.enter_context(scratch_folder("stress"))
        parties, how = stack.enter_context(hosts(PARTIES))
        crew = stack.enter_context(Crew(folder, parties))
        show = stack.enter_context(Show(console, plan.count))
        show.say(f"parties are on {how}")
        results = Stress(plan, crew, folder, show).run()
    return write(plan, how, results)


def write(plan: Plan, how: str, results: Results) -> Path:
    """Put the report, its figures and its plots into the folder asked for."""
    plan.out.mkdir(parents=True, exist_ok=True)
    facts = about() | {"network": how}
    (plan.out / "report.json").write_text(report.raw(plan, facts, results), "utf-8")
    pictures = plots.draw(plan, results, plan.out)
    (plan.out / "report.md").write_text(report.page(plan, facts, results, pictures), "utf-8")
    return plan.out


class Stress:
    """The steps."""

    def __init__(self, plan: Plan, crew: Crew, folder: Path, show: Show) -> None:
        self._plan = plan
        self._crew = crew
        self._folder = folder
        self._show = show
        self._bootstrap = ""
        self._number = 0

    def run(self) -> Results:
        if KAFKA in self._plan.channels:
            self._start_broker()
            self._try(self._plan.warm_up, KAFKA, "warming the broker up")
        results: Results = {}
        for index, (scenario, channel) in enumerate(self._plan.trials(), 1):
            title = f"{index}/{self._plan.count} {channel}: {scenario.title}"
            seen = self._try(scenario, channel, title)
            measured = measure(seen)
            results.setdefault((scenario, channel), []).append(measured)
            self._show.done(title, measured)
        return results

    def _start_broker(self) -> None:
        began = time.monotonic()
        host = self._crew.hosts[BROKER]
        place = ("--host", host.address, "--port", free_ports(1)[0], "--data-dir", self._folder / "kafka")
        self._show.tell("starting Apache Kafka")
        self._crew.start(BROKER, BROKER, "fdstream", "broker", *place)
        while READY not in (said := self._crew.said(BROKER, BROKER)):
            self._crew.check()
            if time.monotonic() > began + READY_SECONDS:
                raise TransportError(f"no broker was ready within {READY_SECONDS:g} s: {said.strip()}")
            time.sleep(TURN_SECONDS)
        self._bootstrap = said.partition(READY)[2].split()[0]
        self._show.say(f"Apache Kafka answers at {self._bootstrap} ({time.monotonic() - began:.1f} s)")

    def _try(self, scenario: Scenario, channel: str, title: str) -> Observation:
        self._number += 1
        name = f"stress-{self._number}"
        self._show.begin(title, scenario.training_rounds + 1)
        trial = Trial(self._crew, self._folder, scenario, channel, name, self._plan.processes)
        seen = trial.run(self._bootstrap, self._show.progress)
        if channel == KAFKA:
            self._delete(name)
        return seen

    def _delete(self, federation: str) -> None:
        """What it has left on the broker, so that disks and memory are the next one's."""
        name = f"{federation}-deletion"
        where = ("--broker", self._bootstrap, "--federation", federation)
        self._crew.start(SERVER, name, "fdstream", "topics", "delete", *where, "--yes")
        while not self._crew.has_ended(SERVER, name):
            self._crew.check()
            time.sleep(TURN_SECONDS)
