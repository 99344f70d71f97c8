"""A real Prometheus where one is installed (Debian: `apt-get install prometheus`), and its promtool."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from kafka_cluster.ports import free_ports
from tests.cluster.processes import wait_until
from tests.needed import needs

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
MONITORING = Path(__file__).parents[2] / "monitoring"

needs_prometheus = needs("prometheus", "prometheus", "promtool")


class Prometheus:
    """Its HTTP interface (https://prometheus.io/docs/prometheus/latest/querying/api/)."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer; fails where Prometheus says it is wrong."""
        url = f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            document = json.load(answer)
        assert document["status"] == "success", document
        return document["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that the expression gives now."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return found

    def healths(self) -> list[str]:
        """How the last scrape of each target went."""
        return [target["health"] for target in self.ask("targets")["activeTargets"]]


@contextmanager
def scraping(targets: Sequence[str], folder: Path) -> Iterator[Prometheus]:
    """A Prometheus with the repository's settings and rules that scrapes these targets every two seconds."""
    assert PROMETHEUS is not None
    settings = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    settings["global"] |= {
        "scrape_interval": "2s",
        "scrape_timeout": "2s",
        "evaluation_interval": "2s",
    }
    settings["rule_files"] = [str(MONITORING / "alerts.yml")]
    (job,) = settings["scrape_configs"]
    job["static_configs"] = [{"targets": list(targets)}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(settings))
    (port,) = free_ports(1)
    command = [
        PROMETHEUS,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield _answering(process, port, folder)
    finally:
        process.kill()
        process.wait()


def _answering(process: subprocess.Popen[bytes], port: int, folder: Path) -> Prometheus:
    found = Prometheus(port)

    def answers() -> bool:
        assert process.poll() is None, (folder / "prometheus.log").read_text()
        with suppress(OSError):
            found.ask("query", query="1")
            return True
        return False

    wait_until("Prometheus", answers)
    return found
