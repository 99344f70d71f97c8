"""A watch reads up to what was there when it was asked, whoever writes on meanwhile."""

from __future__ import annotations

from fdstream.log import Lost, MemoryBroker, MemoryLog, Record
from fdstream.messages import GlobalEvaluated, Heartbeat
from fdstream.serde.avro import encode
from fdstream.topics import table
from fdstream.watch import Watch
from tests.client.hosted import Host, answer, answer_all, first_task


class SlowLog(MemoryLog):
    """Delivers one record at a time and the history last, as a log far away might."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.in_hand: list[Record | Lost] = []

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        if not self.in_hand:
            found = super().poll(timeout_seconds)
            self.in_hand = sorted(found, key=lambda item: item.topic == table.CONTROL)
        return [self.in_hand.pop(0)] if self.in_hand else []


class NoisyLog(MemoryLog):
    """Somebody writes a heartbeat each time somebody has read."""

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        found = super().poll(timeout_seconds)
        self.append(table.MEMBERS, 0, encode(Heartbeat("busy", "client", "training", 1)))
        return found


def finished() -> Host:
    """A federation of one round that is over."""
    host = Host(num_rounds=1)
    with host.connect("a") as connection:
        answer_all(connection)
    host.until_finished()
    return host


def test_a_watch_of_a_federation_that_nobody_opened_sees_nothing() -> None:
    watch = Watch(MemoryLog(Host().broker))
    watch.catch_up()
    assert watch.watcher.status().phase == "absent"
    assert not watch.finished


def test_a_caught_up_watch_shows_the_current_round() -> None:
    host = Host(min_clients=2, max_clients=2)
    with host.connect("a", "b") as connection:
        tasks = iter(connection)
        for _ in range(3):
            answer(connection, next(tasks))
        watch = Watch(SlowLog(host.broker))
        watch.catch_up()
        status = watch.watcher.status()
    assert (status.phase, status.round, status.reported) == ("collecting", 2, ())
    assert status.train_metrics == {"loss": 0.5}
    assert set(status.members) == {"a", "b"}
    assert not watch.finished


def test_a_watch_shows_how_it_ended() -> None:
    host = finished()
    watch = Watch(SlowLog(host.broker))
    watch.catch_up()
    status = watch.watcher.status()
    assert watch.finished
    assert (status.phase, status.round, status.reported) == ("finished", 2, ("a",))
    assert status.evaluate_metrics == {"accuracy": 0.75}
    assert status.members == {}


def test_a_watch_goes_on_with_what_comes() -> None:
    host = Host(num_rounds=1)
    watch = Watch(MemoryLog(host.broker))
    watch.catch_up()
    with host.connect("a") as connection:
        first_task(connection)
        watch.wait(0)
        assert watch.watcher.status().members == {"a": "client waiting"}
        assert watch.watcher.status().round == 1
    watch.wait(0)
    assert watch.watcher.status().members == {}


def test_catching_up_ends_though_others_write_on() -> None:
    host = Host()
    while host.server.ledger.round == 0:
        host.turn()
    watch = Watch(NoisyLog(host.broker))
    watch.catch_up()
    assert watch.watcher.status().round == 1
    assert watch.watcher.status().members == {"busy": "client training"}


def test_heartbeats_that_the_broker_has_dropped_are_not_waited_for() -> None:
    host = Host(num_rounds=1)
    with host.connect("a") as connection:
        first_task(connection)
    MemoryLog(host.broker).delete_before({(table.MEMBERS, 0): 2})
    watch = Watch(MemoryLog(host.broker))
    watch.catch_up()
    assert watch.watcher.status().round == 1


def test_watching_leaves_nothing_in_the_log() -> None:
    host = Host(num_rounds=1)
    with host.connect("a") as connection:
        answer(connection, first_task(connection))
    before = {place: len(records) for place, records in host.broker.partitions.items()}
    watch = Watch(MemoryLog(host.broker))
    watch.catch_up()
    watch.wait(0)
    assert {place: len(records) for place, records in host.broker.partitions.items()} == before


def test_reports_that_the_broker_has_dropped_are_not_waited_for() -> None:
    host = finished()
    MemoryLog(host.broker).delete_before({(table.reports(0), 0): 1})
    watch = Watch(MemoryLog(host.broker))
    watch.catch_up()
    assert (watch.watcher.status().phase, watch.watcher.status().reported) == ("finished", ())


def evaluated(host: Host, number: int) -> None:
    """What a server writes about the model of a round, at its leisure."""
    record = GlobalEvaluated(host.server.ledger.federation.nonce, number, {"accuracy": 0.5})
    MemoryLog(host.broker).append(table.CONTROL, 0, encode(record))


def test_the_servers_word_on_the_last_model_is_awaited_where_there_were_others() -> None:
    host = finished()
    watch = Watch(MemoryLog(host.broker))
    awaited = []
    for number in (None, 1, 2):
        if number is not None:
            evaluated(host, number)
        watch.catch_up()
        awaited.append(watch.awaits_evaluation)
    assert awaited == [False, True, False]
