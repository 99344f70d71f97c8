"""Rules that read the cohort again: whatever is killed, doubled, delayed or forged, the bytes are the oracle's.

Like `test_nasty`, with a cohort that Krum can work on, one hostile client, and so little room that every round takes
several passes over the log.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from fdstream.server import server, shard
from fdstream.server.rereading import Room
from tests.simulation import test_nasty as nasty
from tests.simulation.seeds import ALL
from tests.simulation.test_hostile import HOSTILE

SEEDS = ALL // 100
BLOCK = 10
CLIENTS = [["ada", "bob"], ["cyd"], ["dan", "eve"], ["fay", HOSTILE]]
MIN_CLIENTS = 5
RULES = [
    ("median", 0.0),
    ("trimmed-mean:0.2", 0.0),
    ("trimmed-mean:beta=0.4", 0.0),
    ("krum:1", 0.0),
    ("multi-krum:1,2", 0.0),
    ("fedavg", 1e-3),
    ("fedavg:lr=0.5", 30.0),
    ("fedadam", 1e3),
    ("fedavgm", 1e6),
]


def check(seed: int) -> None:
    random = Random(f"robust {seed}")
    spelling, clip = random.choice(RULES)
    settings = replace(
        nasty.scenario(seed).settings,
        num_rounds=random.randint(1, 4),
        min_clients=MIN_CLIENTS,
        max_clients=random.randint(MIN_CLIENTS, 7),
        strategy=spelling,
        clip=clip,
    )
    nasty.check(seed, settings=settings, groups=CLIENTS, servers=random.randint(1, 3))


@pytest.mark.parametrize("block", range(max(1, SEEDS // BLOCK)))
def test_every_round_is_what_the_oracle_makes_of_its_cohort(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(block * BLOCK, (block + 1) * BLOCK):
        room_bytes = Random(f"room {seed}").choice([1, 60, 200, 1 << 20])
        monkeypatch.setattr(server, "Room", lambda size=room_bytes: Room(size))
        # At times a shard keeps account of fewer updates than there are clients, as in a flood.
        monkeypatch.setattr(shard, "MORE_UPDATES", Random(f"flood {seed}").choice([-6, -5, -3, 1000]))
        check(seed)
