"""The metrics of one process in a registry that was handed in: what counts events, and what is computed at a scrape.

Knows prometheus-client and the definitions, nothing of federations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fdstream.metrics.definitions import BOUNDED, COMMON, DURATION_BUCKETS_SECONDS, OTHER, Definition

Sample = tuple[Definition, tuple[str, ...], float]  # labels in the order of the definition
Source = Callable[[], Iterable[Sample]]


class Bounded:
    """The first values that come pass, later ones become `other`: what clients choose must not fill a memory."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._seen: set[str] = set()

    def __call__(self, value: str) -> str:
        if value not in self._seen:
            if len(self._seen) >= self._limit:
                return OTHER
            self._seen.add(value)
        return value


class Counters:
    """One counter, a child for each combination of its labels. `of` may be called from several threads."""

    def __init__(self, counter: Counter, definition: Definition, common: tuple[str, ...]) -> None:
        self._counter = counter
        self._common = common
        self._bounds = [Bounded(BOUNDED[label]) if label in BOUNDED else str for label in definition.labels]

    def of(self, *labels: str) -> Counter:
        """The child with these labels."""
        bounded = [bound(label) for bound, label in zip(self._bounds, labels, strict=True)]
        return self._counter.labels(*self._common, *bounded)


class Meters(Collector):
    """Makes counters and histograms in the registry, each once; sources are asked at each scrape."""

    def __init__(self, registry: CollectorRegistry, federation: str, role: str) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call] # they would double the series
        self.role = role
        self._registry = registry
        self._common = (federation, role)
        self._sources: list[Source] = []
        registry.register(self)

    def counters(self, definition: Definition) -> Counters:
        names = (*COMMON, *definition.labels)
        made = Counter(definition.name, definition.meaning, names, registry=self._registry)
        return Counters(made, definition, self._common)

    def histogram(self, definition: Definition) -> Histogram:
        """A histogram of durations without labels of its own."""
        buckets, registry = DURATION_BUCKETS_SECONDS, self._registry
        made = Histogram(definition.name, definition.meaning, COMMON, buckets=buckets, registry=registry)
        return made.labels(*self._common)

    def computed(self, source: Source) -> None:
        """Ask this at each scrape, in the scraper's thread."""
        self._sources.append(source)

    def collect(self) -> Iterator[Metric]:
        """The registry's question at each scrape."""
        families: dict[Definition, Metric] = {}
        for source in self._sources:
            for definition, labels, value in source():
                if definition not in families:
                    families[definition] = _family(definition)
                families[definition].add_metric([*self._common, *labels], value)  # type: ignore[attr-defined]
        yield from families.values()


def _family(definition: Definition) -> Metric:
    kind = CounterMetricFamily if definition.kind == "counter" else GaugeMetricFamily
    return kind(definition.name, definition.meaning, labels=[*COMMON, *definition.labels])
