"""A swarm is many members with stable names; its errors end it, and it repeats itself byte for byte."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from fdstream.client.connect import wait_for_federation
from fdstream.client.swarm import OpenLog, Swarm, Totals, Work, run_swarm
from fdstream.errors import FederationFailedError, TransportError, UsageError
from fdstream.examples import synthetic
from fdstream.layout import TensorSpec
from fdstream.log import Log, MemoryBroker, MemoryLog
from fdstream.messages import FederationFinished, FederationOpened, Heartbeat, Settings, ShardModel
from fdstream.serde.avro import decode, encode
from fdstream.server.run import Plan, Summary
from fdstream.server.start import start_server
from fdstream.topics import table
from fdstream.topics.kafka_log import KafkaLog

MODEL_BYTES = 50_003
SETTINGS = Settings(
    num_rounds=3,
    min_clients=6,
    max_clients=6,
    deadline_seconds=600.0,
    max_extensions=0,
    fraction=1.0,
    strategy="fedavg",
    keep_rounds=2,
    seed=0,
    final_evaluation=True,
)
SIX = Swarm(clients=6, seed=7, work=Work(synthetic=True))
SWARM_THREADS = ("ThreadPoolExecutor", "fdstream-heartbeats")


def logs(kafka: str, federation: str) -> OpenLog:
    return lambda clients: KafkaLog(kafka, federation, client_id=clients[0], settings={})


def serve(kafka: str, federation: str, rounds: int) -> Summary:
    plan = Plan(replace(SETTINGS, num_rounds=rounds), 4096, 2, {}, {})
    app = synthetic.app(MODEL_BYTES, 7)
    with start_server(
        kafka, federation, app, plan, kafka={}, heartbeat_period_seconds=1.0, observe=lambda _: None
    ) as run:
        return run.run()


def federate(kafka: str, federation: str, swarm: Swarm, rounds: int = 3) -> tuple[Totals, Summary]:
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(serve, kafka, federation, rounds)
        wait_for_federation(kafka, federation, {})
        totals = run_swarm(swarm, logs(kafka, federation))
        return totals, server.result()


def test_names_are_stable_and_shared_out_in_order() -> None:
    swarm = Swarm(clients=5, seed=7, work=Work(), multiplex=2)
    assert swarm.names[3] == "swarm-7-00003"
    assert [len(group) for group in swarm.groups] == [2, 2, 1]
    assert [name for group in swarm.groups for name in group] == swarm.names


def test_the_same_federation_ends_in_the_same_model(kafka: str) -> None:
    totals, first = federate(kafka, "swarm-first", SIX)
    assert (totals.clients, totals.reported, totals.failed) == (6, 6 * 4, 0)  # the last round evaluates
    assert (first.rounds, first.clients) == (3, 6)
    _, again = federate(kafka, "swarm-again", replace(SIX, multiplex=4))
    _, other = federate(kafka, "swarm-other", replace(SIX, seed=8))
    assert again.model_sha256 == first.model_sha256 != other.model_sha256


def test_echo_changes_nothing(kafka: str) -> None:
    _, one = federate(kafka, "swarm-echo-1", replace(SIX, work=Work()), rounds=1)
    _, two = federate(kafka, "swarm-echo-2", replace(SIX, work=Work()), rounds=2)
    assert one.model_sha256 == two.model_sha256


def test_clients_behind_one_connection_work_at_the_same_time(kafka: str) -> None:
    seconds = 1.5
    swarm = replace(SIX, work=Work(seconds=seconds), multiplex=6)
    totals, _ = federate(kafka, "swarm-sleep", swarm, rounds=1)
    assert seconds <= totals.seconds < 6 * seconds


def test_a_model_of_another_size_ends_the_swarm(kafka: str) -> None:
    with ThreadPoolExecutor(1) as pool:
        server = pool.submit(serve, kafka, "swarm-size", 1)
        wait_for_federation(kafka, "swarm-size", {})
        with pytest.raises(UsageError, match="has 50003 bytes, not the 50000 of --model-size"):
            run_swarm(replace(SIX, model_bytes=50_000), logs(kafka, "swarm-size"))
        run_swarm(replace(SIX, model_bytes=MODEL_BYTES), logs(kafka, "swarm-size"))
        assert server.result().rounds == 1


def test_every_client_is_a_member() -> None:
    broker = memory_broker()
    open_federation(broker, failed=False)
    assert run_swarm(replace(SIX, multiplex=2), lambda _: MemoryLog(broker)).reported == 0
    beats = [decode(record.value) for record in broker.partitions[table.MEMBERS, 0]]
    assert {beat.member for beat in beats if isinstance(beat, Heartbeat)} == set(SIX.names)
    assert [beat.state for beat in beats if isinstance(beat, Heartbeat)].count("gone") == 6


def test_the_first_error_ends_all_threads() -> None:
    broker = memory_broker()

    def open_log(clients: Sequence[str]) -> Log:
        if clients[0].endswith("3"):
            raise TransportError("the broker refuses")
        return MemoryLog(broker)

    with pytest.raises(TransportError, match="the broker refuses"):
        run_swarm(SIX, open_log)
    assert not [t for t in threading.enumerate() if t.name.startswith(SWARM_THREADS)]


def test_a_federation_that_failed_is_an_error() -> None:
    broker = memory_broker()
    open_federation(broker, failed=True)
    with pytest.raises(FederationFailedError, match="nobody came"):
        run_swarm(SIX, lambda _: MemoryLog(broker))


def memory_broker() -> MemoryBroker:
    return MemoryBroker({table.CONTROL: 1, table.MEMBERS: 1}, clock=lambda: 1.0)


def open_federation(broker: MemoryBroker, *, failed: bool) -> None:
    """A federation that was finished before its first round."""
    nonce, id_ = bytes(16), bytes(16)
    model = (ShardModel(id_, 0, id_, 0, id_),)
    tensors = (TensorSpec("weights", "float32", (10,)),)
    opened = FederationOpened(nonce, tensors, 4096, 1, 2, SETTINGS, {}, model)
    for message in (opened, FederationFinished(nonce, 0, 0, failed, "nobody came")):
        broker.append(table.CONTROL, 0, encode(message), b"")
