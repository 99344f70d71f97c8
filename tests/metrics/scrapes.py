"""Scrapes over real HTTP, read by prometheus-client's own parser."""

from __future__ import annotations

import urllib.request
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families

from fdstream.metrics.definitions import DEFINITIONS, Definition
from tests.cluster.processes import Process

TIMEOUT_SECONDS = 30.0
IMPLIED = {"le"}  # the label of a histogram's buckets
OF_THE_PROCESS = "process_"


class Scrape:
    """One answer of a process: samples by name, each with its labels."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def of(self, name: str) -> list[Mapping[str, str]]:
        """The labels of every sample of this name."""
        return [sample.labels for sample in self.samples if sample.name == name]

    def value(self, definition: Definition, **labels: str) -> float:
        """The one value with these labels among others."""
        (found,) = [
            sample.value
            for sample in self.samples
            if sample.name == definition.name and labels.items() <= sample.labels.items()
        ]
        return found

    def has(self, definition: Definition) -> bool:
        """Whether there is a sample of it."""
        return bool(self.of(_of_sample(definition)))

    def check(self, federation: str, role: str) -> None:
        """Everything that is there is defined: name, kind and labels."""
        defined = {_of_family(each): each for each in DEFINITIONS}
        for name, family in self.families.items():
            if name.startswith(OF_THE_PROCESS):
                continue
            definition = defined[name]
            assert (family.type, family.documentation) == (definition.kind, definition.meaning)
            for sample in family.samples:
                assert sample.labels.keys() - IMPLIED == {"federation", "role", *definition.labels}, sample
                assert (sample.labels["federation"], sample.labels["role"]) == (federation, role)


def _of_family(definition: Definition) -> str:
    return definition.name.removesuffix("_total") if definition.kind == "counter" else definition.name


def _of_sample(definition: Definition) -> str:
    return f"{definition.name}_count" if definition.kind == "histogram" else definition.name


def url_of(process: Process) -> str:
    """Where a process says that it serves its metrics."""
    return process.wait_for_line(r"serving metrics url=(\S+)")[1]


def scrape(url: str) -> Scrape:
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return Scrape(answer.read().decode())
