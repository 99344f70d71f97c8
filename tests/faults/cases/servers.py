"""Servers that are killed, stand still, or come and go."""

from __future__ import annotations

from collections.abc import Callable

from tests.faults.case import case
from tests.faults.scene import ROUNDS, Scene
from tests.faults.stops import Stop

# Each state of the round table, and the places in it where a server can be stopped.
PLACES: dict[str, tuple[tuple[str, str], ...]] = {
    "ABSENT": (("before", "ModelChunk"), ("before", "FederationOpened"), ("after", "FederationOpened")),
    "READY": (("at", "READY"), ("before", "RoundOpened"), ("after", "RoundOpened")),
    "COLLECTING": (("at", "COLLECTING"), ("before", "RoundClosing"), ("after", "RoundClosing")),
    "COMPARING": (("at", "COMPARING"), ("before", "ShardVerdict"), ("after", "ShardVerdict")),
    "PUBLISHING": (
        ("at", "PUBLISHING"),
        ("after", "ModelChunk"),
        ("before", "ShardResult"),
        ("after", "ShardResult"),
    ),
    "SEALING": (("at", "SEALING"), ("before", "RoundClosed"), ("after", "RoundClosed")),
    "FINISHED": (("before", "FederationFinished"), ("after", "FederationFinished"), ("at", "FINISHED")),
}
ONCE = ("FederationOpened", "FederationFinished", "FINISHED")
INITIAL_CHUNKS = 10  # of the model, before it is opened


def draw_stop(scene: Scene, state: str) -> Stop:
    """A place in this state; which one, and in which round, the seed decides."""
    when, what = scene.random.choice(PLACES[state])
    nth = 1 if what in ONCE else scene.random.randint(1, ROUNDS - 1)
    if state == "ABSENT" and what == "ModelChunk":
        nth = scene.random.randint(1, 4)
    elif what == "ModelChunk":
        nth = INITIAL_CHUNKS + scene.random.randint(1, 4)
    return scene.stop(when, what, nth)


def kill_in(state: str, servers: int) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        stop = draw_stop(scene, state)
        started = [scene.server(stop=stop) for _ in range(servers)]
        scene.everybody()
        victim = scene.wait_for_stop(stop, started)
        victim.kill()
        others = [server for server in started if server is not victim]
        if not others or scene.random.random() < 0.5:
            others.append(scene.server())
        scene.end(others)

    return play


for _state in PLACES:
    for _servers, _words in ((1, "the only server"), (3, "one of three servers")):
        case(f"{_words} killed in {_state}", short=(_state, _servers) == ("PUBLISHING", 1))(
            kill_in(_state, _servers)
        )
