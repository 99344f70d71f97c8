"""One answer for all who wait for the same, and none for nobody."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from fdstream.dashboard import feed
from fdstream.dashboard.chronicle import Chronicle
from fdstream.dashboard.document import Document, changes
from fdstream.dashboard.feed import Answer, Feed
from tests.dashboard.stage import Stage, read

VIEWERS = 50


def test_an_answer_is_made_once_for_all_who_wait_and_not_at_all_for_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[int] = []

    def counted(chronicle: Chronicle, since: int, *, name: str) -> Document:
        made.append(since)
        return changes(chronicle, since, name=name)

    monkeypatch.setattr(feed, "changes", counted)

    async def watch(stage: Stage) -> None:
        shown = Feed(read(stage.broker), "test")
        running = asyncio.create_task(shown.run())

        async def all_get(since: int) -> Answer:
            waiting = [asyncio.create_task(shown.after(since)) for _ in range(VIEWERS)]
            first, *others = await asyncio.gather(*waiting)
            assert first is not None
            assert all(other is first for other in others)
            assert json.loads(first.document)["revision"] == first.revision
            assert first.event.endswith(b"data: " + first.document.encode() + b"\n\n")
            return first

        whole = await all_get(0)
        waiting = asyncio.create_task(all_get(whole.revision))
        await asyncio.sleep(0)
        stage.report()
        change = await waiting
        assert made == [0, whole.revision]
        stage.report()  # nobody waits
        while shown._reader.chronicle.revision == change.revision:
            await asyncio.sleep(feed.TURN_SECONDS)
        assert len(made) == 2
        shown.stop()
        await running

    # In a thread, as a browser of other tests may have left its loop in this one.
    with Stage("ada", "bob", "cyd") as stage, ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(watch(stage))).result()
