"""What librdkafka says of its handles, added up by kind: producers and consumers. Knows its JSON, no handle.

The fields are those of librdkafka's STATISTICS.md. A handle that was given up keeps what it had counted, so that
sums never fall.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fdstream.metrics import definitions as d
from fdstream.metrics.meters import Sample
from fdstream.topics import table

HANDLES = ("producer", "consumer")
QUANTILES = {"0.5": "p50", "0.99": "p99"}
_MICROSECOND = 1e-6
_FAILURES = ("txerrs", "rxerrs", "req_timeouts")
_HEAD = re.compile(r'.*(?="type": "(?:producer|consumer)", "ts":)', re.DOTALL)

Document = dict[str, Any]
Place = tuple[str, int]  # topic and partition


@dataclass(frozen=True, slots=True)
class _Handle:
    """What is kept of a handle's last statistics."""

    kind: str
    sums: Mapping[tuple[d.Definition, tuple[str, ...]], float]
    round_trips: Mapping[tuple[str, str], float]  # by broker and quantile, in seconds
    updates: Mapping[
        Place, tuple[int, int]
    ]  # of what it reads of the updates: the end, and how far it is polled


class Statistics:
    """The last statistics of each handle. `hear` and `samples` may be called from several threads.

    There may be many handles, and each speaks every few seconds: a text is read when somebody asks, not before.
    """

    def __init__(self) -> None:
        self._last: dict[str, str | _Handle] = {}

    def hear(self, text: str) -> None:
        """librdkafka's statistics callback.

        It begins with the handle's name and the client's, which librdkafka writes as they are: a quotation mark in
        them makes it no JSON.
        """
        found = _HEAD.match(text)
        name = "" if found is None else found[0]
        self._last[name] = "{" + text[len(name) :]

    def samples(self) -> Iterator[Sample]:
        """At a scrape."""
        handles = [self._read(name, last) for name, last in list(self._last.items())]
        for kind in HANDLES:
            of_kind = [handle for handle in handles if handle.kind == kind]
            if of_kind:
                yield from _of_kind(kind, of_kind)
        for shard, lag in sorted(_lags(handles).items()):
            yield d.SHARD_LAG, (str(shard),), lag

    def _read(self, name: str, last: str | _Handle) -> _Handle:
        if isinstance(last, _Handle):
            return last
        handle = _handle(json.loads(last))
        if self._last[name] is last:
            self._last[name] = handle
        return handle


def _handle(document: Document) -> _Handle:
    brokers = list(document["brokers"].values())
    messages, size_bytes = _queued(document)
    kind = document["type"]
    sums = {
        (d.RDKAFKA_REQUESTS, (kind,)): document["tx"],
        (d.RDKAFKA_BYTES, (kind, "out")): document["tx_bytes"],
        (d.RDKAFKA_BYTES, (kind, "in")): document["rx_bytes"],
        (d.RDKAFKA_ERRORS, (kind,)): sum(broker[name] for broker in brokers for name in _FAILURES),
        (d.RDKAFKA_RETRIES, (kind,)): sum(broker["txretries"] for broker in brokers),
        (d.RDKAFKA_DISCONNECTS, (kind,)): sum(broker["disconnects"] for broker in brokers),
        (d.RDKAFKA_CONNECTIONS, (kind,)): sum(broker["state"] == "UP" for broker in brokers),
        (d.RDKAFKA_QUEUED_MESSAGES, (kind,)): messages,
        (d.RDKAFKA_QUEUED_BYTES, (kind,)): size_bytes,
    }
    return _Handle(kind, sums, _round_trips(brokers), _updates(document))


def _of_kind(kind: str, handles: list[_Handle]) -> Iterator[Sample]:
    for definition, labels in handles[0].sums:
        yield definition, labels, sum(handle.sums[definition, labels] for handle in handles)
    slowest: defaultdict[tuple[str, str], float] = defaultdict(float)
    for handle in handles:
        for key, seconds in handle.round_trips.items():
            slowest[key] = max(slowest[key], seconds)
    for (node, quantile), seconds in slowest.items():
        yield d.RDKAFKA_ROUND_TRIP, (kind, node, quantile), seconds


def _queued(document: Document) -> tuple[int, int]:
    """Messages and bytes."""
    if document["type"] == "producer":
        return document["msg_cnt"], document["msg_size"]
    partitions = [partition for _, partition in _partitions(document)]
    return sum(each["fetchq_cnt"] for each in partitions), sum(each["fetchq_size"] for each in partitions)


def _round_trips(brokers: list[Document]) -> dict[tuple[str, str], float]:
    return {
        (str(broker["nodeid"]), quantile): broker["rtt"][name] * _MICROSECOND
        for broker in brokers
        for quantile, name in QUANTILES.items()
        if broker["nodeid"] >= 0  # the others are the addresses to begin with
    }


def _updates(document: Document) -> dict[Place, tuple[int, int]]:
    return {
        (topic, partition["partition"]): (
            partition["hi_offset"],
            max(partition["app_offset"], partition["query_offset"]),
        )
        for topic, partition in _partitions(document)
        if document["type"] == "consumer" and table.kind(topic) == "updates"
    }


def _lags(handles: list[_Handle]) -> dict[int, int]:
    """Of each partition that is read of the updates, what is there and was not polled; the topics of a ring added.

    Two handles may read a partition for a moment: the one that is ahead counts.
    """
    ends: defaultdict[Place, int] = defaultdict(int)
    positions: defaultdict[Place, int] = defaultdict(int)
    for place, (end, position) in (item for handle in handles for item in handle.updates.items()):
        ends[place] = max(ends[place], end)
        positions[place] = max(positions[place], position)
    lags: defaultdict[int, int] = defaultdict(int)
    for (topic, shard), end in ends.items():
        lags[shard] += max(0, end - positions[topic, shard])
    return lags


def _partitions(document: Document) -> Iterator[tuple[str, Document]]:
    for name, topic in document["topics"].items():
        for partition in topic["partitions"].values():
            if partition["partition"] >= 0:  # -1 is librdkafka's own
                yield name, partition
