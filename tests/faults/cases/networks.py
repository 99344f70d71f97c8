"""Links that break, crawl or forget their connections. Every party is in a network namespace of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from fdstream.layout import Layout
from fdstream.messages import RoundClosed, UpdateChunk
from fdstream.topics import table
from kafka_cluster import Cluster
from tests.cluster import apps
from tests.cluster.expected import SHARDS, oracle
from tests.cluster.processes import Process
from tests.cluster.starting import forking
from tests.faults.case import case
from tests.faults.network import Network, Place
from tests.faults.scene import Scene
from tests.faults.spread import SpreadCluster

LONGEST_CUT_SECONDS = 15.0
NEEDS = ("ip", "tc", "ss", "bridge", "nsenter")
CHUNK_BYTES = 2048
WIDE = "tests.cluster.apps:wide"
WIDE_CHUNKS = len(
    Layout.of(apps.initial_weights(0, apps.WIDE), chunk_bytes=CHUNK_BYTES, shards=SHARDS).chunks
)


@contextmanager
def network(scene: Scene) -> Iterator[tuple[Network, Place]]:
    """A network with a broker at a place of its own."""
    with ExitStack() as stack:
        made = Network()
        stack.callback(made.close)
        place = made.place()
        cluster = Cluster(data_dir=scene.folder / "kafka", host=place.address)
        with place.entered():
            cluster.start()
        stack.callback(cluster.stop)
        scene.use(cluster)
        yield made, place


def server_at(scene: Scene, place: Place, *options: str) -> Process:
    return scene.server(*options, start=forking(place.enter))


@case("a partition between a server and the broker", brokers=0, needs=NEEDS)
def server_cut_off(scene: Scene) -> None:
    """For longer than its session: the other server takes over, and it comes back two rounds later."""
    with network(scene) as (made, broker):
        places = [made.place(), made.place()]
        servers = [server_at(scene, place) for place in places]
        scene.everybody(gated=True)
        scene.gate.open(1)
        scene.wait_for_reports(2)
        for server in servers:
            server.wait_for_shards(SHARDS // 2)
        places[0].cut(broker)
        if scene.random.random() < 0.5:
            scene.gate.open(2)
        servers[1].wait_for_shards(SHARDS)
        scene.gate.open(2, 3)
        scene.wait_for_reports(4)
        places[0].mend(broker)
        scene.open_gates()
        scene.end()


@case("a partition between a client and the broker", brokers=0, needs=NEEDS)
def client_cut_off(scene: Scene) -> None:
    """The round closes without it at the deadline; once it is back it takes part again."""
    with network(scene) as (made, broker):
        scene.clients = ("ada", "bob")
        scene.options = (*scene.options, "--maxclients", "3", "--deadline", "5")
        place = made.place()
        server_at(scene, made.place())
        scene.crowd("ada")
        scene.crowd("bob", gated=True)
        scene.client("cyd", *scene.gate.options(), start=forking(place.enter))
        scene.gate.open(1)
        scene.topics.wait_for_round(2)
        place.cut(broker)
        scene.gate.open(2)
        scene.topics.wait_for_closed(2)
        place.mend(broker)
        scene.topics.wait_for_round(3)
        (scene.gate.folder / "3").touch()
        scene.open_gates()
        accounts = scene.end()
        assert "cyd" not in accounts.cohorts()[1]


@case("a partition between two of three brokers", brokers=0, needs=NEEDS)
def brokers_cut_off(scene: Scene) -> None:
    """Any two of them, controllers and replicas, while both reach the third and everybody reaches all."""
    made = Network()
    places = [made.place() for _ in range(3)]
    with SpreadCluster(places, scene.folder / "kafka") as cluster:
        scene.federation.bootstrap = cluster.bootstrap
        for _ in range(2):
            scene.server()
        scene.everybody(gated=True)
        scene.gate.open(1)
        scene.wait_for_reports(2)
        one, other = scene.random.sample(places, 2)
        scene.facts["cut"] = (places.index(one), places.index(other))
        one.cut(other)
        scene.gate.open(2)
        scene.facts["closed meanwhile"] = _closes_within(scene, 2, LONGEST_CUT_SECONDS)
        one.mend(other)
        scene.open_gates()
        scene.end()
    made.close()


def _closes_within(scene: Scene, number: int, seconds: float) -> bool:
    """Whether the round closes meanwhile: a leader that was cut off takes records that it may not acknowledge."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        closed = scene.topics.messages(table.CONTROL, RoundClosed)
        if any(record.round == number for record in closed):
            return True
    return False


@case("one of three brokers unplugged, then plugged in again", brokers=0, needs=NEEDS)
def broker_unplugged(scene: Scene) -> None:
    made = Network()
    places = [made.place() for _ in range(3)]
    with SpreadCluster(places, scene.folder / "kafka") as cluster:
        scene.federation.bootstrap = cluster.bootstrap
        for _ in range(2):
            scene.server()
        scene.everybody(gated=True)
        scene.gate.open(1)
        scene.wait_for_reports(2)
        lost = scene.random.choice(places)
        lost.unplug()
        scene.gate.open(2)
        scene.topics.wait_for_closed(2)
        lost.plug()
        scene.open_gates()
        scene.end()
    made.close()


@case("servers and clients that never reach one another", brokers=0, needs=NEEDS)
def only_the_broker(scene: Scene) -> None:
    """Every pair of them is partitioned from the start: they only ever speak to the broker."""
    with network(scene) as (made, _):
        for _ in range(2):
            server_at(scene, made.place(isolated=True))
        for client in scene.clients:
            scene.client(client, start=forking(made.place(isolated=True).enter))
        scene.end()


def _widen(scene: Scene) -> None:
    """A model that takes a while on a slow link."""
    scene.options = (*scene.options, "--chunk-bytes", str(CHUNK_BYTES))
    scene.expected = lambda cohorts: oracle(cohorts, apps.initial_weights(0, apps.WIDE), CHUNK_BYTES)


@case("a slow link to a client and to a server", brokers=0, needs=NEEDS)
def slow(scene: Scene) -> None:
    with network(scene) as (made, _):
        _widen(scene)
        scene.rounds = 2
        crawling, walking = made.place(), made.place()
        crawling.slow("400kbit")
        walking.slow("2mbit")
        scene.servers.append(scene.federation.server(*scene.settings, app=WIDE, start=forking(walking.enter)))
        scene.crowd("ada")
        scene.crowd("bob")
        scene.client("cyd", start=forking(crawling.enter))
        scene.end()


@case("connections reset in the middle of an upload", brokers=0, needs=NEEDS)
def resets(scene: Scene) -> None:
    """Those of a client on a slow link, four times in a round: librdkafka sends again what was not acknowledged."""
    with network(scene) as (made, _):
        _widen(scene)
        scene.rounds = 2
        place = made.place()
        place.slow("100kbit")
        scene.servers.append(scene.federation.server(*scene.settings, app=WIDE))
        scene.crowd("ada")
        scene.crowd("bob")
        scene.client("cyd", start=forking(place.enter))
        topic = table.updates(1)
        scene.wait_for_reports(1, 2)
        scene.topics.all_entries(topic)
        resets = 0
        for _ in range(4):
            there = len(scene.topics.messages(topic, UpdateChunk))
            if there > WIDE_CHUNKS * len(scene.clients) - 4:
                break  # the last ones: nothing would follow them
            scene.topics.wait(topic, UpdateChunk, lambda _: True, there + scene.random.randint(1, 4))
            place.reset_connections()
            resets += 1
        scene.facts["resets"] = resets
        assert resets > 0
        scene.end()
