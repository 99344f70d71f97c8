"""docs/metrics.md has the table of the definitions, and names are as Prometheus' own rules want them."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

import pytest

from fdstream.metrics.definitions import ALL, COMMON, DEFINITIONS, DURATION_BUCKETS_SECONDS, Definition
from fdstream.metrics.document import DOCUMENT, table, written

NOT_BASE_UNITS = re.compile(r"_(ms|millis\w*|minutes|hours|kb|mb|kib|mib|percent)\b|_(ms|kb|mb|percent)_")


def test_the_document_has_todays_table() -> None:
    document = DOCUMENT.read_text("utf-8")
    assert document == written(document), "run python -m fdstream.metrics.document"
    assert table() in document


def test_names_are_unique() -> None:
    assert Counter(each.name for each in DEFINITIONS).most_common(1)[0][1] == 1


@pytest.mark.parametrize("each", DEFINITIONS, ids=lambda each: each.name)
def test_a_definition_follows_the_rules(each: Definition) -> None:
    assert re.fullmatch(r"fdstream_[a-z]+(_[a-z]+)*", each.name)
    assert each.name.endswith("_total") == (each.kind == "counter")
    assert not NOT_BASE_UNITS.search(each.name)
    if each.kind == "histogram":
        assert each.name.endswith("_seconds")
        assert each.labels == ()
    assert each.meaning.endswith(".")
    assert each.roles
    assert set(each.roles) <= set(ALL)
    assert not set(each.labels) & set(COMMON)
    assert len(set(each.labels)) == len(each.labels)


def test_buckets_reach_from_ten_milliseconds_to_an_hour() -> None:
    buckets = DURATION_BUCKETS_SECONDS
    assert (buckets[0], buckets[-1]) == (0.01, 3600.0)
    assert all(low < high <= 3 * low for low, high in pairwise(buckets))
