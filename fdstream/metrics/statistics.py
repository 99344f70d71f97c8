"""What librdkafka says of its handles, added up by kind: producers and consumers. Knows its JSON, no handle.

The fields are those of librdkafka's STATISTICS.md. A handle that was given up keeps what it had counted, so that
sums never fall.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from fdstream.metrics import definitions as d
from fdstream.metrics.meters import Sample
from fdstream.topics import table

HANDLES = ("producer", "consumer")
QUANTILES = {"0.5": "p50", "0.99": "p99"}
_MICROSECOND = 1e-6

Document = dict[str, Any]


class Statistics:
    """The last statistics of each handle. `hear` and `samples` may be called from several threads."""

    def __init__(self) -> None:
        self._last: dict[str, Document] = {}

    def hear(self, text: str) -> None:
        """librdkafka's statistics callback."""
        document = json.loads(text)
        self._last[document["name"]] = document

    def samples(self) -> Iterator[Sample]:
        """At a scrape."""
        documents = list(self._last.values())
        for kind in HANDLES:
            of_kind = [document for document in documents if document["type"] == kind]
            if of_kind:
                yield from _of_kind(kind, of_kind)
        for shard, lag in sorted(_lags(documents).items()):
            yield d.SHARD_LAG, (str(shard),), lag


def _of_kind(kind: str, documents: list[Document]) -> Iterator[Sample]:
    brokers = [broker for document in documents for broker in document["brokers"].values()]
    yield d.RDKAFKA_REQUESTS, (kind,), sum(each["tx"] for each in documents)
    yield d.RDKAFKA_BYTES, (kind, "out"), sum(each["tx_bytes"] for each in documents)
    yield d.RDKAFKA_BYTES, (kind, "in"), sum(each["rx_bytes"] for each in documents)
    failures = ("txerrs", "rxerrs", "req_timeouts")
    yield d.RDKAFKA_ERRORS, (kind,), sum(broker[name] for broker in brokers for name in failures)
    yield d.RDKAFKA_RETRIES, (kind,), sum(broker["txretries"] for broker in brokers)
    yield d.RDKAFKA_DISCONNECTS, (kind,), sum(broker["disconnects"] for broker in brokers)
    yield d.RDKAFKA_CONNECTIONS, (kind,), sum(broker["state"] == "UP" for broker in brokers)
    messages, size_bytes = _queued(kind, documents)
    yield d.RDKAFKA_QUEUED_MESSAGES, (kind,), messages
    yield d.RDKAFKA_QUEUED_BYTES, (kind,), size_bytes
    yield from _round_trips(kind, brokers)


def _queued(kind: str, documents: list[Document]) -> tuple[int, int]:
    """Messages and bytes."""
    if kind == "producer":
        return sum(each["msg_cnt"] for each in documents), sum(each["msg_size"] for each in documents)
    partitions = [partition for document in documents for _, partition in _partitions(document)]
    return sum(each["fetchq_cnt"] for each in partitions), sum(each["fetchq_size"] for each in partitions)


def _round_trips(kind: str, brokers: list[Document]) -> Iterator[Sample]:
    slowest: defaultdict[tuple[str, str], float] = defaultdict(float)
    for broker in brokers:
        if broker["nodeid"] >= 0:  # the others are the addresses to begin with
            for quantile, name in QUANTILES.items():
                key = (str(broker["nodeid"]), quantile)
                slowest[key] = max(slowest[key], broker["rtt"][name] * _MICROSECOND)
    for (node, quantile), seconds in slowest.items():
        yield d.RDKAFKA_ROUND_TRIP, (kind, node, quantile), seconds


def _lags(documents: list[Document]) -> dict[int, int]:
    """Of each partition that is read of the updates, what is there and was not polled; the topics of a ring added.

    Two handles may read a partition for a moment: the one that is ahead counts.
    """
    ends: defaultdict[tuple[str, int], int] = defaultdict(int)
    positions: defaultdict[tuple[str, int], int] = defaultdict(int)
    for document in documents:
        for topic, partition in _partitions(document):
            if document["type"] == "consumer" and table.kind(topic) == "updates":
                place = (topic, partition["partition"])
                ends[place] = max(ends[place], partition["hi_offset"])
                positions[place] = max(positions[place], partition["app_offset"], partition["query_offset"])
    lags: defaultdict[int, int] = defaultdict(int)
    for (topic, shard), end in ends.items():
        lags[shard] += max(0, end - positions[topic, shard])
    return lags


def _partitions(document: Document) -> Iterator[tuple[str, Document]]:
    for name, topic in document["topics"].items():
        for partition in topic["partitions"].values():
            if partition["partition"] >= 0:  # -1 is librdkafka's own
                yield name, partition
