"""One reader for any number of viewers: it reads for a moment, then answers all who wait for what is new.

The chronicle is touched by the reading thread during a turn and by the event loop between turns, never by both. A
viewer says which revision it has and gets what came since; so nothing is queued for it, one that is slow or was away
gets fewer and larger answers, and those that have the same revision share one answer, which is made once and sent as
it is. Where nobody waits none is made.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from dataclasses import dataclass

from fdstream import interrupts
from fdstream.dashboard.document import Document, changes
from fdstream.dashboard.reader import Reader

TURN_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Answer:
    """What has changed, for every viewer that had the same revision."""

    revision: int  # that it brings a viewer to
    document: str  # JSON
    event: bytes  # the same as a server-sent event


class Feed:
    """`run` it in one task; viewers await `after`."""

    def __init__(self, reader: Reader, federation: str) -> None:
        self.life = os.urandom(8).hex()  # revisions of another run of the dashboard mean nothing in this one
        self._reader = reader
        self._federation = federation
        self._waiting: dict[int, asyncio.Future[Answer | None]] = {}  # by the revision that the viewers have
        self._stopped = threading.Event()

    async def after(self, since: int) -> Answer | None:
        """What has changed since the revision, once something has; None at the end."""
        if self._stopped.is_set():
            return None
        loop = asyncio.get_running_loop()
        return await asyncio.shield(self._waiting.setdefault(since, loop.create_future()))

    async def whole(self) -> Document:
        """Everything, as it is after the next turn."""
        answer = await self.after(0)
        found: Document = json.loads(answer.document) if answer is not None else {}
        return found

    async def run(self) -> None:
        """Read and answer until stopped. Raises what reading raises; whoever waits is let go."""
        try:
            while not self._stopped.is_set():
                await asyncio.to_thread(self._read)
                self._reader.chronicle.refresh()
                self._answer()
        finally:
            self.stop()

    def stop(self) -> None:
        """Read no more; viewers hear the end."""
        self._stopped.set()
        for future in self._waiting.values():
            if not future.done():
                future.set_result(None)
        self._waiting.clear()

    def _read(self) -> None:
        until = time.monotonic() + TURN_SECONDS
        try:
            with interrupts.heeding(self._stopped):
                while (remaining := until - time.monotonic()) > 0 and not self._stopped.is_set():
                    self._reader.turn(remaining)
        except interrupts.Stopped:
            pass  # `run` sees why

    def _answer(self) -> None:
        revision = self._reader.chronicle.revision
        for since in [since for since in self._waiting if since < revision]:
            document = changes(self._reader.chronicle, since, name=self._federation)
            text = json.dumps(document, allow_nan=False, separators=(",", ":"))
            kind = "change" if since else "whole"
            event = f"id: {self.life}-{revision}\nevent: {kind}\ndata: {text}\n\n".encode()
            self._waiting.pop(since).set_result(Answer(revision, text, event))
