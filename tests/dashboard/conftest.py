"""A real Chromium, once a test process. Where there is none the tests are skipped, but not in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE_MS = 60_000


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrowserContext]:
    """A browser with a profile of its own."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Chromium is missing: .ci/run installs it")
        pytest.skip("needs Chromium: apt-get install chromium")
    folder = tmp_path_factory.mktemp("chromium")
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(folder, executable_path=path, args=FLAGS)
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        yield context
        context.close()


class Watched:
    """A page, and what its console said that it should not have."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None
        )

    def open(self, url: str | Path) -> Page:
        self.page.goto(url.as_uri() if isinstance(url, Path) else url)
        return self.page


@pytest.fixture
def watched(chromium: BrowserContext) -> Iterator[Watched]:
    """A new page, whose console must have stayed silent at the end."""
    found = Watched(chromium.new_page())
    found.page.set_viewport_size({"width": 1280, "height": 900})
    found.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    yield found
    found.page.close()
    assert found.complaints == []
