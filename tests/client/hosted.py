"""A federation that a server leads, for one thread: the server moves whenever somebody waits for records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from fdstream.client.connection import Connection, Task
from fdstream.driver import Driver
from fdstream.dtypes import Array
from fdstream.events import Tell
from fdstream.heartbeats import Heartbeats
from fdstream.layout import Layout
from fdstream.log import Lost, MemoryBroker, MemoryLog, Record
from fdstream.messages import ConfigValue, Heartbeat, Message, Report, Settings
from fdstream.serde.avro import decode
from fdstream.server.opening import Proposal
from fdstream.server.server import Server
from fdstream.signatures import SigningKey
from fdstream.topics import table
from fdstream.trust import ANYBODY, Trust
from tests.client.scene import SETTINGS, weights_of

SHARDS = 2
CHUNK_BYTES = 16
A_LONG_TIME = 3600.0  # between heartbeats: those of joining and leaving are all there are


class Host:
    """One broker, one server, a clock that goes on with every turn of the server."""

    def __init__(
        self,
        *,
        weights: Mapping[str, Array] | None = None,
        config: Mapping[str, ConfigValue] | None = None,
        key: SigningKey | None = None,
        trust: Trust = ANYBODY,
        **settings: Any,
    ) -> None:
        self.now_seconds = 1000.0
        initial = weights if weights is not None else weights_of(1)
        layout = Layout.of(initial, chunk_bytes=CHUNK_BYTES, shards=SHARDS)
        self._proposal = Proposal(
            layout,
            initial,
            federation(**settings, signed_reports=trust.keys is not None),
            config or {},
            federation="mine",
            server_keys=() if key is None else (key.public,),
        )
        topics = table.topic_specs(SHARDS)
        self.broker = MemoryBroker({spec.name: spec.partitions for spec in topics}, lambda: self.now_seconds)
        self.told: list[Tell] = []
        self._ids = 0
        self.server = Server(control_end=0, new_id=self._new_id, trust=trust)
        self._driver = Driver(
            self.server,
            MemoryLog(self.broker),
            tell=self.told.append,
            monotonic=lambda: self.now_seconds,
            key=key,
        )
        self._driver.begin()
        self._driver.perform(self.server.assign(range(SHARDS)))

    def _new_id(self) -> bytes:
        self._ids += 1
        return b"server  " + self._ids.to_bytes(8, "big")

    def turn(self) -> None:
        """Time passes and the server does what there is to do."""
        self.now_seconds += 0.01
        if self.server.needs_proposal:
            self._driver.perform(self.server.propose(self._proposal))
        self._driver.turn(0)

    def until_finished(self) -> None:
        for _ in range(1000):
            if self.server.ledger.finished is not None:
                return
            self.turn()
        raise AssertionError(f"not finished: {self.server.ledger.phase}")

    def connect(
        self,
        *clients: str,
        heartbeats: Heartbeats | None = None,
        config: Mapping[str, ConfigValue] | None = None,
        profile: Mapping[str, str] | None = None,
    ) -> Connection:
        """A connection whose waiting moves the server."""
        beats = heartbeats or Heartbeats(A_LONG_TIME)
        return Connection(HostedLog(self), clients, beats, config=config, profile=profile)

    # What the log holds

    def messages(self, topic: str, partition: int = 0) -> list[Message]:
        """Every record of a partition, all of which can be read."""
        found = [decode(record.value) for record in self.broker.partitions[topic, partition]]
        return [message for message in found if isinstance(message, Message)]

    def reports(self, number: int) -> list[Report]:
        """The reports of a round, in the order of the log."""
        found = self.messages(table.reports(number % table.SLOTS))
        return [message for message in found if isinstance(message, Report) and message.round == number]

    def states(self, member: str) -> list[str]:
        """What a member said it was doing."""
        found = [beat for beat in self.messages(table.MEMBERS) if isinstance(beat, Heartbeat)]
        return [beat.state for beat in found if beat.member == member]


class HostedLog(MemoryLog):
    """A log of the host's broker."""

    def __init__(self, host: Host) -> None:
        super().__init__(host.broker)
        self.host = host
        self.closed = False

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        assert not self.closed
        self.host.turn()
        return super().poll(timeout_seconds)

    def close(self) -> None:
        self.closed = True
        super().close()


def federation(**settings: Any) -> Settings:
    """One client a round, two rounds and a last evaluation, unless said otherwise."""
    return replace(SETTINGS, **({"num_rounds": 2, "max_clients": 1} | settings))


def step(weights: dict[str, Array] | list[Array] | Sequence[Array], by: int) -> Any:
    """Training that adds a whole number to every weight."""
    if isinstance(weights, dict):
        return {name: array + array.dtype.type(by) for name, array in weights.items()}
    return [array + array.dtype.type(by) for array in weights]


def answer(connection: Connection, task: Task, by: int = 1) -> None:
    """Train a little, or evaluate in the last round."""
    if task.training:
        connection.report(step(task.weights, by), 5, {"loss": 0.5})
    else:
        connection.report(None, 0, evaluated_examples=9, evaluate_metrics={"accuracy": 0.75})


def first_task(connection: Connection) -> Task:
    return next(iter(connection))


def answer_all(connection: Connection) -> None:
    """Take part until the federation has finished."""
    for task in connection:
        answer(connection, task)
