"""Drivers on one memory broker: whole federations in one thread, in the order a quiet day gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fdstream.client.fetch import fetch_version
from fdstream.client.session import Outcome, Session
from fdstream.driver import BrokerClock, Driver
from fdstream.dtypes import payload
from fdstream.events import Tell
from fdstream.ledger import Ledger
from fdstream.log import MemoryBroker, MemoryLog
from fdstream.messages import Settings
from fdstream.serde.avro import encode
from fdstream.server.opening import Proposal
from fdstream.server.server import Server
from fdstream.topics import table
from tests.serde.test_avro import OPENED
from tests.simulation import test_simulation as simulated
from tests.simulation.oracle import fedavg, model_hash


class Town:
    """One broker, one clock, a server and some clients."""

    def __init__(
        self, settings: Settings, clients: list[str], work: Callable[[str, Session], Outcome]
    ) -> None:
        self.now_seconds = 0.0
        self.settings = settings
        self.work = work
        topics = table.topic_specs(simulated.SHARDS)
        self.broker = MemoryBroker({spec.name: spec.partitions for spec in topics}, lambda: self.now_seconds)
        self.told: list[Tell] = []
        self.ids = 0
        self.sessions = [self._drive(Session([name], self._new_id)) for name in clients]
        self.server = self._start()

    def _drive(self, core: Server | Session) -> Driver:
        driver = Driver(
            core, MemoryLog(self.broker), tell=self.told.append, monotonic=lambda: self.now_seconds
        )
        driver.begin()
        return driver

    def _new_id(self) -> bytes:
        self.ids += 1
        return self.ids.to_bytes(16, "big")

    def _start(self) -> Driver:
        end = len(self.broker.partitions[table.CONTROL, 0])
        driver = self._drive(Server(control_end=end, new_id=self._new_id))
        assert isinstance(driver.core, Server)
        driver.perform(driver.core.assign(range(simulated.SHARDS)))
        return driver

    def restart(self) -> None:
        """The server is gone; another begins with nothing but the log."""
        self.server = self._start()

    @property
    def ledger(self) -> Ledger:
        assert isinstance(self.server.core, Server)
        return self.server.core.ledger

    def turn(self) -> None:
        self.now_seconds += 0.01
        core = self.server.core
        assert isinstance(core, Server)
        if core.needs_proposal:
            proposal = Proposal(simulated.layout(), simulated.initial_weights(), self.settings, {"rate": 0.5})
            self.server.perform(core.propose(proposal))
        self.server.turn(0)
        for driver in self.sessions:
            driver.turn(0)
            self._work(driver)

    def _work(self, driver: Driver) -> None:
        session = driver.core
        assert isinstance(session, Session)
        due = session.due()
        for client in due:
            driver.perform(session.report(client, self.work(client, session)))
        if due:
            driver.perform(session.release())

    def run(self, *, restart_every: int = 0) -> None:
        for turn in range(1, 2000):
            if self.ledger.finished is not None:
                return
            if restart_every and turn % restart_every == 0:
                self.restart()
            self.turn()
        raise AssertionError(f"not finished: {self.ledger.phase} of round {self.ledger.round}")


def final_hash(town: Town) -> str:
    assert town.ledger.closed_record is not None
    return town.ledger.closed_record.model_sha256.hex()


def test_a_federation_ends_with_the_oracles_model() -> None:
    town = Town(simulated.settings(), simulated.CLIENTS, simulated.honest)
    town.run()
    assert final_hash(town) == simulated.expected_hash()
    closed = town.ledger.closed_record
    assert closed is not None
    assert (closed.num_clients, closed.evaluate_metrics) == (3, {"loss": 0.5})


@pytest.mark.parametrize("turns", [1, 2, 3, 5, 7])
@pytest.mark.parametrize("strategy", ["fedavg", "fedadam", "fedavgm"])
def test_restarts_show_in_no_byte(strategy: str, turns: int) -> None:
    settings = simulated.settings(strategy=strategy)
    quiet, restless = (Town(settings, simulated.CLIENTS, simulated.honest) for _ in range(2))
    quiet.run()
    # A server that is restarted at every turn never gets to write; two turns are enough for some progress.
    restless.run(restart_every=turns + 3)
    assert final_hash(restless) == final_hash(quiet)


def test_the_final_model_can_be_fetched_by_anyone() -> None:
    town = Town(simulated.settings(), simulated.CLIENTS, simulated.honest)
    town.run()
    weights = simulated.initial_weights()
    for number in range(1, simulated.ROUNDS + 1):
        weights = fedavg(
            weights, [simulated.trained(weights, client, number) for client in simulated.CLIENTS]
        )
    found = fetch_version(MemoryLog(town.broker), town.ledger, simulated.ROUNDS + 1).tensors()
    assert {name: payload(array.reshape(-1)).tobytes() for name, array in found.items()} == {
        name: payload(array.reshape(-1)).tobytes() for name, array in weights.items()
    }
    assert model_hash(simulated.layout(), found) == final_hash(town)


def test_a_client_that_fails_is_waited_for_no_longer_than_the_deadline() -> None:
    def work(client: str, session: Session) -> Outcome:
        return Outcome(failure="no data today") if client == "cyd" else simulated.honest(client, session)

    settings = simulated.settings(min_clients=2, max_clients=3, deadline_seconds=0.2)
    town = Town(settings, simulated.CLIENTS, work)
    town.run()
    assert town.ledger.closed_record is not None
    assert town.ledger.closed_record.num_clients == 2
    outcomes = {tell.facts["outcome"] for tell in town.told if tell.name == "report"}
    assert outcomes == {"accepted", "failed"}


def test_a_federation_gives_up_after_its_extensions() -> None:
    settings = simulated.settings(deadline_seconds=0.2, max_extensions=2)
    town = Town(settings, simulated.CLIENTS[:2], simulated.honest)
    town.run()
    finished = town.ledger.finished
    assert finished is not None
    assert finished.failed
    assert "2 of 3 clients" in finished.reason


def test_an_update_beyond_the_limit_is_a_failure_and_not_a_model() -> None:
    def work(client: str, session: Session) -> Outcome:
        outcome = simulated.honest(client, session)
        if client != "bob" or outcome.weights is None:
            return outcome
        return replace(
            outcome, weights={n: np.asarray(a + 1e38, a.dtype) for n, a in outcome.weights.items()}
        )

    settings = simulated.settings(min_clients=2, max_clients=3, deadline_seconds=0.2)
    town = Town(settings, simulated.CLIENTS, work)
    town.run()
    failed = [t.facts["report"].failure for t in town.told if t.facts.get("outcome") == "failed"]
    assert failed
    assert "infinite or beyond" in failed[0]


def test_garbage_is_written_down_on_rejected_once_it_is_read() -> None:
    town = Town(simulated.settings(), simulated.CLIENTS, simulated.honest)
    while town.ledger.round == 0:
        town.turn()
    slot = table.slot_of(1, table.SLOTS)
    for topic in (table.updates(slot), table.reports(slot), table.CONTROL):
        town.broker.append(topic, 0, b"garbage", b"")
        town.broker.append(topic, 0, encode(OPENED), b"")
    town.run()
    assert final_hash(town) == simulated.expected_hash()
    refused = {tell.facts["topic"] for tell in town.told if tell.name == "rejected"}
    assert refused == {table.updates(slot), table.reports(slot), table.CONTROL}
    assert len(town.broker.partitions[table.REJECTED, 0]) >= 3


def test_the_broker_clock_takes_the_closest_stamp() -> None:
    local = 100.0
    clock = BrokerClock(lambda: local)
    assert clock.now_seconds() == 0.0
    clock.seen(1000.0)
    local = 105.0
    assert clock.now_seconds() == 1005.0
    clock.seen(1004.0)  # read late: it was stamped longer ago than the first one suggests
    assert clock.now_seconds() == 1005.0
