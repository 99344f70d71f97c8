"""The page as people see it, in a real Chromium, of federations on a log in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fdstream.dashboard.document import changes
from fdstream.dashboard.page import in_one_file, script
from fdstream.log import MemoryLog
from fdstream.messages import Rejected
from fdstream.serde.avro import encode
from fdstream.server import coordinator
from fdstream.topics import table
from tests.cluster.processes import wait_until
from tests.dashboard.conftest import Watched
from tests.dashboard.stage import Stage, read, served

HOSTILE = "<img src=x onerror=alert(1)>"


def counts(page: Page) -> dict[str, int]:
    """How many clients are in each state, as the legend says."""
    found: list[list[str]] = page.eval_on_selector_all(
        "[data-state]", "all => all.map(each => [each.dataset.state, each.dataset.count])"
    )
    return {state: int(count) for state, count in found if count != "0"}


def wait_for_counts(page: Page, expected: dict[str, int]) -> None:
    for state, count in expected.items():
        expect(page.locator(f'[data-state="{state}"]')).to_have_attribute("data-count", str(count))
    assert counts(page) == expected


def test_rounds_advance_clients_go_and_refusals_say_why(watched: Watched) -> None:
    with Stage("ada", "bob", "cyd", HOSTILE, min_clients=3) as stage:
        stage.beat("server-a", "collecting", role="server", shards="0 1")
        stage.report(1)
        stage.fail(f"no data {HOSTILE}")
        with served(stage.broker, "wards") as url:
            page = watched.open(url)
            expect(page.locator("h1")).to_have_text("wards")
            expect(page.locator("#round-text")).to_have_text("round 1 of 3")
            expect(page.locator(".link-state")).to_have_text("live")
            wait_for_counts(page, {"reported": 1, "refused": 1, "waiting": 2})
            expect(page.locator("#detail")).to_contain_text(f"bob it failed: no data {HOSTILE}")
            expect(page.locator('#people tr[data-name="bob"] .reason')).to_have_text(
                f"it failed: no data {HOSTILE}"
            )
            expect(page.locator(".server")).to_contain_text("server-a")

            stage.report(2)
            stage.run_round()
            expect(page.locator("#round-text")).to_have_text("round 2 of 3")
            stage.beat("dee", "training", period="0.1")
            wait_for_counts(page, {"reported": 4, "training": 1})
            wait_for_counts(page, {"reported": 4, "gone": 1})  # it beats no more
            expect(page.locator("#events")).to_contain_text("client dee vanished")
            record = Rejected(table.updates(0), 1, 7, HOSTILE, "truncated", "says 900 bytes and has 12")
            MemoryLog(stage.broker).append(table.REJECTED, 0, encode(record))
            expect(page.locator("#refused .records")).to_contain_text(f"{HOSTILE} truncated")
            assert page.locator("img").count() == 0

            stage.to_the_end()
            expect(page.locator(".phase")).to_have_text("finished")
            expect(page.locator("#spoken")).to_contain_text("all 3 rounds are done")
        expect(page.locator(".link-state")).to_have_text("reconnecting")
        watched.complaints[:] = [said for said in watched.complaints if "ERR_CONNECTION_REFUSED" not in said]


def finished_document(*clients: str, **settings: Any) -> dict[str, Any]:
    with Stage(*clients, **settings) as stage:
        stage.to_the_end()
    return changes(read(stage.broker).chronicle, 0, name="wards")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A federation that is over, as a file; its first rounds' reports are deleted."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coordinator, "KEPT_SECONDS", 0.0)
        document = finished_document("ada", "bob", num_rounds=6, keep_rounds=2)
    path.write_text(in_one_file(document), "utf-8")
    return path


def test_a_report_is_a_page_of_its_own(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    expect(page.locator(".phase")).to_have_text("finished")
    expect(page.locator(".link-state")).to_have_text("saved page")
    expect(page.locator("#facts")).to_contain_text("fedavg")
    expect(page.locator("#events")).to_contain_text("clients ada, bob joined")
    assert page.locator("#facts code").count() == 7  # a hash a round
    assert page.locator("#timeline .round").count() == 7
    assert page.locator("#curves .line-evaluate").count() == 1
    expect(page.locator('[data-link="received"] b')).to_have_text("128 B")
    expect(page.get_by_text("Save report")).to_have_count(0)


def test_rounds_are_gone_through_with_keys_slider_and_clicks(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    title = page.locator("#detail-title")
    expect(title).to_have_text("Round 7, evaluation of the final model")
    for key, expected in (
        ("ArrowLeft", "Round 6"),
        ("Home", "Round 1"),
        ("ArrowRight", "Round 2"),
        ("l", "Round 7"),
    ):
        page.keyboard.press(key)
        expect(title).to_contain_text(expected)
    page.locator('[data-round="1"]').click()
    expect(page.locator("#detail .note").first).to_contain_text("no longer in the log: with --keep-rounds 2")
    expect(page.locator("#picture-note")).to_have_text("as round 1 left them")
    page.locator("input[type=range]").press("ArrowRight")
    expect(title).to_have_text("Round 2")
    page.get_by_role("button", name="Last", exact=True).click()
    expect(title).to_contain_text("Round 7")


def test_clients_are_found_filtered_and_chosen(watched: Watched, report: Path) -> None:
    page = watched.open(report)
    rows = page.locator("#people tbody tr")
    expect(rows).to_have_count(2)
    page.keyboard.press("/")
    page.keyboard.type("bo")
    expect(rows).to_have_count(1)
    page.get_by_role("button", name="bob").click()
    expect(page.locator("#curves .key-client")).to_have_text("bob")
    expect(page.locator("#picture .client.chosen")).to_contain_text("bob")
    page.locator('[data-state="gone"]').click()
    expect(rows).to_have_count(0)
    page.locator(".filter-chip").click()
    expect(rows).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_follow_the_system_until_chosen(watched: Watched, report: Path, scheme: Any) -> None:
    watched.page.emulate_media(color_scheme=scheme)
    page = watched.open(report)
    background = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(background)
    assert (sum(map(int, before.strip("rgb()").split(","))) < 200) is (scheme == "dark")
    page.keyboard.press("t")
    assert page.evaluate(background) != before

    def remembered() -> bool:  # a new process of the browser's may not have at once what the old one stored
        page.reload()
        return bool(page.evaluate(background) != before)

    wait_until("what was chosen remembered", remembered)
    page.keyboard.press("t")  # what the system has is not remembered
    assert page.evaluate(background) == before
    assert page.evaluate("localStorage.length") == 0


@pytest.mark.parametrize("width", [360, 700, 1280, 1900])
def test_nothing_stands_out_of_the_page_at_any_width(watched: Watched, report: Path, width: int) -> None:
    watched.page.set_viewport_size({"width": width, "height": 800})
    page = watched.open(report)
    expect(page.locator(".phase")).to_have_text("finished")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_motion_is_left_out_for_those_who_ask(watched: Watched) -> None:
    watched.page.emulate_media(reduced_motion="reduce")
    with Stage("ada", "bob") as stage:
        stage.beat("ada", "training")
        with served(stage.broker) as url:
            page = watched.open(url)
            mark = page.locator(".client .mark-training")
            expect(mark).to_have_count(1)
            assert mark.evaluate("each => getComputedStyle(each).animationName") == "none"


def test_a_thousand_clients_are_cells(watched: Watched, tmp_path: Path) -> None:
    document = finished_document("ada", num_rounds=1)
    (party,) = (each for each in document["parties"] if each["role"] == "client")
    states = ("waiting", "training", "uploading", "reported", "refused", "gone")
    document["parties"] = [party | {"name": f"device-{i:04}", "state": states[i % 6]} for i in range(1000)]
    path = tmp_path / "report.html"
    path.write_text(in_one_file(document), "utf-8")
    page = watched.open(path)
    expect(page.locator("#picture-note")).to_have_text("0 servers, 1,000 clients")
    assert page.locator("#picture .client").count() == 0
    assert page.locator("#picture .cell").count() == 6
    assert sum(counts(page).values()) == 1000
    assert page.locator("#people tbody tr").count() == 60
    box = page.locator(".cells").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 4, box["y"] + 4)
    expect(page.locator("#curves .key-client")).to_have_text("device-0000")


UNIT_TESTS = """
const { bytes, duration, metricValue } = module_format;
const { extent, linear, ticks } = module_scale;
const { apply, newStore } = module_store;
const { place, cellAt, cellCentre } = module_layout;
const round = (number, more) => ({ number, rows: "kept", judged: [], published: [], closed: null, ...more });
const nothing = { first_round: 1, rounds: [], rows: [], global: [], parties: [], events: [], now: 0 };
const change = (more) => ({ ...nothing, ...more });
const store = newStore();
const first = apply(store, change({ rounds: [round(1)], rows: [[1, "a", 2, 3, "reported", "", {}, {}]] }));
const second = apply(store, change({ rounds: [round(1, { published: [0, 2], closed: 9 })] }));
const again = apply(store, change({ rounds: [round(1, { published: [0, 2], closed: 9 })] }));
apply(store, change({ first_round: 2, rounds: [round(2)] }));
const inside = (placed, w, h) => placed.circles.every((c) => c.x > 0 && c.x < w && c.y > 0 && c.y < h);
const cells = place(860, 500, 2, 1000).cells;
return {
  bytes: [bytes(999), bytes(1000), bytes(38912), bytes(12e6), bytes(2.5e15)],
  durations: [duration(0.0123), duration(5), duration(61), duration(3600 * 5)],
  metrics: [metricValue("accuracy", 0.975), metricValue("loss", 0.12345), metricValue("loss", 1e-5)],
  ticks: [ticks(0, 1, 5), ticks(0.2, 0.9, 3), ticks(3, 3, 3)],
  linear: [linear(0, 10, 100, 200)(5), linear(4, 4, 0, 1)(4)],
  extent: extent([1, 3]).map((each) => each.toFixed(2)),
  happened: [first, second, again].map((all) => all.map((each) => each.kind)),
  forgotten: [store.rounds.has(1), store.rows.has(1)],
  inside: [1, 2, 10, 17, 64].map((n) => inside(place(860, 500, 3, n), 860, 500)),
  cells: [0, 1, 500, 999].map((index) => { const at = cellCentre(cells, index); return cellAt(cells, at.x, at.y); }),
  outside: cellAt(cells, 0, 0),
};
"""


def test_the_pages_arithmetic(chromium: Any) -> None:
    """The modules without the page: joined up to the one that puts it together."""
    page = chromium.new_page()
    modules = script().rpartition("const module_main = ")[0]
    found = page.evaluate(f"() => {{ {modules} {UNIT_TESTS} }}")
    page.close()
    assert found == {
        "bytes": ["999 B", "1.0 kB", "38.9 kB", "12.0 MB", "2.5 PB"],
        "durations": ["12 ms", "5.00 s", "61.0 s", "5 h"],
        "metrics": ["97.5 %", "0.123", "1.00e-5"],
        "ticks": [pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1]), [0.5], [3]],
        "linear": [150, 0],
        "extent": ["0.88", "3.12"],
        "happened": [["opened", "reported"], ["published", "closed"], []],
        "forgotten": [False, False],
        "inside": [True] * 5,
        "cells": [0, 1, 500, 999],
        "outside": -1,
    }
