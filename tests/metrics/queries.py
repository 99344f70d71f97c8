"""Every PromQL expression in monitoring/: the dashboard's, its variables', the alerts'."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.metrics.prometheus import MONITORING

LABEL_VALUES = re.compile(r"label_values\((.*), *(\w+)\)")


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((MONITORING / "grafana" / "dashboards" / "fdstream.json").read_text())
    return found


def panels() -> list[dict[str, Any]]:
    """Those that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def dashboard_queries(federation: str) -> list[str]:
    """As Grafana would send them for this federation."""
    return [
        target["expr"].replace("$federation", federation).replace("$__rate_interval", "1m")
        for panel in panels()
        for target in panel["targets"]
    ]


def variable_queries() -> Iterator[tuple[str, str]]:
    """Selector and label of each variable of the dashboard."""
    for variable in dashboard()["templating"]["list"]:
        found = LABEL_VALUES.fullmatch(variable["query"]["query"])
        assert found is not None, variable
        yield found[1], found[2]


def rules() -> list[dict[str, Any]]:
    """The alert rules."""
    document = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]
