"""librdkafka's statistics, cut down to the fields that are read, and what is made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fdstream.metrics import definitions as d
from fdstream.metrics.statistics import Statistics
from fdstream.topics.handles import GIVEN_UP

BROKER = {
    "nodeid": 1,
    "state": "UP",
    "txerrs": 1,
    "rxerrs": 2,
    "req_timeouts": 3,
    "txretries": 4,
    "disconnects": 5,
    "rtt": {"p50": 1500, "p99": 250_000},
}
BOOTSTRAP = BROKER | {"nodeid": -1, "state": "DOWN", "rtt": {"p50": 9e9, "p99": 9e9}}


def partition(number: int, **fields: int) -> dict[str, Any]:
    standing = {
        "fetchq_cnt": 0,
        "fetchq_size": 0,
        "hi_offset": -1001,
        "app_offset": -1001,
        "query_offset": -2,
    }
    return {"partition": number, **standing, **fields}


def document(
    name: str, kind: str, topics: dict[str, list[dict[str, Any]]] | None = None, **fields: Any
) -> str:
    counts = {"tx": 10, "txbytes": 100, "rxbytes": 200}
    counts |= {name: fields.pop(name) for name in counts if name in fields}
    standing = {"msg_cnt": 7, "msg_size": 70}
    named = {
        topic: {"partitions": {str(each["partition"]): each for each in partitions}}
        for topic, partitions in (topics or {}).items()
    }
    brokers = {"a": BROKER | counts, "bootstrap": BOOTSTRAP | dict.fromkeys(counts, 0)}
    brokers = fields.pop("brokers", brokers)
    head = {"name": name, "type": kind, "ts": 5}
    return json.dumps({**head, "brokers": brokers, "topics": named, **standing, **fields})


def values(statistics: Statistics) -> dict[tuple[str, ...], float]:
    return {(definition.name, *labels): value for definition, labels, value in statistics.samples()}


def test_handles_of_a_kind_are_added_up_and_the_last_word_of_each_counts() -> None:
    statistics = Statistics()
    statistics.hear(document("producer-1", "producer", tx=1))
    statistics.hear(document("producer-1", "producer", tx=11))
    statistics.hear(document("producer-2", "producer", tx=20))
    found = values(statistics)
    assert found[d.RDKAFKA_REQUESTS.name, "producer"] == 31
    assert found[d.RDKAFKA_BYTES.name, "producer", "out"] == 200
    assert found[d.RDKAFKA_BYTES.name, "producer", "in"] == 400
    assert found[d.RDKAFKA_QUEUED_MESSAGES.name, "producer"] == 14
    assert found[d.RDKAFKA_QUEUED_BYTES.name, "producer"] == 140
    assert (d.RDKAFKA_REQUESTS.name, "consumer") not in found


def broker(**fields: Any) -> dict[str, Any]:
    return BROKER | {"tx": 0, "txbytes": 0, "rxbytes": 0} | fields


def test_sums_never_fall_though_librdkafka_drops_brokers_and_begins_anew() -> None:
    statistics = Statistics()
    for brokers, total in (
        ({"a": broker(tx=10), "b": broker(tx=5)}, 15),
        ({"b": broker(tx=6)}, 16),  # a is dropped
        ({}, 16),
        ({"a": broker(tx=3)}, 19),  # and comes again
        ({"a": broker(tx=4)}, 20),
        ({"a": broker(tx=1)}, 21),  # dropped and there again in between
    ):
        statistics.hear(document("consumer-1", "consumer", brokers=brokers))
        assert values(statistics)[d.RDKAFKA_REQUESTS.name, "consumer"] == total


def test_what_is_a_state_of_now_counts_as_long_as_its_handle_speaks() -> None:
    now_seconds = 100.0
    statistics = Statistics(lambda: now_seconds)
    statistics.hear(document("producer-1", "producer"))
    statistics.hear(document("producer-2", "producer"))
    now_seconds += 3600  # a client trains
    assert values(statistics)[d.RDKAFKA_CONNECTIONS.name, "producer"] == 2
    statistics.hear(document("producer-2", "producer"))  # the other was given up
    found = values(statistics)
    assert found[d.RDKAFKA_CONNECTIONS.name, "producer"] == 1
    assert found[d.RDKAFKA_QUEUED_MESSAGES.name, "producer"] == 7
    assert found[d.RDKAFKA_REQUESTS.name, "producer"] == 20


def test_a_handle_that_was_given_up_keeps_its_counts_and_has_no_state() -> None:
    statistics = Statistics()
    lagging = {"fdstream.a.round-0.updates": [partition(0, hi_offset=9, app_offset=1, fetchq_cnt=2)]}
    statistics.hear(document("consumer-1", "consumer", lagging, **{GIVEN_UP: True}))
    found = values(statistics)
    assert found[d.RDKAFKA_REQUESTS.name, "consumer"] == 10
    assert found[d.RDKAFKA_CONNECTIONS.name, "consumer"] == 0
    assert found[d.RDKAFKA_QUEUED_MESSAGES.name, "consumer"] == 0
    assert not [key for key in found if key[0] in (d.SHARD_LAG.name, d.RDKAFKA_ROUND_TRIP.name)]


def test_a_handle_that_nobody_polls_is_believed_for_three_of_its_intervals() -> None:
    now_seconds = 100.0
    statistics = Statistics(lambda: now_seconds)
    for _ in range(2):
        now_seconds += 5
        for name in ("producer-1", "producer-2"):
            statistics.hear(document(name, "producer"))
    found = []
    for _ in range(4):
        now_seconds += 5
        statistics.hear(document("producer-2", "producer"))
        found.append(values(statistics)[d.RDKAFKA_CONNECTIONS.name, "producer"])
    assert found == [2, 2, 2, 1]
    statistics.hear(document("consumer-1", "consumer"))
    now_seconds += 60
    statistics.hear(document("consumer-1", "consumer"))
    assert values(statistics)[d.RDKAFKA_CONNECTIONS.name, "producer"] == 0  # rather than nothing


@pytest.mark.parametrize("client", ['a"b', "a\\", '", "type": "consumer", "ts":5, "x": "', "Hôpital 3"])
def test_whatever_a_client_is_called_its_handles_are_read(client: str) -> None:
    statistics = Statistics()
    for kind, number in (("producer", 1), ("producer", 2), ("consumer", 3)):
        text = json.dumps(
            {key: value for key, value in json.loads(document("", kind)).items() if key != "name"}
        )
        head = f'{{ "name": "{client}#{kind}-{number}", "client_id": "{client}", '
        statistics.hear(head + text.removeprefix("{"))
    found = values(statistics)
    assert found[d.RDKAFKA_REQUESTS.name, "producer"] == 20
    assert found[d.RDKAFKA_REQUESTS.name, "consumer"] == 10


def test_brokers_are_added_up_and_round_trips_are_those_of_brokers_with_a_number() -> None:
    statistics = Statistics()
    statistics.hear(document("producer-1", "producer"))
    found = values(statistics)
    assert found[d.RDKAFKA_CONNECTIONS.name, "producer"] == 1
    assert found[d.RDKAFKA_ERRORS.name, "producer"] == 12
    assert found[d.RDKAFKA_RETRIES.name, "producer"] == 8
    assert found[d.RDKAFKA_DISCONNECTS.name, "producer"] == 10
    assert found[d.RDKAFKA_ROUND_TRIP.name, "producer", "1", "0.5"] == 0.0015
    assert found[d.RDKAFKA_ROUND_TRIP.name, "producer", "1", "0.99"] == 0.25
    assert len([key for key in found if key[0] == d.RDKAFKA_ROUND_TRIP.name]) == 2


def test_the_lag_of_a_shard_is_what_stands_in_the_log_and_was_not_polled() -> None:
    updates = [partition(0, hi_offset=10, app_offset=4), partition(1, hi_offset=5, app_offset=5)]
    other = [partition(0, hi_offset=3, app_offset=1), partition(-1, hi_offset=99)]
    model = [partition(0, hi_offset=100, app_offset=0)]
    statistics = Statistics()
    topics = {"fdstream.a.round-0.updates": updates, "fdstream.a.round-1.updates": other}
    statistics.hear(document("consumer-1", "consumer", topics | {"fdstream.a.round-0.model": model}))
    found = values(statistics)
    assert {key[1]: value for key, value in found.items() if key[0] == d.SHARD_LAG.name} == {"0": 8, "1": 0}


def test_of_two_handles_that_read_a_shard_the_one_ahead_counts() -> None:
    statistics, name = Statistics(), "fdstream.a.round-0.updates"
    ahead, behind = partition(0, hi_offset=9, app_offset=8), partition(0, hi_offset=10, app_offset=2)
    statistics.hear(document("consumer-1", "consumer", {name: [behind]}))
    statistics.hear(document("consumer-2", "consumer", {name: [ahead]}))
    assert values(statistics)[d.SHARD_LAG.name, "0"] == 2


def test_a_partition_of_which_nothing_was_read_lags_from_where_it_is_to_be_read() -> None:
    statistics, name = Statistics(), "fdstream.a.round-0.updates"
    statistics.hear(document("consumer-1", "consumer", {name: [partition(0, hi_offset=9, query_offset=6)]}))
    assert values(statistics)[d.SHARD_LAG.name, "0"] == 3


def test_what_consumers_hold_is_what_was_fetched_and_not_polled() -> None:
    statistics = Statistics()
    held = [partition(0, fetchq_cnt=2, fetchq_size=20), partition(1, fetchq_cnt=3, fetchq_size=30)]
    statistics.hear(document("consumer-1", "consumer", {"fdstream.a.members": held}))
    found = values(statistics)
    assert found[d.RDKAFKA_QUEUED_MESSAGES.name, "consumer"] == 5
    assert found[d.RDKAFKA_QUEUED_BYTES.name, "consumer"] == 50
