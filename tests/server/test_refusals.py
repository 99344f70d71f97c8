"""Refused records are written down by whoever has their shard, whenever it gets it, and only once by each."""

from __future__ import annotations

from fdstream.events import Effects
from fdstream.messages import Message, Refusal, Rejected
from fdstream.server.refusals import MAX_REJECTED_PER_REASON, Refusals
from fdstream.topics import table
from tests.server.records import Tape, closed, federation, round_opened
from tests.server.serving import joined, written


class Scene:
    """Refusals of a tape's records."""

    def __init__(self) -> None:
        self.refusals = Refusals()
        self.tape = Tape()

    def refuse(self, round_number: int, partition: int = 0, topic: str = table.SHARDS) -> int:
        """Refuse one more record; how many of its reason there were."""
        entry = self.tape.entry(topic, Refusal("truncated", ""), partition)
        told = self.refusals.add(entry, "truncated", "after 3 bytes", round_number)
        assert told.name == "rejected"
        return int(str(told.facts["count"]))

    def write(self, shards: set[int], round_number: int) -> list[tuple[int, int]]:
        """What is written down: partition and offset."""
        return places(self.refusals.write(shards, round_number))


def places(effects: Effects) -> list[tuple[int, int]]:
    return [(each.partition, each.offset) for each in written(effects, Rejected)]


def test_the_owner_of_a_shard_writes_down_what_was_refused_of_it_once() -> None:
    scene = Scene()
    scene.refuse(1, partition=0)
    scene.refuse(1, partition=1)
    scene.refuse(1, partition=1)
    assert scene.write({1, 2}, 1) == [(1, 0), (1, 1)]
    assert scene.write({1, 2}, 1) == []
    assert scene.write({0, 1}, 1) == [(0, 0)]


def test_who_gets_a_shard_writes_down_what_it_refused_in_this_round_and_the_one_before() -> None:
    scene = Scene()
    for number in (1, 2, 3):
        scene.refuse(number)
    assert scene.write(set(), 3) == []
    assert scene.write({0}, 3) == [(0, 1), (0, 2)]


def test_what_others_have_had_two_rounds_to_write_down_is_forgotten() -> None:
    scene = Scene()
    scene.refuse(1)
    assert scene.write({0}, 3) == []


def test_each_round_counts_and_caps_anew() -> None:
    scene = Scene()
    counts = [scene.refuse(1) for _ in range(MAX_REJECTED_PER_REASON + 5)]
    assert counts == list(range(1, MAX_REJECTED_PER_REASON + 6))
    assert scene.refuse(2) == 1
    assert scene.write({0}, 2) == [(0, n) for n in (*range(MAX_REJECTED_PER_REASON), counts[-1])]


def test_a_server_that_takes_over_writes_down_what_was_nobodys() -> None:
    """Between two coordinators both read control, and neither has shard 0."""
    scene = joined(federation(), round_opened(), shards=())
    assert places(scene.unreadable(table.CONTROL)) == []
    assert places(scene.assign(0)) == [(0, 2)]
    assert places(scene.assign(0)) == []


def test_a_server_that_starts_leaves_to_its_predecessors_what_is_older_than_a_round() -> None:
    bad = Refusal("truncated", "")
    rounds: list[Message | Refusal] = [
        round_opened(),
        closed(),
        round_opened(2),
        bad,
        closed(2),
        round_opened(3),
    ]
    scene = joined(federation(), bad, *rounds, shards=())
    assert places(scene.assign(0)) == [(0, 5)]
