"""Clocks that are wrong: by an hour from the start, or from one moment to the next."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from fdstream.messages import RoundClosing, RoundOpened
from fdstream.topics import table
from tests.cluster.processes import ROOT, Running, Start
from tests.faults.case import case
from tests.faults.scene import Scene

DEADLINE_SECONDS = 4
LIBRARY = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("libfaketimeMT.so.1"))


def at(offset: str) -> Start:
    """An interpreter whose wall clock is off by this, for example `+3600s`; so is what it stamps on records."""

    def start(arguments: list[str], stdout: Path, stderr: Path) -> Running:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FDSTREAM_")}
        environment |= {"LD_PRELOAD": str(LIBRARY), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        with stdout.open("wb") as out, stderr.open("wb") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "fdstream", *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    return start


@case("clocks off by an hour", needs=("faketime",))
def an_hour_off(scene: Scene) -> None:
    """A server ahead, another behind, clients both ways; rounds close by their deadline, in the broker's time."""
    scene.clients = ("ada", "bob")
    scene.rounds = 3
    scene.options = (*scene.options, "--maxclients", "3", "--deadline", str(DEADLINE_SECONDS))
    signs = ["+3600s", "-3600s"]
    scene.random.shuffle(signs)
    servers = [scene.server(start=at(sign)) for sign in signs]
    clients = [scene.client(name, start=at(sign)) for name, sign in zip(scene.clients, signs, strict=True)]
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
