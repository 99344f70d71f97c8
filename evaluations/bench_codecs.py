"""What does a codec cost in accuracy, and what does it save in bytes?

    python evaluations/bench_codecs.py [--rounds 2,5,20] [--clients 10]

The digits example, 5 epochs a round on strongly skewed data, with each codec for the updates, for the broadcast, and
for both. The server's and the clients' cores run in one process on a log in memory: what they write is what they
would write to Kafka, and which bytes travel does not depend on what carries them. Accuracy is that of the model as
clients receive it after so many rounds, on the 360 held-out images; bytes are those of the records' values, for each
client and round.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path

from machine import report

from fdstream.client.connection import Connection, work
from fdstream.driver import Driver
from fdstream.examples import digits
from fdstream.heartbeats import Heartbeats
from fdstream.layout import Layout
from fdstream.log import Lost, MemoryBroker, MemoryLog, Record
from fdstream.messages import Settings
from fdstream.server.opening import Proposal
from fdstream.server.server import Server
from fdstream.topics import table

SHARDS = 4
NEVER_SECONDS = 1e6
UPDATES = ("full", "bfloat16", "float16", "int8", "topk:0.1", "topk:0.01")
MODELS = ("full", "bfloat16", "float16", "int8")
BOTH = tuple((name, name) for name in ("bfloat16", "float16", "int8"))


@dataclass
class Case:
    """One pair of codecs, and what came of it."""

    codec: str
    model_codec: str
    accuracies: dict[int, float] = field(default_factory=dict)  # rounds of training -> share of the images
    update_bytes: float = 0.0
    model_bytes: float = 0.0


class Site(MemoryLog):
    """The clients' log: the server moves whenever they wait."""

    def __init__(self, broker: MemoryBroker, driver: Driver) -> None:
        super().__init__(broker)
        self._driver = driver

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        self._driver.turn(0)
        return super().poll(timeout_seconds)


def settings(case: Case, rounds: int, clients: int) -> Settings:
    return Settings(
        num_rounds=rounds,
        min_clients=clients,
        max_clients=clients,
        deadline_seconds=NEVER_SECONDS,
        max_extensions=0,
        fraction=1.0,
        strategy="fedavg",
        keep_rounds=2,
        seed=0,
        final_evaluation=True,
        codec=case.codec,
        model_codec=case.model_codec,
    )


def run(case: Case, rounds: int, clients: int) -> None:
    """One federation from its opening to its end."""
    broker = MemoryBroker({spec.name: spec.partitions for spec in table.topic_specs(SHARDS)}, time.time)
    ids = (number.to_bytes(16, "big") for number in itertools.count(1))
    server = Server(control_end=0, new_id=lambda: next(ids))
    driver = Driver(server, MemoryLog(broker), tell=lambda _: None, monotonic=time.monotonic)
    driver.begin()
    driver.perform(server.assign(range(SHARDS)))
    weights = digits.app.initial_weights()
    layout = Layout.of(weights, chunk_bytes=None, shards=SHARDS)
    proposal = Proposal(layout, weights, settings(case, rounds, clients), {"partitions": clients})
    driver.perform(server.propose(proposal))
    names = [f"client-{index}" for index in range(clients)]
    with Connection(Site(broker, driver), names, Heartbeats(NEVER_SECONDS)) as connection:
        for task, error in work(digits.app, connection):
            assert error is None, error
            if task.client == names[0]:
                found = digits.app.run_evaluate_global(task.named, {})
                assert found is not None
                case.accuracies[task.round - 1] = found["accuracy"]
    case.update_bytes = bytes_of(broker, "updates") / rounds / clients
    case.model_bytes = bytes_of(broker, "model") / (rounds + 1)


def bytes_of(broker: MemoryBroker, kind: str) -> int:
    return sum(
        len(record.value)
        for (topic, _), records in broker.partitions.items()
        if topic.endswith(f".{kind}")
        for record in records
    )


def rows_of(cases: list[Case], rounds: list[int]) -> list[list[str]]:
    whole = cases[0]
    return [
        [
            case.codec,
            case.model_codec,
            f"{case.update_bytes:,.0f}",
            f"{case.update_bytes / whole.update_bytes:.3f}",
            f"{case.model_bytes:,.0f}",
            f"{case.model_bytes / whole.model_bytes:.3f}",
            *(f"{100 * case.accuracies[number]:.1f} %" for number in rounds),
        ]
        for case in cases
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", default="2,5,20")
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("results/bench_codecs.md"))
    options = parser.parse_args()
    pairs = [(name, "full") for name in UPDATES] + [("full", name) for name in MODELS[1:]] + list(BOTH)
    cases = [Case(*pair) for pair in pairs]
    rounds = [int(number) for number in options.rounds.split(",")]
    for case in cases:
        run(case, max(rounds), options.clients)
    page = report(
        "Codecs: bytes and accuracy",
        f"Written by `python evaluations/bench_codecs.py`, which says what is measured. {options.clients} clients, "
        f"{max(rounds)} rounds. Bytes are for one client and one round, up (the update) and down (the model), with "
        "their ratio to `full`; accuracies are those after so many rounds.",
        ["--codec", "--model-codec", "up", "ratio", "down", "ratio", *(f"{n} rounds" for n in rounds)],
        rows_of(cases, rounds),
    )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
