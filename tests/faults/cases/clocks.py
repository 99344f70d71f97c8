"""Clocks that are wrong: by an hour from the start, or from one moment to the next."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fdstream.messages import RoundClosing, RoundOpened
from fdstream.topics import table
from tests.cluster.starting import Start, starting_python
from tests.faults.case import case
from tests.faults.scene import Scene

DEADLINE_SECONDS = 4


def at(offset_seconds: int, library: Path) -> Start:
    """An interpreter whose wall clock is off by so much; so is what it stamps on records."""
    return starting_python(LD_PRELOAD=str(library), WRONG_CLOCK_SECONDS=str(offset_seconds))


def compile_library(folder: Path) -> Path:
    """What `wrong_clock.c` says."""
    library = folder / "wrong_clock.so"
    source = Path(__file__).parents[1] / "wrong_clock.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


@case("clocks off by an hour", needs=("cc",))
def an_hour_off(scene: Scene) -> None:
    """A server ahead, another behind, clients both ways; rounds close by their deadline, in the broker's time."""
    scene.clients = ("ada", "bob")
    scene.rounds = 3
    scene.options = (*scene.options, "--maxclients", "3", "--deadline", str(DEADLINE_SECONDS))
    library = compile_library(scene.folder)
    starts = [at(offset, library) for offset in (3600, -3600)]
    scene.random.shuffle(starts)
    servers = [scene.server(start=start) for start in starts]
    clients = [scene.client(name, start=start) for name, start in zip(scene.clients, starts, strict=True)]
    scene.end(servers)
    for client in clients:
        assert client.result()["failed"] == 0
    for number in range(1, scene.rounds + 1):
        lasted = _broker_time(scene, RoundClosing, number) - _broker_time(scene, RoundOpened, number)
        assert DEADLINE_SECONDS <= lasted < 60 * DEADLINE_SECONDS, f"round {number} lasted {lasted:g} s"


def _broker_time(scene: Scene, kind: type, number: int) -> float:
    return next(
        entry.record.timestamp_seconds
        for entry in scene.topics.all_entries(table.CONTROL)
        if isinstance(entry.message, kind) and getattr(entry.message, "round", 0) == number
    )
