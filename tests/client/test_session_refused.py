"""A client whose report the servers did not take hears why, once; one whose records are forged is not led astray."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fdstream.client.session import Session
from fdstream.errors import RemoteError
from fdstream.events import Effects, Tell, Uploaded
from fdstream.messages import Exclusion, Message
from fdstream.signatures import SigningKey
from fdstream.trust import Pins
from tests.server.records import closing, federation, round_opened
from tests.signing import BOB, MALLORY, SERVER, entry

OPENED = replace(federation(), federation="mine", server_keys=(SERVER.public,))
REFUSED = replace(
    closing(ordinal=1), refused=(Exclusion(4, "not signed"), Exclusion(7, "of another federation"))
)


class Scene:
    """A session that reads control, and whose client reported at offset 4."""

    def __init__(self, *pins: SigningKey) -> None:
        keys = frozenset(pin.public for pin in pins)
        self.session = Session(["ada"], lambda: bytes(16), Pins("mine", keys))
        self.offset = 0

    def read(self, message: Message, by: SigningKey | None = SERVER) -> Effects:
        effects = self.session.step(entry(message, by, offset=self.offset))
        self.offset += 1
        return effects

    def reported(self, offset: int = 4) -> Effects:
        return self.session.step(Uploaded(("report", "ada", 1), {0: offset}))


def told(effects: Effects) -> list[tuple[str, object]]:
    return [
        (each.name, each.facts["reason"])
        for each in effects
        if isinstance(each, Tell) and "reason" in each.facts
    ]


@pytest.mark.parametrize("acknowledged_first", [True, False])
def test_a_refusal_is_heard_once_whichever_comes_first(acknowledged_first: bool) -> None:
    scene = Scene()
    scene.read(OPENED)
    scene.read(round_opened())
    heard: Effects = []
    if acknowledged_first:
        heard += scene.reported()
    heard += scene.read(REFUSED)
    heard += scene.reported()
    heard += scene.read(replace(REFUSED, ordinal=2))
    assert told(heard) == [("report refused", "not signed")]


def test_who_was_not_refused_hears_nothing() -> None:
    scene = Scene()
    scene.read(OPENED)
    scene.read(round_opened())
    assert told([*scene.reported(5), *scene.read(REFUSED)]) == []


def test_a_forged_round_is_told_of_and_not_followed() -> None:
    scene = Scene(SERVER)
    scene.read(OPENED)
    for by in (None, MALLORY):
        assert told(scene.read(round_opened(), by)) == [("rejected", "not signed by a server")]
    assert scene.session.ledger.round == 0
    scene.read(round_opened())
    assert scene.session.ledger.round == 1


def test_a_federation_of_others_is_not_taken_part_in() -> None:
    with pytest.raises(RemoteError, match="not with a server key that is trusted here"):
        Scene(BOB).read(OPENED)
