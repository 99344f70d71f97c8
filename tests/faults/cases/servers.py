"""Servers that are killed, stand still, or come and go."""

from __future__ import annotations

from collections.abc import Callable

from fdstream.layout import Layout
from fdstream.messages import Heartbeat, Message, RoundClosed, RoundClosing, RoundOpened
from fdstream.topics import table
from tests.cluster import apps
from tests.cluster.expected import SHARDS
from tests.cluster.processes import CHUNK_BYTES
from tests.faults.case import case
from tests.faults.scene import ROUNDS, Scene
from tests.faults.stops import DELETION, Stop

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
MODEL_CHUNKS = len(Layout.of(apps.initial_weights(0), chunk_bytes=CHUNK_BYTES, shards=SHARDS).chunks)
RECORDS_OF_A_ROUND = 3 + 2 * SHARDS  # closing, closed, opened; a verdict and a result of each shard


def draw_stop(scene: Scene, state: str) -> Stop:
    """A place in this state; which one, and in which round, the seed decides."""
    when, what = scene.random.choice(PLACES[state])
    nth = 1 if what in ONCE else scene.random.randint(1, ROUNDS - 1)
    if state == "ABSENT" and what == "ModelChunk":
        nth = scene.random.randint(1, 4)
    elif what == "ModelChunk":
        nth = MODEL_CHUNKS + scene.random.randint(1, 4)
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
        case(f"{_words} killed in {_state}", short=(_state, _servers) == ("PUBLISHING", 3))(
            kill_in(_state, _servers)
        )


@case("a server stands still for longer than its session, then goes on", short=True)
def zombie(scene: Scene) -> None:
    """Anywhere in a round; it wakes when the others are a round further."""
    scene.rounds = 5
    stop = draw_stop(
        scene, scene.random.choice(["READY", "COLLECTING", "COMPARING", "PUBLISHING", "SEALING"])
    )
    wake(scene, stop)
    scene.end()


def wake(scene: Scene, stop: Stop) -> None:
    """Let the only server stand still there, others go on to the last round, and it wake in the middle of that."""
    sleeper = scene.server(stop=stop)
    scene.everybody(gated=True)
    scene.gate.open(*range(1, scene.rounds))
    scene.keep_up()
    scene.wait_for_stop(stop, [sleeper])
    scene.server()
    scene.wait_for_reports(scene.rounds)
    sleeper.resume()
    member, last = sleeper.member, scene.rounds
    scene.topics.wait(table.MEMBERS, Heartbeat, lambda beat: (beat.member, beat.round) == (member, last))
    scene.open_gates()


def late_record(kind: type[Message]) -> Callable[[Scene], None]:
    def play(scene: Scene) -> None:
        scene.rounds = 5
        number = scene.random.randint(1, 3)
        wake(scene, scene.stop("before", kind.__name__, number))
        scene.topics.wait(table.CONTROL, kind, lambda record: getattr(record, "round", 0) == number, 2)
        scene.end()

    return play


case("a zombie coordinator's late RoundOpened")(late_record(RoundOpened))
case("a zombie coordinator's late RoundClosing")(late_record(RoundClosing))
case("a zombie coordinator's late RoundClosed")(late_record(RoundClosed))


@case("a zombie coordinator's late deletion")
def late_deletion(scene: Scene) -> None:
    scene.rounds, scene.options = 100, ("--keep-rounds", "2")
    wake(scene, scene.stop("before", DELETION, scene.random.randint(1, 3)))
    scene.end()


@case("all servers killed at once and started again")
def all_killed(scene: Scene) -> None:
    servers = [scene.server() for _ in range(3)]
    scene.everybody(gated=True)
    scene.gate.open(1)
    scene.wait_for_reports(2)
    scene.gate.open(2)
    scene.wait_for_records(scene.random.randrange(RECORDS_OF_A_ROUND))
    for server in servers:
        server.kill()
    again = [scene.server() for _ in range(scene.random.randint(1, 3))]
    scene.open_gates()
    scene.end(again)


@case("a server joins and dies every two seconds")
def flapping(scene: Scene) -> None:
    scene.rounds = 8
    steady = scene.server()
    scene.everybody(gated=True)
    deaths = 0
    for number in range(1, scene.rounds + 1):
        flapper = scene.server()
        scene.wait_for_reports(number)
        scene.gate.open(number)
        if not steady.ends_within(2.0):
            flapper.kill()
            deaths += 1
    scene.facts["deaths"] = deaths
    assert deaths > 2
    scene.end([steady])
