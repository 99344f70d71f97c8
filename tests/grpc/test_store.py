"""The log in memory keeps what is needed and lets go of the rest; its naive twin is a list that forgets nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest

from fdstream.errors import TransportError
from fdstream.grpc import local
from fdstream.grpc.local import LocalLog
from fdstream.grpc.store import MOST_KEPT, Store
from fdstream.log import Lost, Record
from fdstream.topics import table

TOPICS = {"a": 2, table.MEMBERS: 1}


def store() -> Store:
    return Store(TOPICS, lambda: 5.0)


@pytest.mark.parametrize("seed", range(20))
def test_it_reads_what_a_list_that_forgets_nothing_reads(seed: int) -> None:
    random, made = Random(seed), store()
    twin: list[bytes] = []
    start = 0
    for _ in range(300):
        match random.randrange(3):
            case 0:
                value = random.randbytes(4)
                assert made.append("a", 1, value, b"k") == len(twin)
                twin.append(value)
            case 1:
                wanted = random.randint(0, len(twin) + 2)
                made.delete_before([(("a", 1), wanted)])
                start = max(start, min(wanted, len(twin)))
            case 2:
                offset, most = random.randint(0, len(twin)), random.randint(1, 9)
                found = made.read(("a", 1), offset, most)
                expected = [
                    Record("a", 1, offset + index, 5.0, value, b"k")
                    for index, value in enumerate(twin[offset : offset + most])
                ]
                assert found == (Lost("a", 1, offset) if offset < start else expected)
        assert (made.starts("a"), made.ends("a")) == ([0, start], [0, len(twin)])


def test_what_nobody_reads_does_not_pile_up() -> None:
    made = store()
    for _ in range(MOST_KEPT + 7):
        made.append(table.MEMBERS, 0, b"", b"")
    assert (made.starts(table.MEMBERS), made.ends(table.MEMBERS)) == ([7], [MOST_KEPT + 7])


@pytest.mark.parametrize(("topic", "partition"), [("b", 0), ("a", 2), ("a", -1)])
def test_places_that_do_not_exist_are_said_not_to(topic: str, partition: int) -> None:
    with pytest.raises(TransportError, match="there is no"):
        store().append(topic, partition, b"", b"")
    with pytest.raises(TransportError, match="there is no"):
        store().read((topic, partition), 0, 1)
    with pytest.raises(TransportError, match="there is no"):
        store().listen((topic, partition), lambda: None)


def test_listeners_hear_of_every_append_to_their_place_until_they_leave() -> None:
    made, heard = store(), []

    def listener() -> None:
        heard.append(made.ends("a")[0])  # which takes the lock: nothing is held while it is called

    for _ in range(2):
        made.listen(("a", 0), listener)
    made.append("a", 0, b"", b"")
    made.append("a", 1, b"", b"")
    made.append("a", 0, b"", b"")
    made.leave(("a", 0), listener)
    made.append("a", 0, b"", b"")
    assert heard == [1, 2]


def test_who_waits_is_woken_by_what_it_follows_and_by_acknowledgements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "_LONGEST_WAIT_SECONDS", 60.0)  # so that nothing else ends a wait
    made = store()
    log = LocalLog(made)
    log.follow("a", 1, 0)
    log.poll(0.0)
    acked: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        waits = _waits(log, monkeypatch)
        waiting = pool.submit(log.poll, 60.0)
        assert waits.wait(10)
        made.append("a", 0, b"not followed", b"")
        made.append("a", 1, b"news", b"")
        assert [record.value for record in waiting.result(10) if isinstance(record, Record)] == [b"news"]
        waits.clear()
        waiting = pool.submit(log.poll, 60.0)
        assert waits.wait(10)
        log.append("a", 0, b"", on_ack=acked.append)
        assert waiting.result(10) == []
    assert acked == [1]


def _waits(log: LocalLog, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once the log begins to wait."""
    begun, wait = threading.Event(), log._news.wait

    def waited(timeout: float | None = None) -> bool:
        begun.set()
        return wait(timeout)

    monkeypatch.setattr(log._news, "wait", waited)
    return begun


def test_a_reader_takes_a_bounded_number_at_once_and_loses_none() -> None:
    made = store()
    log = LocalLog(made)
    for _ in range(1000):
        made.append("a", 0, b"", b"")
    log.follow("a", 0, 0)
    batches = [len(log.poll(0.0)) for _ in range(20)]
    assert max(batches) < 100
    assert sum(batches) == 1000
