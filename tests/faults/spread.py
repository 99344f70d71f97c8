"""A cluster of three nodes, each at a place of its own in a lab's network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from kafka_cluster.folder import open_folder
from kafka_cluster.jars import ensure_jars
from kafka_cluster.node import Node
from kafka_cluster.readiness import Entrance, wait_until_ready
from kafka_cluster.settings import Address
from tests.faults.network import Place

PORT, CONTROLLER_PORT = 19092, 19093  # in namespaces of their own all ports are free


class SpreadCluster:
    """Three replicas, two in sync; controllers speak over the network too. A context manager."""

    def __init__(self, places: Sequence[Place], folder: Path) -> None:
        self.places = places
        self._data = open_folder(folder, nodes=len(places), reset=False)
        self._nodes = self._make_nodes()

    @property
    def bootstrap(self) -> str:
        return ",".join(node.address.bootstrap for node in self._nodes)

    def __enter__(self) -> Self:
        for node in self._nodes:
            node.prepare()
        for node in self._nodes:
            node.finish_format()
        for place, node in zip(self.places, self._nodes, strict=True):
            with place.entered():
                node.start()
        places = [(node.address.host, node.address.port) for node in self._nodes]
        wait_until_ready(self._nodes, Entrance(places))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self._nodes:
            node.kill()
        self._data.release()

    def _make_nodes(self) -> list[Node]:
        addresses = [
            Address(i, place.address, PORT, CONTROLLER_PORT, 0) for i, place in enumerate(self.places)
        ]
        voters = ",".join(f"{each.node_id}@{each.host}:{each.controller_port}" for each in addresses)
        jars = ensure_jars(lambda _: None)
        return [
            Node(each, addresses, self._data, jars, {"controller.quorum.voters": voters, **_settings(each)})
            for each in addresses
        ]


def _settings(address: Address) -> dict[str, str]:
    controller = f"CONTROLLER://{address.host}:{address.controller_port}"
    # A replica that does not follow is left out after five seconds, not half a minute.
    return {"listeners": f"BROKER://{address.bootstrap},{controller}", "replica.lag.time.max.ms": "5000"}
