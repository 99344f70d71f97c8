"""Moments of a process, a JSON line each, for whoever measures a federation: what happened, when, and how much.

Times are seconds since the epoch on this machine's clock, as the broker's LogAppendTime is: on one machine they can
be compared. Counts are complete at a log's end: it stays connected for a moment, so that librdkafka can say its own.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdstream.events import Tell
from fdstream.instruments import Instruments
from fdstream.log import Log
from fdstream.messages import Report, RoundClosed
from fdstream.tally import Tally

LINGER_SECONDS = 1.2
"""A little more than the interval at which who measures asks librdkafka for statistics."""

_COUNTS = {"tx": "sent", "rx": "received", "tx_bytes": "sent_bytes", "rx_bytes": "received_bytes"}
_PLAIN = frozenset({"model received", "reported", "trained"})


class Recorder(Instruments):
    """Writes to an open file, whole lines at once: threads and processes may share it."""

    def __init__(self, file: int) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._statistics: dict[str, str] = {}  # of each handle of librdkafka its last, by its name
        self._messages: Counter[str] = Counter()

    def log(self, log: Log) -> Log:
        """A log that counts records."""
        return Tally(log, self._records, LINGER_SECONDS)

    def hear(self, tell: Tell) -> None:
        """Write it down where it is a moment of a round."""
        match tell.name, tell.facts:
            case name, facts if name in _PLAIN:
                self._write(name, **facts)
            case "report", {"outcome": outcome, "report": Report() as report}:
                self._write("report", client=report.client, round=report.round, outcome=outcome)
            case "round closed", {"record": RoundClosed() as closed}:
                self._write("round closed", round=closed.round, clients=closed.num_clients)
            case "messages", facts:
                with self._lock:
                    self._messages.update(facts)

    def statistics(self) -> Callable[[str], None]:
        """Keeps the last word of each handle; librdkafka numbers those of a process in their names."""
        return self._keep

    def end(self) -> None:
        """Write how many requests, or messages of streams, there were."""
        for text in self._statistics.values():
            told = json.loads(text)
            self._messages.update({name: told[key] for key, name in _COUNTS.items()})
        self._write("requests", **self._messages)

    def _keep(self, text: str) -> None:
        self._statistics[text[: text.index(",")]] = text  # { "name": "client#producer-1", ...

    def _records(self, appended: dict[str, list[int]], read: dict[str, list[int]]) -> None:
        self._write("records", appended=appended, read=read)

    def _write(self, moment: str, **facts: Any) -> None:
        line = json.dumps({"moment": moment, "seconds": time.time(), **facts}, separators=(",", ":"))
        os.write(self._file, line.encode() + b"\n")


@contextmanager
def writing(path: Path) -> Iterator[Recorder]:
    """Append this process's moments to the file."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    recorder = Recorder(file)
    try:
        yield recorder
    finally:
        recorder.end()
        os.close(file)
