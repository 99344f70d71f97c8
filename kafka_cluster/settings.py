"""What a broker is told: Kafka's properties and the flags of its Java machine. Pure: no files, no processes.

All paths are relative to the cluster's data folder, the working directory of every node: Kafka would split an
absolute one at its commas and read it as Latin-1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

HEAP_MEGABYTES = 512


@dataclass(frozen=True, slots=True)
class Address:
    """One node: its index from 0, where clients reach it, and its ports on loopback.

    `broker_port` is where the nodes of a secured cluster, and its administrator, reach each other.
    """

    index: int
    host: str
    port: int
    controller_port: int
    broker_port: int

    @property
    def node_id(self) -> int:
        return self.index + 1

    @property
    def bootstrap(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def log_dir(self) -> str:
        return f"node-{self.node_id}"

    @property
    def properties_file(self) -> str:
        return f"node-{self.node_id}.properties"

    @property
    def log_file(self) -> str:
        return f"logs/node-{self.node_id}.log"


def broker_properties(
    address: Address, quorum: Sequence[Address], log_dir: str, settings: Mapping[str, str]
) -> str:
    """The content of a node's properties file; `quorum` are all nodes, this one too; `settings` go over ours."""
    ours = _identity(address, quorum) | _replication(len(quorum)) | _GROUPS | _LOGS | _LIMITS
    return "".join(f"{key}={value}\n" for key, value in {**ours, "log.dirs": log_dir, **settings}.items())


def _identity(address: Address, quorum: Sequence[Address]) -> dict[str, object]:
    voters = ",".join(f"{node.node_id}@127.0.0.1:{node.controller_port}" for node in quorum)
    return {
        "process.roles": "broker,controller",
        "node.id": address.node_id,
        "listeners": f"BROKER://{address.bootstrap},CONTROLLER://127.0.0.1:{address.controller_port}",
        "advertised.listeners": f"BROKER://{address.bootstrap}",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        # Static voters: unlike dynamic ones they are not in the log, so a restart may use other ports.
        "controller.quorum.voters": voters,
    }


def _replication(replicas: int) -> dict[str, object]:
    in_sync = 2 if replicas >= 3 else 1
    return {
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "unclean.leader.election.enable": "false",
        # A killed node is given up after this long (9 s by default).
        "broker.session.timeout.ms": 6000,
        "broker.heartbeat.interval.ms": 1000,
    }


_GROUPS: dict[str, object] = {
    "group.initial.rebalance.delay.ms": 0,
    # Tests kill members and wait for the group to notice: the client may ask for as little as this.
    "group.min.session.timeout.ms": 1000,
    "group.consumer.session.timeout.ms": 6000,
    "group.consumer.min.session.timeout.ms": 1000,
    "group.consumer.heartbeat.interval.ms": 1000,
    "group.consumer.min.heartbeat.interval.ms": 500,
    "offsets.topic.num.partitions": 3,
    "offsets.topic.segment.bytes": 16 << 20,
    "transaction.state.log.num.partitions": 3,
}

_LOGS: dict[str, object] = {
    # The protocol compares broker timestamps with broker timestamps.
    "log.message.timestamp.type": "LogAppendTime",
    "auto.create.topics.enable": "false",
    # Deleted records leave the disk within seconds, not minutes.
    "log.initial.task.delay.ms": 5000,
    "log.retention.check.interval.ms": 5000,
    "log.segment.delete.delay.ms": 1000,
}

_LIMITS: dict[str, object] = {
    "num.network.threads": 3,
    "num.io.threads": 8,
    # Hundreds of clients sending 1 MB requests at once must not fill the heap: the rest waits in the sockets.
    "queued.max.request.bytes": (HEAP_MEGABYTES << 20) // 4,
}


def java_flags(address: Address) -> list[str]:
    """A machine that starts fast and stays small (about 330 MB resident): C1 compiler, serial collector."""
    return [
        *COMMON_FLAGS,
        f"-Xmx{HEAP_MEGABYTES}m",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile=logs/node-{address.node_id}.crash",
        "-Dlog4j2.configurationFile=log4j2.xml",
        "-Dlog4j2.shutdownHookEnabled=false",
        f"-Dfdstream.log={address.log_file}",
    ]


def format_flags(address: Address) -> list[str]:
    return [
        *COMMON_FLAGS,
        "-Xmx128m",
        "-Dlog4j2.configurationFile=log4j2.xml",
        f"-Dfdstream.log={address.log_file}",
    ]


COMMON_FLAGS = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-Djava.awt.headless=true",
    # Kafka 4.4 unmaps its indexes and loads its codecs in ways that Java 25 warns about on stderr.
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
]
