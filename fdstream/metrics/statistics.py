"""What librdkafka says of its handles, added up by kind: producers and consumers. Knows its JSON, no handle.

The fields are those of librdkafka's STATISTICS.md. Sums never fall: a handle that was given up keeps what it had
counted, and so does a broker that librdkafka has dropped from a handle. What is a state of now ends with its handle's
last word, and counts only as long as the handle speaks while others do.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from fdstream.metrics import definitions as d
from fdstream.metrics.meters import Sample
from fdstream.topics import table
from fdstream.topics.handles import GIVEN_UP

QUANTILES = {"0.5": "p50", "0.99": "p99"}
SILENT_INTERVALS = 3  # after which a handle that nobody polls is not believed any more
BUSY_SECONDS = 1.0  # and a busy process polls a little late
SILENT_SECONDS = 60.0  # where it has spoken only once
_MICROSECOND = 1e-6
_FAILURES = ("txerrs", "rxerrs", "req_timeouts")
_AFTER_NAMES = ('"type": "producer", "ts":', '"type": "consumer", "ts":')
_LONGEST_HEAD = 4096  # characters: two names

Document = dict[str, Any]
Place = tuple[str, int]  # topic and partition
_Counted = tuple[d.Definition, tuple[str, ...]]  # and its labels


@dataclass(frozen=True, slots=True)
class _Word:
    """What a handle said last, and when; and how long after its word before, if there was one."""

    text: str
    heard_seconds: float
    interval_seconds: float | None


class _Handle:
    """The last statistics of one handle, and what it has counted in all."""

    def __init__(self) -> None:
        self.heard_seconds = 0.0
        self.interval_seconds: float | None = None  # between its last two words
        self.kind = ""
        self.totals: dict[_Counted, float] = {}
        self.states: dict[_Counted, float] = {}
        self.round_trips: dict[tuple[str, str], float] = {}  # by broker and quantile, in seconds
        self.updates: dict[
            Place, tuple[int, int]
        ] = {}  # of updates that it reads: the end, and how far it polled
        self._brokers: dict[str, dict[_Counted, float]] = {}
        self._before: Counter[_Counted] = Counter()  # counted with brokers that are gone, or that began anew

    def speaks(self, now_seconds: float) -> bool:
        """Whether its last word is young enough."""
        known = self.interval_seconds
        patience_seconds = SILENT_SECONDS if known is None else SILENT_INTERVALS * known + BUSY_SECONDS
        return now_seconds - self.heard_seconds <= patience_seconds

    def read(self, word: _Word) -> None:
        """Its last word."""
        self.heard_seconds = word.heard_seconds
        if word.interval_seconds is not None:
            self.interval_seconds = word.interval_seconds
        document = json.loads(word.text)
        brokers = list(document["brokers"].values())
        self.kind = kind = document["type"]
        self._count({name: _counts(kind, broker) for name, broker in document["brokers"].items()})
        messages, size_bytes = _queued(document)
        self.states = {
            (d.RDKAFKA_CONNECTIONS, (kind,)): sum(broker["state"] == "UP" for broker in brokers),
            (d.RDKAFKA_QUEUED_MESSAGES, (kind,)): messages,
            (d.RDKAFKA_QUEUED_BYTES, (kind,)): size_bytes,
        }
        self.round_trips, self.updates = _round_trips(brokers), _updates(document)
        if GIVEN_UP in document:
            self.states, self.round_trips, self.updates = dict.fromkeys(self.states, 0.0), {}, {}

    def _count(self, brokers: dict[str, dict[_Counted, float]]) -> None:
        for name, last in self._brokers.items():
            now = brokers.get(name)
            if now is None or any(now[each] < value for each, value in last.items()):
                self._before.update(last)
        self._brokers = brokers
        total = Counter(self._before)
        for counts in brokers.values():
            total.update(counts)
        self.totals = dict(total)


class Statistics:
    """The last statistics of each handle. `hear` and `samples` may be called from several threads.

    There may be many handles, and each speaks every few seconds: a text is read when somebody asks, not before.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()  # never held for long: who hears is in the middle of a round
        self._words: dict[str, _Word] = {}  # handle -> its last word since somebody asked
        self._heard_seconds: dict[str, float] = {}  # handle -> when it spoke last
        self._reading = threading.Lock()
        self._handles: defaultdict[str, _Handle] = defaultdict(_Handle)

    def hear(self, text: str) -> None:
        """librdkafka's statistics callback.

        It begins with the handle's name and the client's, which librdkafka writes as they are: a quotation mark in
        them makes it no JSON.
        """
        end = max(0, *(text.rfind(mark, 0, _LONGEST_HEAD) for mark in _AFTER_NAMES))
        name, now_seconds = text[:end], self._monotonic()
        with self._lock:
            before = self._heard_seconds.get(name)
            interval_seconds = None if before is None else now_seconds - before
            self._heard_seconds[name] = now_seconds
            self._words[name] = _Word("{" + text[end:], now_seconds, interval_seconds)

    def samples(self) -> Iterator[Sample]:
        """At a scrape."""
        with self._reading:
            with self._lock:
                words, self._words = self._words, {}
            for name, word in words.items():
                self._handles[name].read(word)
            return iter(list(self._samples()))

    def _samples(self) -> Iterator[Sample]:
        handles = list(self._handles.values())
        newest_seconds = max((handle.heard_seconds for handle in handles), default=0.0)
        speaking = dict.fromkeys(handle for handle in handles if handle.speaks(newest_seconds))
        sums: Counter[_Counted] = Counter()
        for handle in handles:
            sums.update(handle.totals)
            sums.update(handle.states if handle in speaking else dict.fromkeys(handle.states, 0.0))
        for (definition, labels), value in sums.items():
            yield definition, labels, value
        yield from _slowest(speaking)
        for shard, lag in sorted(_lags(speaking).items()):
            yield d.SHARD_LAG, (str(shard),), lag


def _counts(kind: str, broker: Document) -> dict[_Counted, float]:
    return {
        (d.RDKAFKA_REQUESTS, (kind,)): broker["tx"],
        (d.RDKAFKA_BYTES, (kind, "out")): broker["txbytes"],
        (d.RDKAFKA_BYTES, (kind, "in")): broker["rxbytes"],
        (d.RDKAFKA_ERRORS, (kind,)): sum(broker[name] for name in _FAILURES),
        (d.RDKAFKA_RETRIES, (kind,)): broker["txretries"],
        (d.RDKAFKA_DISCONNECTS, (kind,)): broker["disconnects"],
    }


def _slowest(handles: Iterable[_Handle]) -> Iterator[Sample]:
    slowest: defaultdict[tuple[str, str, str], float] = defaultdict(float)
    for handle in handles:
        for (node, quantile), seconds in handle.round_trips.items():
            key = (handle.kind, node, quantile)
            slowest[key] = max(slowest[key], seconds)
    for labels, seconds in slowest.items():
        yield d.RDKAFKA_ROUND_TRIP, labels, seconds


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


def _lags(handles: Iterable[_Handle]) -> dict[int, int]:
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
