"""Signed reports: the book of every server holds the same, and a trust list moves candidates alone."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest

from fdstream.events import Entry
from fdstream.fitting import MAX_REPORTS_OF_A_CLIENT
from fdstream.messages import MAX_REFUSED, Exclusion, Report
from fdstream.server.book import ACCEPTED, DUPLICATE, FAILED, ReportBook
from fdstream.signatures import SigningKey
from fdstream.trust import Trust
from tests.server.records import ROUND_OFFSET, an_id, report, round_opened
from tests.signing import ADA, BOB, MALLORY, entry, entry_of, forged

TRUST = Trust({"ada": ADA.public, "bob": BOB.public})
STRANGER = "of a client that is not trusted"
STOLEN = "signed with another key than this client's"
NOT_GENUINE = "its signature does not fit"


def book(trust: Trust = TRUST) -> ReportBook:
    return ReportBook(round_opened(), ROUND_OFFSET, signed=True, trust=trust)


def read(into: ReportBook, *reports: tuple[Report, SigningKey | None] | bytes) -> list[str | None]:
    """Read these as the next reports; what becomes of each."""
    outcomes = []
    for each in reports:
        place = into.next_offset
        made = (
            entry_of(each, topic="reports", offset=place)
            if isinstance(each, bytes)
            else entry(each[0], each[1], topic="reports", offset=place)
        )
        outcomes.append(into.add(made))
    return outcomes


def test_a_report_of_a_known_client_with_its_key_is_taken() -> None:
    scene = book()
    assert read(scene, (report("ada"), ADA), (report("bob"), BOB)) == [ACCEPTED, ACCEPTED]
    assert scene.candidates({}, 9) == (0, 1)
    assert scene.refused() == ()


def test_others_are_refused_with_a_reason_that_their_clients_can_hear() -> None:
    scene = book()
    stolen, twisted = (report("ada", an_id(2)), MALLORY), forged(report("ada", an_id(3)), ADA, MALLORY)
    outcomes = read(scene, (report("ada", an_id(1)), None), (report("eve"), MALLORY), stolen, twisted)
    assert outcomes == ["not signed", STRANGER, STOLEN, NOT_GENUINE]
    assert scene.candidates({}, 9) == ()
    assert scene.refused() == tuple(Exclusion(place, str(why)) for place, why in enumerate(outcomes))


def test_a_thief_cannot_use_up_what_a_client_may_send_nor_its_attempt() -> None:
    scene = book()
    thefts = [(report("ada", an_id(number)), MALLORY) for number in range(MAX_REPORTS_OF_A_CLIENT + 2)]
    assert read(scene, *thefts) == [STOLEN] * 3 + ["too many reports of one client"] * 2
    assert read(scene, (report("mallory", an_id(7)), MALLORY)) == [STRANGER]
    assert read(scene, (report("ada", an_id(7)), ADA), (report("ada", an_id(0)), ADA)) == [
        ACCEPTED,
        DUPLICATE,
    ]


def test_a_failure_is_believed_of_a_known_client_alone() -> None:
    scene = book()
    said = read(scene, (report("ada", failure="no data"), MALLORY), (report("bob", failure="no data"), BOB))
    assert said == [STOLEN, FAILED]
    assert scene.failures == {"bob": "no data"}


def test_a_list_that_changes_judges_the_round_in_hand_anew() -> None:
    scene = book(Trust({"bob": BOB.public}))
    assert read(scene, (report("ada"), ADA), (report("bob"), BOB)) == [STRANGER, ACCEPTED]
    assert scene.turn_to(TRUST) == [(0, ACCEPTED)]
    assert scene.candidates({}, 9) == (0, 1)
    assert scene.turn_to(Trust({"ada": ADA.public})) == [(1, STRANGER)]
    assert scene.candidates({}, 9) == (0,)
    assert scene.refused() == (Exclusion(1, STRANGER),)


def test_what_is_passed_on_of_refusals_is_bounded() -> None:
    scene = book()
    for number in range(MAX_REFUSED + 10):
        read(scene, (report("ada", an_id(number)), None))
    assert [each.report for each in scene.refused()] == list(range(MAX_REFUSED))


LISTS = [Trust({}), TRUST, Trust({"ada": MALLORY.public, "eve": BOB.public})]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_a_server_trusts_it_holds_the_same_reports(seed: int) -> None:
    random = Random(seed)
    entries: list[Entry] = []
    for place in range(30):
        who, by = random.choice(["ada", "bob", "eve"]), random.choice([ADA, BOB, MALLORY, None])
        made = report(who, an_id(random.randrange(12)), num_examples=random.choice([0, 2, 3]))
        entries.append(entry(made, by, topic="reports", offset=place))
    books = [book(trust) for trust in LISTS]
    for each, read_in in product(books, entries):
        each.add(read_in)
    for each, now in product(books[1:], [random.choice(LISTS)]):
        each.turn_to(now)
    assert [each.reports for each in books] == [books[0].reports] * len(books)
    again = book(LISTS[0])
    for read_in in entries:
        again.add(read_in)
    again.turn_to(TRUST)
    fresh = book(TRUST)
    for read_in in entries:
        fresh.add(read_in)
    assert (again.candidates({}, 99), again.refused()) == (fresh.candidates({}, 99), fresh.refused())
