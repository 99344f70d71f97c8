"""A running federation on the real broker, scraped while it runs: everything in the table is there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fdstream.metrics import definitions as d
from fdstream.topics import table
from tests.cluster.processes import Federation, wait_until
from tests.cluster.topics import Topics
from tests.metrics.prometheus import needs_prometheus, scraping
from tests.metrics.queries import dashboard_queries
from tests.metrics.scrapes import Scrape, scrape, url_of

CLIENTS = ("ada", "bob")
MEASURED = ("--metrics-port", "0", "--kafka", "statistics.interval.ms=100")
OPEN_ROUNDS = (1, 2, 3)
SWARM_CLIENTS = 3


@pytest.fixture(scope="module")
def federation(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with Federation(kafka, tmp_path_factory.mktemp("metrics")) as made:
        yield made


@pytest.fixture(scope="module")
def urls(federation: Federation) -> dict[str, str]:
    """Where to scrape each role: the clients stand in round 4, of which nothing is reported yet."""
    gate = federation.gate()
    gate.open(*OPEN_ROUNDS)
    server = federation.server("--numrounds", "9", "--minclients", str(len(CLIENTS)), *MEASURED)
    clients = [
        federation.client(name, *MEASURED, *gate.options(), "--heartbeat-period", "0.5") for name in CLIENTS
    ]
    urls = {"server": url_of(server), "client": url_of(clients[0])}
    with Topics(federation) as topics:
        held = OPEN_ROUNDS[-1] + 1
        topics.wait_for_round(held)
        topics.log.append(table.reports(table.slot_of(held, table.SLOTS)), 0, b"this is no record")
        topics.log.flush()
    wait_until("a client in round 4", lambda: scrape(urls["client"]).value(d.CLIENT_STATE, state="training"))
    wait_until("statistics", lambda: scrape(urls["server"]).has(d.SHARD_LAG))
    wait_until("the clients' hearts", lambda: _alive(scrape(urls["server"])) == len(CLIENTS))
    wait_until("a refusal", lambda: scrape(urls["server"]).value(d.REJECTED, reason="not a record"))
    wait_until("an evaluation", lambda: "global" in _sources(scrape(urls["server"])))
    return urls


def _alive(found: Scrape) -> float:
    name = d.MEMBERS.name
    return sum(s.value for s in found.samples if s.name == name and s.labels["member"] == "client")


def _sources(found: Scrape) -> set[str]:
    return {labels["source"] for labels in found.of(d.MODEL_METRIC.name)}


@pytest.mark.parametrize("role", ["server", "client"])
def test_every_metric_of_the_table_is_in_a_scrape_and_nothing_else(
    role: str, urls: dict[str, str], federation: Federation
) -> None:
    found = scrape(urls[role])
    found.check(federation.name, role)
    missing = [each.name for each in d.DEFINITIONS if role in each.roles and not found.has(each)]
    assert missing == []
    strangers = [each.name for each in d.DEFINITIONS if role not in each.roles and found.has(each)]
    assert strangers == []


def test_the_server_tells_the_course_of_the_federation(urls: dict[str, str]) -> None:
    found = scrape(urls["server"])
    assert found.value(d.ROUND) == len(OPEN_ROUNDS) + 1
    assert found.value(d.PLANNED_ROUNDS) == 9
    assert found.value(d.ROUNDS_CLOSED) == len(OPEN_ROUNDS)
    assert found.value(d.COHORT_CLIENTS) == len(CLIENTS)
    assert found.value(d.PHASE, phase="collecting") == 1
    assert (
        found.value(d.PHASE_SECONDS, phase="collecting") > found.value(d.PHASE_SECONDS, phase="sealing") > 0
    )
    assert found.value(d.REPORTS, outcome="accepted") == len(OPEN_ROUNDS) * len(CLIENTS)
    assert found.value(d.REJECTED, reason="not a record") == 1
    assert found.value(d.FOLD_BYTES) > 0
    assert _sources(found) == {"train", "evaluate", "global"}
    (count,) = [s.value for s in found.samples if s.name == f"{d.ROUND_DURATION.name}_count"]
    assert count == len(OPEN_ROUNDS)


def test_traffic_of_both_ends_agrees(urls: dict[str, str]) -> None:
    """Two equal clients: the server read what both wrote, once."""
    server, client = scrape(urls["server"]), scrape(urls["client"])
    read = server.value(d.LOG_RECORDS, topic="updates", direction="in")
    written = client.value(d.LOG_RECORDS, topic="updates", direction="out")
    assert read == len(CLIENTS) * written > 0
    assert client.value(d.LOG_RECORDS, topic="reports", direction="out") == len(OPEN_ROUNDS)
    assert client.value(d.LOG_BYTES, topic="reports", direction="in") == 0


def test_no_label_names_a_client(urls: dict[str, str]) -> None:
    values = {v for url in urls.values() for s in scrape(url).samples for v in s.labels.values()}
    assert not values & set(CLIENTS)


@needs_prometheus
def test_a_real_prometheus_scrapes_it_and_answers_the_dashboards_queries(
    urls: dict[str, str], federation: Federation
) -> None:
    targets = [url.removeprefix("http://").partition("/")[0] for url in urls.values()]
    with scraping(targets, federation.folder) as prometheus:
        wait_until("two good scrapes", lambda: prometheus.healths() == ["up"] * len(targets))
        wait_until("a rate", lambda: prometheus.query(f"rate({d.PHASE_SECONDS.name}[1m])"))
        for query in dashboard_queries(federation.name):
            wait_until(f"series of {query}", lambda query=query: prometheus.query(query))  # type: ignore[misc]


def test_the_end_of_the_federation_ends_the_processes(urls: dict[str, str], federation: Federation) -> None:
    """Somebody scrapes all the time; last in this file, as it lets the federation go on to its end."""
    federation_gate = federation.folder / "gate"
    for number in range(1, 10):
        (federation_gate / str(number)).touch()
    scraped = 0
    while all(process.running for process in federation.processes):
        for url in urls.values():
            try:
                scrape(url)
                scraped += 1
            except OSError:
                break
    assert scraped > 0
    assert [process.exit_code() for process in federation.processes] == [0, 0, 0]
