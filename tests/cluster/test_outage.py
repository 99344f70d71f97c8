"""The whole cluster is away for longer than a server's session: nobody ends, and the federation goes on."""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fdstream.messages import UpdateChunk
from fdstream.metrics import definitions as d
from fdstream.topics import table
from kafka_cluster import Cluster
from tests.cluster.expected import expected_hash
from tests.cluster.processes import QUICK_GROUP, Federation, hash_of, wait_until
from tests.cluster.topics import Topics
from tests.metrics.scrapes import Scrape, scrape, url_of

CLIENTS = ("ada", "bob")
ROUNDS = 3
MEASURED = ("--metrics-port", "0", "--kafka", "statistics.interval.ms=200")
SMALL_QUEUE = ("--kafka", "queue.buffering.max.messages=20", "--heartbeat-period", "0.1")
OPTIONS = ("--numrounds", str(ROUNDS), "--minclients", str(len(CLIENTS)), *QUICK_GROUP)


def test_servers_that_lost_their_shards_in_an_outage_take_them_up_again(tmp_path: Path) -> None:
    with (
        Cluster(data_dir=tmp_path / "kafka") as cluster,
        Federation(cluster.bootstrap, tmp_path) as federation,
    ):
        gate = federation.gate()
        gate.open(1)
        clients = [federation.client(client, *gate.options()) for client in CLIENTS]
        # Who evaluates connects for it, and not again before it has something to say: that would blur the gauge.
        servers = [
            federation.server(*OPTIONS, *MEASURED, app="tests.cluster.apps:ungraded") for _ in range(2)
        ]
        urls = [url_of(server) for server in servers]
        with Topics(federation) as topics:
            topics.wait_for_round(2)
        # A member that is still joining does not watch its session: only one that has settled loses its shards.
        wait_until("shards for both servers", lambda: all(server.shards for server in servers))
        before = [scrape(url) for url in urls]
        cluster.kill_node(0)
        wait_until("a server without shards", lambda: any(server.shards == set() for server in servers))
        had = [_connections(was) for was in before]
        during = [scraped(url, partial(operator.gt, was)) for url, was in zip(urls, had, strict=True)]
        cluster.restart_killed()
        after = [scraped(url, partial(operator.le, was)) for url, was in zip(urls, had, strict=True)]
        for course in zip(before, during, after, strict=True):
            check_course(*course)
        gate.open(*range(2, ROUNDS + 1))
        assert {hash_of(server) for server in servers} == {expected_hash([CLIENTS] * ROUNDS)}
        assert [client.result()["failed"] for client in clients] == [0] * len(CLIENTS)


def _connections(found: Scrape) -> float:
    return found.value(d.RDKAFKA_CONNECTIONS, handle="producer")


def scraped(url: str, is_awaited: Callable[[float], bool]) -> Scrape:
    """The first scrape with an awaited number of connections."""

    def look() -> Scrape | None:
        found = scrape(url)
        return found if is_awaited(_connections(found)) else None

    return wait_until("connections won or lost in the metrics", look)


def check_course(before: Scrape, during: Scrape, after: Scrape) -> None:
    """Whoever scrapes is answered all the time, hears of the loss, and finds that no sum fell."""
    assert _connections(during) < _connections(before) <= _connections(after)
    for counted in (d.RDKAFKA_REQUESTS, d.RDKAFKA_BYTES, d.RDKAFKA_ERRORS, d.RDKAFKA_DISCONNECTS):
        for labels in before.of(counted.name):
            own = {name: labels[name] for name in counted.labels}
            assert before.value(counted, **own) <= during.value(counted, **own) <= after.value(counted, **own)
    assert after.value(d.RDKAFKA_DISCONNECTS, handle="consumer") > before.value(
        d.RDKAFKA_DISCONNECTS, handle="consumer"
    )


def test_a_swarm_with_more_to_say_than_its_queues_hold_can_be_stopped_in_an_outage(tmp_path: Path) -> None:
    """Its clients wait for room in the middle of their uploads, and nobody's heart waits with them."""
    with (
        Cluster(data_dir=tmp_path / "kafka") as cluster,
        Federation(cluster.bootstrap, tmp_path) as federation,
    ):
        federation.run("server", "server", "--model-size", "4MB", "--chunk-bytes", "4KB", "--minclients", "4")
        swarm = federation.run("swarm", "swarm", "--clients", "4", "--multiplex", "2", *SMALL_QUEUE)
        with Topics(federation) as topics:
            topics.wait(table.updates(table.slot_of(1, table.SLOTS)), UpdateChunk, lambda _: True)
            cluster.kill_node(0)
        swarm.wait_for_line("trouble with the broker")
        swarm.terminate()
        assert swarm.exit_code() == 130, swarm.log
        assert swarm.log.splitlines()[-1] == "stopped by Ctrl-C"
