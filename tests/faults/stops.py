"""Processes that stand still at a place of the protocol: when a phase begins, before a record or after it.

Nothing in fdstream knows of this. A process is changed from outside at two seams: the log that it opens, and the
function that hears what its core has to tell. It stops itself with SIGSTOP, where it can be killed, or woken later.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdstream.events import Tell
from fdstream.log import OnAck
from fdstream.serde.avro import decode
from fdstream.topics.kafka_log import KafkaLog

DELETION = "deletion"


@dataclass(frozen=True)
class Stop:
    """Where to stand still. Of several processes with the same `marker` only the first does.

    `what` is a phase, a kind of record or `DELETION`; `nth` counts, from 1, how often this process came there.
    """

    when: str  # "at" a phase, "before" or "after" a record; after means that it is acknowledged
    what: str
    nth: int
    marker: Path  # made when it stops, with the process's id in it

    def __str__(self) -> str:
        return f"{self.when} {self.what} {self.nth}"

    @property
    def stopped(self) -> int | None:
        """The id of the process that stands still, once one does."""
        text = self.marker.read_text() if self.marker.exists() else ""
        return int(text) if text else None

    def install(self) -> None:
        """In a process that has not begun: let it stop there."""
        import fdstream.cli.server
        import fdstream.client.connect
        import fdstream.server.start

        place = _Place(self)

        def open_log(*args: Any, **settings: Any) -> StoppingLog:
            return StoppingLog(place, *args, **settings)

        begin = fdstream.cli.server.open_server

        def open_server(app: Any, plan: Any, observe: Callable[[Tell], None], *rest: Any) -> Any:
            def hear(tell: Tell) -> None:
                place.hear(tell)
                observe(tell)

            return begin(app, plan, hear, *rest)

        for module, name, changed in (
            (fdstream.server.start, "KafkaLog", open_log),
            (fdstream.client.connect, "KafkaLog", open_log),
            (fdstream.cli.server, "open_server", open_server),
        ):
            setattr(module, name, changed)


class _Place:
    """Counts how often the process has come to its place."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop
        self._count = 0

    def hear(self, tell: Tell) -> None:
        if tell.name == "phase" and self._stop.when == "at" and tell.facts["phase"].name == self._stop.what:
            self.come()

    def is_of(self, what: str) -> bool:
        return what == self._stop.what and self._stop.when != "at"

    @property
    def waits_for_ack(self) -> bool:
        return self._stop.when == "after"

    def come(self) -> None:
        """The process is there once more."""
        self._count += 1
        if self._count != self._stop.nth:
            return
        try:
            descriptor = os.open(self._stop.marker, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return
        os.write(descriptor, str(os.getpid()).encode())
        os.close(descriptor)
        os.kill(os.getpid(), signal.SIGSTOP)


class StoppingLog(KafkaLog):
    """Knows every record that passes. Heartbeats and refusals pass unseen, as they may come at any time."""

    def __init__(self, place: _Place, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._place = place

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes,
        *,
        key: bytes = b"",
        on_ack: OnAck | None = None,
        droppable: bool = False,
    ) -> bool:
        watched = not droppable and self._place.is_of(type(decode(value)).__name__)
        if watched and not self._place.waits_for_ack:
            self._place.come()
        queued = super().append(topic, partition, value, key=key, on_ack=on_ack, droppable=droppable)
        if watched and self._place.waits_for_ack:
            self.flush()
            self._place.come()
        return queued

    def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        if self._place.is_of(DELETION):
            self._place.come()
        super().delete_before(offsets)
