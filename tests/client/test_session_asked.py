"""When a client is asked: sampling, joining late, and reporting again after an extension."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from random import Random

import numpy as np

from fdstream.client.session import MAX_TRIES, Outcome, Session, is_sampled
from fdstream.events import Entry, Follow, Tell, Tick, Upload, Uploaded
from fdstream.log import Record
from fdstream.messages import (
    Message,
    Refusal,
    RoundOpened,
)
from fdstream.topics import table
from tests.client.scene import (
    NONCE,
    SAMPLING_NONCE,
    History,
    Pages,
    Scene,
    closing,
    extended,
    followed,
    only_upload,
    report_of,
    trained,
)

CONTROL_START = [Follow(table.CONTROL, 0, 0)]


# Sampling


def share(client: str) -> Fraction:
    """The client's place between 0 and 1 by exact arithmetic."""
    digest = hashlib.sha256(SAMPLING_NONCE + client.encode("utf-8")).digest()
    return Fraction(int.from_bytes(digest[:8], "big"), 2**64)


def test_a_client_is_asked_if_its_place_lies_below_the_fraction() -> None:
    random = Random(1)
    clients = [f"klient-{number}-ž" for number in range(300)]
    for fraction in [1e-9, 0.1, 0.5, 1.0, *(random.random() for _ in range(20))]:
        asked = [client for client in clients if is_sampled(SAMPLING_NONCE, client, fraction)]
        assert asked == [client for client in clients if share(client) < Fraction(fraction)]


def test_the_place_is_compared_as_the_integer_it_is() -> None:
    for number in range(200):
        client = f"c{number}"
        nearest = float(share(client))
        for fraction in (nearest, np.nextafter(nearest, 0.0), np.nextafter(nearest, 1.0)):
            assert is_sampled(SAMPLING_NONCE, client, float(fraction)) == (share(client) < Fraction(fraction))


def test_a_client_at_the_fraction_itself_is_not_asked() -> None:
    client = next(c for c in map(str, range(99_999)) if Fraction(float(share(c))) == share(c))
    fraction = float(share(client))
    assert not is_sampled(SAMPLING_NONCE, client, fraction)
    assert is_sampled(SAMPLING_NONCE, client, float(np.nextafter(fraction, 1.0)))


def test_another_nonce_asks_other_clients() -> None:
    clients = [f"c{number}" for number in range(100)]
    asked = [[c for c in clients if is_sampled(nonce * 16, c, 0.5)] for nonce in (b"a", b"b")]
    assert asked[0] != asked[1]
    assert all(30 < len(some) < 70 for some in asked)


def test_of_several_clients_on_a_connection_the_asked_are_due() -> None:
    clients = [f"c{number}" for number in range(40)]
    scene = Scene(*clients, fraction=0.3)
    due = scene.begin(1)
    assert due == [client for client in clients if share(client) < Fraction(0.3)]
    assert 0 < len(due) < len(clients)


def test_where_nobody_is_asked_no_model_is_read() -> None:
    stranger = next(name for name in map(str, range(99)) if share(name) >= Fraction(1, 2))
    scene = Scene(stranger, fraction=0.5)
    assert scene.open(1) == []
    assert scene.session.due() == []


def test_an_extension_asks_more_clients() -> None:
    clients = [f"c{number}" for number in range(40)]
    scene = Scene(*clients, fraction=0.1)
    first = scene.begin(1)
    for client in first:
        scene.answer(client, trained(1))
    scene.session.release()
    assert scene.session.due() == []
    assert followed(scene.see(extended(1, 1, fraction=0.5))) == {table.model(1): [0, 1]}
    scene.receive(1)
    more = [client for client in clients if share(client) < Fraction(1, 2) and client not in first]
    assert more
    assert scene.session.due() == more


def test_extensions_take_effect_in_the_order_of_their_numbers() -> None:
    client = next(c for c in map(str, range(99)) if Fraction(2, 10) < share(c) < Fraction(4, 10))
    scene = Scene(client, fraction=0.1)
    scene.begin(1)
    assert scene.see(extended(1, 2, fraction=0.5)) == []
    assert followed(scene.see(extended(1, 1, fraction=0.2))) == {table.model(1): [0, 1]}


# Joining


def test_a_session_begins_with_the_history() -> None:
    session = Session(["a"], lambda: bytes(16))
    assert session.begin() == CONTROL_START
    assert (session.due(), session.finished) == ([], False)


def test_a_client_that_is_there_before_the_federation_waits_for_it() -> None:
    session, pages = Session(["a"], lambda: bytes(16)), Pages()
    history = History()
    assert session.step(pages.control(history.round_opened(1))) == []
    assert session.step(pages.control(history.opened)) == []
    both = {table.model(1): [0, 1], table.model(0): [0, 1]}
    assert followed(session.step(pages.control(history.round_opened(1)))) == both


def test_a_late_joiner_works_on_the_current_round_alone() -> None:
    history = History()
    messages: list[Message] = [history.opened]
    for number in (1, 2, 3):
        messages += [history.round_opened(number), closing(number), history.closed(number)]
    messages.append(history.round_opened(4))
    session = Session(["a"], lambda: bytes(16))
    effects = [e for message in messages for e in session.step(history.pages.control(message))]
    starts = [model.start for model in history.models[4]]
    assert starts == [3, 2]  # version 2 lies before it in the same slot
    assert effects[-2:] == [Follow(table.model(0), shard, start) for shard, start in enumerate(starts)]
    for version in (1, 2, 3):
        for entry in history.chunks[version]:
            session.step(entry)
    assert session.due() == []
    for entry in history.chunks[4]:
        session.step(entry)
    assert session.due() == ["a"]
    (upload,) = session.report("a", Outcome(failure="no"))
    assert isinstance(upload, Upload)
    assert report_of(upload).round == 4


def test_a_joiner_between_a_closing_and_the_next_round_waits() -> None:
    scene = Scene("a")
    scene.see(scene.history.round_opened(1), closing(1))
    scene.receive(1)
    assert scene.session.due() == []


def test_only_the_first_round_opened_of_a_number_counts() -> None:
    scene = Scene("a")
    first = scene.history.round_opened(1)
    copy = RoundOpened(NONCE, 1, True, first.model, (5, 5), 5, (5, 5), b"y" * 16, bytes(32))
    scene.see(first)
    assert scene.see(copy) == []
    scene.receive(1)
    assert scene.answer("a", trained(1)).round_offset == 1


def test_what_nobody_can_read_or_sent_for_others_moves_nothing() -> None:
    scene = Scene("a")
    opened = scene.history.round_opened(1)
    stranger = RoundOpened(b"o" * 16, 1, True, opened.model, (0, 0), 0, (0, 0), b"y" * 16, bytes(32))
    assert scene.see(stranger) == []
    refused = Entry(Record(table.CONTROL, 0, 9, 1.0, b"?"), Refusal("not a record", ""))
    assert [type(effect) for effect in scene.session.step(refused)] == [Tell]
    assert scene.session.step(Tick(1e9)) == []
    assert scene.session.due() == []


# Reporting again


def test_an_excluded_client_reports_again_twice_at_most_each_time_under_a_new_attempt() -> None:
    scene = Scene("a")
    scene.begin(1)
    attempts = set()
    for number in range(MAX_TRIES):
        assert scene.session.due() == ["a"]
        attempts.add(scene.answer("a", trained(1), offset=10 + number).attempt)
        assert scene.session.due() == []
        scene.see(closing(1, number + 1), extended(1, number + 1, 10 + number))
    assert len(attempts) == MAX_TRIES == 3
    assert scene.session.due() == []
    scene.close(1)
    assert scene.begin(2) == ["a"]


def test_failures_count_as_tries_too() -> None:
    scene = Scene("a")
    scene.begin(1)
    for number in range(MAX_TRIES):
        assert scene.session.due() == ["a"]
        scene.answer("a", Outcome(failure="no"), offset=number)
        assert scene.session.due() == []
        scene.see(extended(1, number + 1))
    assert scene.session.due() == []


def test_only_who_is_excluded_reports_again() -> None:
    scene = Scene("a", "b", "c")
    scene.begin(1)
    for offset, client in enumerate(["a", "b", "c"]):
        scene.answer(client, trained(1), offset=20 + offset)
    scene.see(extended(1, 1, 20, 22, 99))
    assert scene.session.due() == ["a", "c"]


def test_an_exclusion_is_answered_once() -> None:
    scene = Scene("a")
    scene.begin(1)
    scene.answer("a", trained(1), offset=1)
    scene.see(extended(1, 1, 1))
    scene.answer("a", trained(1), offset=2)
    assert scene.session.due() == []
    scene.see(extended(1, 2))
    assert scene.session.due() == []
    scene.see(extended(1, 3, 1))  # of its report before
    assert scene.session.due() == []
    scene.see(extended(1, 4, 2))
    assert scene.session.due() == ["a"]


def test_an_extension_while_a_report_is_on_its_way_is_answered_after_it() -> None:
    scene = Scene("a")
    scene.begin(1)
    upload = only_upload(scene.session.report("a", Outcome(failure="no data")))
    scene.session.release()
    assert scene.see(extended(1, 1)) == []
    assert scene.session.due() == []
    acked = Uploaded(upload.tag, {0: 3})
    assert followed(scene.session.step(acked)) == {table.model(1): [0, 1]}
    assert scene.session.due() == []
    scene.receive(1)
    assert scene.session.due() == ["a"]


def test_who_reports_again_gets_the_model_again() -> None:
    scene = Scene("a")
    scene.begin(1)
    scene.answer("a", trained(1), offset=1)
    scene.session.release()
    assert followed(scene.see(extended(1, 1, 1))) == {table.model(1): [0, 1]}
    scene.receive(1)
    assert scene.session.due() == ["a"]
