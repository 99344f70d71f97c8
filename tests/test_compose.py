"""docker-compose.yml describes the broker that kafka_cluster starts, and clients that reach it.

No Docker is needed: this reads the file. `docker compose config` validates it by hand.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fdstream.cli import main
from kafka_cluster.lock import KAFKA_VERSION
from kafka_cluster.settings import Address, broker_properties

ROOT = Path(__file__).parents[1]
OWN_ADDRESSES = {"node.id", "listeners", "advertised.listeners", "listener.security.protocol.map"} | {
    "controller.quorum.voters",
    "log.dirs",
}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    document = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    found: dict[str, Any] = document["services"]
    return found


def our_settings() -> dict[str, str]:
    address = Address(0, "127.0.0.1", 9091, 9093, 9094)
    lines = broker_properties(address, [address], "data", {}).splitlines()
    return {key: value for key, value in (line.split("=", 1) for line in lines) if key not in OWN_ADDRESSES}


def test_its_broker_is_the_version_we_lock(services: dict[str, Any]) -> None:
    assert services["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_its_broker_has_our_settings(services: dict[str, Any]) -> None:
    environment = services["kafka"]["environment"]
    theirs = {key: str(environment.get(f"KAFKA_{key.upper().replace('.', '_')}")) for key in our_settings()}
    assert theirs == our_settings()


def test_the_listener_of_the_other_services_is_the_one_they_are_given(services: dict[str, Any]) -> None:
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert "BROKER://kafka:9092" in advertised


def test_server_and_clients_run_commands_that_exist(services: dict[str, Any]) -> None:
    """Parsed by the real command line, without running anything."""
    ours = {name: service for name, service in services.items() if service["image"] == "fdstream"}
    assert set(ours) == {"server", "client-0", "client-1"}
    for service in ours.values():
        assert service["depends_on"] == {"kafka": {"condition": "service_healthy"}}
        program, name, *options = shlex.split(service["command"])
        assert program == "fdstream"
        group = main
        assert isinstance(group, click.Group)
        command = group.get_command(click.Context(group), name)
        assert command is not None
        context = command.make_context(name, options)
        assert context.params["broker"] == "kafka:9092"


def test_the_clients_take_different_parts_of_the_data(services: dict[str, Any]) -> None:
    clients = [shlex.split(service["command"]) for name, service in services.items() if "client" in name]
    assert [command[command.index("--data-index") + 1] for command in clients] == ["0", "1"]


def test_prometheus_scrapes_every_process_where_it_serves_its_metrics(services: dict[str, Any]) -> None:
    settings = yaml.safe_load((ROOT / "monitoring" / "prometheus.yml").read_text())
    (job,) = settings["scrape_configs"]
    commands = {name: shlex.split(s["command"]) for name, s in services.items() if s["image"] == "fdstream"}
    served = {f"{name}:{command[command.index('--metrics-port') + 1]}" for name, command in commands.items()}
    assert set(job["static_configs"][0]["targets"]) == served
    assert all(command[command.index("--metrics-host") + 1] == "0.0.0.0" for command in commands.values())


def test_prometheus_and_grafana_find_the_files_that_they_are_given(services: dict[str, Any]) -> None:
    mounted = {}
    for name in ("prometheus", "grafana"):
        for volume in services[name]["volumes"]:
            source, inside, mode = volume.split(":")
            assert (ROOT / source).exists(), volume
            assert mode == "ro"
            mounted[inside] = ROOT / source
    rules = yaml.safe_load(mounted["/etc/prometheus/prometheus.yml"].read_text())["rule_files"]
    assert [f"/etc/prometheus/{name}" for name in rules] == ["/etc/prometheus/alerts.yml"]
    provisioning = mounted["/etc/grafana/provisioning"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "fdstream.yml").read_text())["providers"]
    dashboards = mounted[provider["options"]["path"]]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (dashboards / Path(home).name).exists()
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"


def test_the_image_holds_what_it_copies() -> None:
    copied = [line.split()[1:-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if "COPY" in line]
    assert all((ROOT / name).exists() for names in copied for name in names)
