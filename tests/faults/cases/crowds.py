"""Many clients: all at the same moment, and for a hundred rounds while a tenth of them dies in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import psutil

from fdstream.examples import synthetic
from fdstream.layout import Layout
from fdstream.messages import Report
from fdstream.topics import table
from kafka_cluster import Cluster
from tests.cluster import apps
from tests.cluster.expected import SHARDS
from tests.cluster.processes import CHUNK_BYTES, Process
from tests.faults.account import DUPLICATE
from tests.faults.case import case
from tests.faults.scene import Scene
from tests.simulation.oracle import fedavg, model_hash

CROWD = 200
PATIENCE_SECONDS = 600.0  # for a thousand connections on a busy machine
SOAK_ROUNDS = 100
SWARMS, SWARM_CLIENTS = 10, 10
EARLY_ROUND = 20  # when everything is warm


def synthetic_oracle(cohorts: Sequence[Sequence[str]]) -> str:
    """The hash that `swarm --work synthetic` leads to; a client's name has its swarm's seed in it."""
    weights = apps.initial_weights(0)
    for number, cohort in enumerate(cohorts, start=1):
        updates = [synthetic.train(weights, int(name.split("-")[1]), name, number) for name in cohort]
        weights = fedavg(weights, updates)
    return model_hash(Layout.of(weights, chunk_bytes=CHUNK_BYTES, shards=SHARDS), weights)


def swarm(scene: Scene, seed: int, clients: int, *options: str) -> Process:
    given = ("--clients", str(clients), "--seed", str(seed), "--work", "synthetic", "--json", *options)
    return scene.federation.run(f"swarm-{seed}", "swarm", *given)


@case("200 clients that connect at the same moment", patience_seconds=2 * PATIENCE_SECONDS)
def two_hundred(scene: Scene) -> None:
    """A connection each. The server is there, or comes when they are, as the seed decides."""
    scene.rounds, scene.expected = 2, synthetic_oracle
    settings = ("--minclients", str(CROWD), "--deadline", "600")
    servers = [scene.server(*settings)] if scene.random.random() < 0.5 else []
    everybody = swarm(scene, 0, CROWD)
    servers = servers or [scene.server(*settings)]
    assert servers[0].ends_within(PATIENCE_SECONDS)
    scene.end(servers)
    assert everybody.result()["reported"] == CROWD * (scene.rounds + 1)


@dataclass(frozen=True)
class Size:
    """Of a process, or of what the topics of the rounds hold."""

    megabytes: float
    files: int
    threads: int

    @staticmethod
    def of(pid: int) -> Size:
        tree = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return Size(
            round(sum(each.memory_info().rss for each in tree) / 2**20, 1),
            sum(each.num_fds() for each in tree),
            sum(each.num_threads() for each in tree),
        )

    def check_flat(self, later: Size, what: str) -> None:
        """A tenth more, and a little, is noise."""
        assert later.megabytes <= 1.1 * self.megabytes + 8, f"memory of {what}: {self}, then {later}"
        assert later.files <= self.files + 16, f"open files of {what}: {self}, then {later}"
        assert later.threads <= self.threads + 8, f"threads of {what}: {self}, then {later}"


@case("100 rounds of 100 clients, a tenth killed in each", brokers=0, at_most=1, patience_seconds=2400)
def soak(scene: Scene) -> None:
    """Ten swarms of ten; in each round one is killed at a random report and started again."""
    scene.rounds, scene.expected = SOAK_ROUNDS, synthetic_oracle
    scene.options = ("--keep-rounds", "2")
    with Cluster(data_dir=scene.folder / "kafka") as cluster:
        scene.use(cluster)
        servers = [scene.server("--minclients", str(SWARMS * SWARM_CLIENTS)) for _ in range(2)]
        swarms = [_ten(scene, seed) for seed in range(SWARMS)]
        scene.keep_up()
        watched = {"a server": servers[0].pid, "another server": servers[1].pid}
        watched["the broker"] = cluster._nodes[0]._process.pid  # type: ignore[union-attr]
        early: dict[str, Size] = {}
        early_records = 0
        for number in range(1, SOAK_ROUNDS + 1):
            scene.topics.wait_for_round(number)
            _wait_for_reports(scene, number, scene.random.randrange(SWARMS * SWARM_CLIENTS))
            victim = scene.random.randrange(SWARMS)
            swarms[victim].kill()
            swarms[victim] = _ten(scene, victim)
            if number == EARLY_ROUND:
                early = {what: Size.of(pid) for what, pid in watched.items()}
                early_records = _records(scene)
        late = {what: Size.of(pid) for what, pid in watched.items()}
        late_records = _records(scene)
        scene.facts["sizes"] = {what: (str(early[what]), str(late[what])) for what in watched}
        scene.facts["records"] = (early_records, late_records)
        accounts = scene.end(servers)
        assert accounts.totals[DUPLICATE] > 0
        for what in watched:
            early[what].check_flat(late[what], what)
        assert late_records <= 1.5 * early_records, f"{early_records} records, then {late_records}"


def _ten(scene: Scene, seed: int) -> Process:
    return swarm(scene, seed, SWARM_CLIENTS, "--multiplex", str(SWARM_CLIENTS))


def _wait_for_reports(scene: Scene, number: int, count: int) -> None:
    """So many reports of the round are there, or it has closed meanwhile."""
    topic = table.reports(table.slot_of(number, table.SLOTS))
    scene.topics.wait(topic, Report, lambda report: report.round == number, count)


def _records(scene: Scene) -> int:
    """What the topics of the rounds hold now."""
    log = scene.topics.log
    topics = [
        name(slot) for name in (table.model, table.updates, table.reports) for slot in range(table.SLOTS)
    ]
    return sum(sum(log.end_offsets(topic)) - sum(log.start_offsets(topic)) for topic in topics)
