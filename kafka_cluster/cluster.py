"""Starts and stops a Kafka cluster of one or three nodes on this machine. The package's way in.

A start is: jars, data folder, ports, format what is new, start every node, wait until the cluster answers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from fdstream.errors import TransportError, UsageError
from kafka_cluster.folder import DataFolder, default_folder, open_folder
from kafka_cluster.jars import ensure_jars
from kafka_cluster.node import Node, PortLostError
from kafka_cluster.ports import free_ports, taken
from kafka_cluster.readiness import Entrance, wait_until_ready
from kafka_cluster.settings import Address

if TYPE_CHECKING:
    from kafka_cluster.security import Security  # needs cryptography, which an open cluster does not

SIZES = (1, 3)
PAUSE_SECONDS = 0.02
# Between our look at a port and a node's bind, seconds later, anybody may take it.
ATTEMPTS = 3


def _quiet(message: str) -> None:
    del message


class Cluster:
    """A broker (`nodes=1`) or three replicating each other (`nodes=3`: RF 3, min.insync.replicas 2).

    Node i listens on `host`, `port` + i; `port=None` picks free ports. `data_dir` keeps the data for the next
    start (default: a folder of the user's, see `default_folder`); `reset` deletes what it held. `settings` are
    properties of Kafka's for every node. With `secure`, a folder for keys and sign-ins, connections are encrypted,
    and who has not signed in or was not granted something is refused. `learn` is for `make_archive`. A context
    manager: starts on entry, stops on exit. The processes also stop when this one ends, however it ends.
    """

    def __init__(
        self,
        *,
        nodes: int = 1,
        host: str = "127.0.0.1",
        port: int | None = None,
        data_dir: Path | None = None,
        reset: bool = False,
        settings: Mapping[str, str] | None = None,
        secure: Path | None = None,
        learn: Path | None = None,
    ) -> None:
        if nodes not in SIZES:
            raise UsageError(f"a cluster has 1 or 3 nodes, not {nodes}")
        if host in ("", "0.0.0.0", "::", "*"):
            raise UsageError(
                f"{host!r} is no address a client can connect to: give the name or address by which "
                "clients reach this machine with --host"
            )
        self.data_dir = (data_dir or default_folder(nodes)).expanduser().absolute()
        self._count, self._host, self._port, self._reset = nodes, host, port, reset
        self._settings = settings or {}
        self._secure = secure
        self._learn = learn
        self.security: Security | None = None  # once started, with `secure`
        self._folder: DataFolder | None = None
        self._nodes: list[Node] = []

    @property
    def bootstrap(self) -> str:
        """`host:port` of every node, as `bootstrap.servers` wants it. Known once started."""
        return ",".join(node.address.bootstrap for node in self._nodes)

    @property
    def broker_bootstrap(self) -> str:
        """Where a secured cluster's administrator connects, with `security.mutual_tls`."""
        return ",".join(f"127.0.0.1:{node.address.broker_port}" for node in self._nodes)

    @property
    def log_files(self) -> list[Path]:
        return [node.log_file for node in self._nodes]

    def start(self, on_progress: Callable[[str], None] = _quiet) -> None:
        """Return when every node answers and every partition has all its replicas.

        Errors: `UsageError` (port taken, data folder in use or not ours), `TransportError` (jars cannot be
        downloaded, a node ended while starting: names its log). Nothing runs after an error.
        """
        addresses = self._addresses()
        if self._secure is not None:
            from kafka_cluster.security import Security

            self.security = Security(self._secure, self._host)
        jars = ensure_jars(on_progress)
        for _ in range(ATTEMPTS - 1):
            try:
                return self._start(addresses, jars, on_progress)
            except PortLostError:
                addresses = self._addresses()
        return self._start(addresses, jars, on_progress)

    def _start(
        self, addresses: Sequence[Address], jars: Sequence[Path], on_progress: Callable[[str], None]
    ) -> None:
        self._folder = open_folder(self.data_dir, nodes=self._count, reset=self._reset)
        self._reset = False
        try:
            self._nodes = [
                Node(address, addresses, self._folder, jars, self._settings_of(address), self._learn)
                for address in addresses
            ]
            self._format(on_progress)
            for node in self._nodes:
                node.start()
            wait_until_ready(self._nodes, self._entrance(self._nodes))
            if self.security is not None:
                self.security.let_in(self.broker_bootstrap)
                self.security.write_config_files(self.bootstrap)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all nodes in order and return when they have ended; the data stays."""
        for node in self._nodes:
            node.ask_to_stop()
        self._wait_for_end()
        if self._folder is not None:
            self._folder.release()
            self._folder = None

    def limit_each_client_id(self, user: str, quotas: Mapping[str, float]) -> None:
        """Of a secured cluster: bound what each client id of a user may do in a second, at each node and for good.

        Errors: `TransportError` where the cluster does not do it.
        """
        from kafka_cluster.quotas import limit_each_client_id

        assert self.security is not None, "an open cluster knows no users"
        place = ("127.0.0.1", self._nodes[0].address.broker_port)
        limit_each_client_id(place, self.security.context(), user, quotas)

    def check(self, say: Callable[[str], None] = _quiet) -> None:
        """Say which node has ended by itself; `TransportError` where those that run are no majority."""
        for node in self._nodes:
            if node.has_ended:
                failure = node.failure("stopped by itself")
                node.wait()
                if sum(other.was_started for other in self._nodes) <= self._count // 2:
                    raise TransportError(failure)
                say(f"{failure}; the others go on")

    def kill_node(self, index: int) -> None:
        """SIGKILL node `index` (from 0)."""
        self._nodes[index].kill()

    def pause_node(self, index: int) -> None:
        """Let node `index` stand still: it keeps its connections and answers nothing."""
        self._nodes[index].pause()

    def resume_node(self, index: int) -> None:
        """Let it go on."""
        self._nodes[index].resume()

    def restart_node(self, index: int) -> None:
        """Start a killed node on its old port and return when it has caught up with those that run."""
        self._restart([self._nodes[index]])

    def restart_killed(self) -> None:
        """Start every killed node again; return when all have caught up."""
        self._restart([node for node in self._nodes if not node.was_started])

    def _restart(self, killed: Sequence[Node]) -> None:
        for node in killed:
            node.start()
        if killed:
            running = [node for node in self._nodes if node.was_started]
            wait_until_ready(running, self._entrance(running))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait_for_end(self) -> None:
        while running := [node for node in self._nodes if node.was_started]:
            for node in running:
                if node.has_ended:
                    node.wait()
            # The last of three has nobody to hand the controller's office to, and tries for 5 s.
            if 1 == len(running) < self._count and running[0].has_closed_its_data:
                running[0].kill()
            time.sleep(PAUSE_SECONDS)

    def _settings_of(self, address: Address) -> dict[str, str]:
        secured = self.security.properties(address) if self.security is not None else {}
        return {**secured, **self._settings}

    def _entrance(self, nodes: Sequence[Node]) -> Entrance:
        if self.security is None:
            return Entrance([(node.address.host, node.address.port) for node in nodes])
        places = [("127.0.0.1", node.address.broker_port) for node in nodes]
        return Entrance(places, self.security.context(), self.security.mutual_tls("admin"))

    def _addresses(self) -> list[Address]:
        """Where the nodes will listen; among themselves always on free ports."""
        ports = self._client_ports()
        spare = iter([port for port in free_ports(3 * self._count) if port not in ports])
        return [
            Address(index, self._host, port, next(spare), next(spare)) for index, port in enumerate(ports)
        ]

    def _client_ports(self) -> list[int]:
        try:
            if self._port is None:
                return free_ports(self._count, self._host)
            wanted = range(self._port, self._port + self._count)
            if wanted[-1] > 65535:
                raise UsageError(f"{self._count} nodes need ports up to {wanted[-1]}: give a lower --port")
            busy = taken(self._host, wanted)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {self._host}, port {self._port or 'any'}: {error.strerror or error}; "
                "give an address of this machine with --host and a port above 1023 with --port"
            ) from error
        if busy:
            raise UsageError(
                f"port {busy[0]} on {self._host} is taken by another program: "
                "stop that one or give another port with --port"
            )
        return list(wanted)

    def _format(self, on_progress: Callable[[str], None]) -> None:
        new = [node for node in self._nodes if node.prepare()]
        if new:
            on_progress(f"preparing the data folder {self.data_dir}")
        for node in new:
            node.finish_format()
