"""Every query of the dashboard and the alerts asks for metrics and labels that exist; promtool checks the rules."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import promql_parser as promql
import pytest

from fdstream.metrics.definitions import COMMON, DEFINITIONS
from tests.metrics.prometheus import MONITORING, PROMTOOL, needs_prometheus
from tests.metrics.queries import dashboard, dashboard_queries, panels, rules, variable_queries

OF_PROMETHEUS = {"job", "instance"}
OF_THE_PROCESS = {"process_resident_memory_bytes"}
HISTOGRAM_SUFFIXES = ("_bucket", "_sum", "_count")
RULE_TESTS = Path(__file__).parent / "alerts.test.yml"


def known_series() -> dict[str, set[str]]:
    """The labels of every series that a process may serve, by name."""
    found = {name: set(OF_PROMETHEUS) for name in OF_THE_PROCESS}
    for each in DEFINITIONS:
        labels = {*COMMON, *each.labels, *OF_PROMETHEUS}
        if each.kind == "histogram":
            found |= {each.name + suffix: labels | {"le"} for suffix in HISTOGRAM_SUFFIXES}
        else:
            found[each.name] = labels
    return found


KNOWN = known_series()


def labels_of(node: promql.Expr) -> set[str] | None:
    """The labels that a result may have, None for a bare number; fails where it asks for what does not exist."""
    match node:
        case promql.VectorSelector():
            labels = KNOWN[node.name or ""]
            assert {matcher.name for matcher in node.matchers.matchers} <= labels, node.prettify()
            return labels
        case promql.MatrixSelector():
            return labels_of(node.vector_selector)
        case promql.ParenExpr() | promql.UnaryExpr():
            return labels_of(node.expr)
        case promql.AggregateExpr():
            kept = set(node.modifier.labels) if node.modifier is not None else set()
            assert kept <= (labels_of(node.expr) or set()), node.prettify()
            return kept
        case promql.BinaryExpr():
            return _of_both(node)
        case promql.Call():
            inner = [found for each in node.args if (found := labels_of(each)) is not None]
            dropped = {"le"} if node.func.name == "histogram_quantile" else set()
            return set().union(*inner) - dropped if inner else None
    return None


def _of_both(node: promql.BinaryExpr) -> set[str] | None:
    left, right = labels_of(node.lhs), labels_of(node.rhs)
    matching = node.modifier.matching.labels if node.modifier and node.modifier.matching else []
    if left is None or right is None:
        return right if left is None else left
    assert set(matching) <= left & right, node.prettify()
    return left


def asked(node: promql.Expr) -> Iterator[str]:
    """The series that an expression asks for."""
    yield from re.findall(r"\bfdstream_\w+", node.prettify())


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_asks_for_what_exists_and_names_its_lines_by_labels_that_are_left(
    panel: dict[str, list[dict[str, str]]],
) -> None:
    for target in panel["targets"]:
        expression = target["expr"].replace("$__rate_interval", "1m")
        left = labels_of(promql.parse(expression)) or set()
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= left, target


def test_variables_ask_for_what_exists() -> None:
    for selector, label in variable_queries():
        assert label in (labels_of(promql.parse(selector)) or set())


def test_every_panel_is_about_one_federation_or_the_process() -> None:
    for query in dashboard_queries("alpha"):
        series = set(asked(promql.parse(query)))
        assert query.count('federation="alpha"') == len(re.findall(r"\bfdstream_\w+", query)), query
        assert series or "process_" in query


def test_the_dashboard_shows_every_metric_but_those_named_here() -> None:
    """What is left out has a reason: it names versions, is shown by another, or belongs to the alerts alone."""
    shown = {name for query in dashboard_queries("a") for name in asked(promql.parse(query))}
    left_out = {
        each.name
        for each in DEFINITIONS
        if not shown & {each.name, *(each.name + suffix for suffix in HISTOGRAM_SUFFIXES)}
    }
    assert left_out == {
        "fdstream_build_info",
        "fdstream_phase",
        "fdstream_rounds_closed_total",
        "fdstream_round_deadline_seconds",
        "fdstream_round_extensions",
        "fdstream_max_clients",
        "fdstream_cohort_examples",
        "fdstream_librdkafka_queued_messages",
    }


def test_panels_have_ids_and_places_of_their_own() -> None:
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


def test_alerts_ask_for_what_exists_and_say_what_to_do() -> None:
    assert [rule["alert"] for rule in rules()] == ["FdstreamRoundStalled", "FdstreamTooFewMembers"]
    for rule in rules():
        assert labels_of(promql.parse(rule["expr"])) == {"federation"}
        assert rule["annotations"]["description"].strip().endswith(".")


@needs_prometheus
def test_promtool_takes_settings_and_rules() -> None:
    assert PROMTOOL is not None
    for what, name in (("config", "prometheus.yml"), ("rules", "alerts.yml")):
        command = [PROMTOOL, "check", what, str(MONITORING / name)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_alerts_fire_when_they_should_and_only_then() -> None:
    """Played through by promtool; the file tells the stories."""
    assert PROMTOOL is not None
    command = [PROMTOOL, "test", "rules", str(RULE_TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
