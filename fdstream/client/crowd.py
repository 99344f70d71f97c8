"""What a swarm is doing, in words for people: the round, how many clients do what, and how much has passed.

Looks on at every connection of the swarm, from their threads; whoever shows it reads from another.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager

from fdstream.client.session import Session
from fdstream.counted import CountedLog, Direction
from fdstream.driver import Core
from fdstream.events import Tell
from fdstream.instruments import Instruments
from fdstream.log import Log
from fdstream.members import GONE
from fdstream.progress import size

logger = logging.getLogger("fdstream.swarm")
STATES = (
    "training",
    "evaluating",
    "uploading",
    "reported",
    "failed",
    "waiting",
)  # in the order they are told


class Crowd(Instruments):
    """Counts, and says in the log how each round went for its clients. `also` looks on."""

    def __init__(self, clients: int, also: Instruments) -> None:
        self._clients = clients
        self._also = also
        self._lock = threading.Lock()
        self._sessions: list[Session] = []
        self._states: dict[str, str] = {}  # client -> what it does
        self._answered: dict[str, tuple[int, bool]] = {}  # client -> its last round, whether it failed in it
        self._acknowledged: dict[str, int] = {}  # client -> the last round of which its report is in the log
        self._bytes: dict[Direction, int] = {"in": 0, "out": 0}
        self._round = 0  # the last one that a client has answered
        self._answers: Counter[str] = Counter()  # in that round, reported and failed
        self._bytes_before: dict[Direction, int] = dict(self._bytes)  # that round

    def core(self, core: Core) -> Core:
        assert isinstance(core, Session)
        self._sessions.append(core)
        return self._also.core(core)

    def log(self, log: Log) -> Log:
        return CountedLog(self._also.log(log), self._count)

    def hear(self, tell: Tell) -> None:
        self._also.hear(tell)
        with self._lock:
            self._hear(tell)

    def statistics(self) -> Callable[[str], None] | None:
        return self._also.statistics()

    def attending(self, open_log: Callable[[], Log]) -> AbstractContextManager[object]:
        return self._also.attending(open_log)

    # For people

    def doing(self) -> tuple[str, str]:
        """What goes on, and how far: for a line that is drawn anew all the time."""
        ledgers = [session.ledger for session in list(self._sessions)]
        opened = [ledger for ledger in ledgers if ledger.opened is not None]
        if not opened:
            return "waiting for a server to open the federation", ""
        number, total = max(ledger.round for ledger in opened), opened[0].federation.settings.num_rounds
        what = "the final model" if number > total else f"round {number} of {total}"
        with self._lock:
            passed = f"{size(self._bytes['in'])} received, {size(self._bytes['out'])} sent"
            more = f"; {self._told_states(number)}; {passed}"
        return ("waiting for the first round" if number == 0 else what), more

    def end(self) -> None:
        """Say how the last round went."""
        with self._lock:
            self._tell_round()

    def _told_states(self, number: int) -> str:
        counts = Counter(self._state(client, number) for client in self._states)
        counts["waiting"] += self._clients - len(self._states) + counts.pop(GONE, 0)
        return ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])

    def _state(self, client: str, number: int) -> str:
        """What a client does in the round; from its last upload until that is acknowledged it waits and uploads."""
        state, (answered, failed) = self._states[client], self._answered.get(client, (0, False))
        if state not in ("waiting", "failed") or answered < number:
            return "waiting" if state == "failed" else state
        if failed:
            return "failed"
        return "reported" if self._acknowledged.get(client, 0) >= number else "uploading"

    # What happens

    def _hear(self, tell: Tell) -> None:
        match tell.name, tell.facts:
            case "client state", {"client": client, "state": state}:
                self._states[client] = state
            case "task answered", {"client": client, "round": number, "failure": failure}:
                self._turn_to(number)
                self._answered[client] = number, failure is not None
                self._answers["reported" if failure is None else "failed"] += 1
            case "reported", {"client": client, "round": number}:
                self._acknowledged[client] = number

    def _turn_to(self, number: int) -> None:
        if number > self._round:
            self._tell_round()
            self._round = number
            self._answers.clear()
            self._bytes_before = dict(self._bytes)

    def _tell_round(self) -> None:
        if self._round == 0:
            return
        passed = {way: self._bytes[way] - self._bytes_before[way] for way in self._bytes}
        facts = {"round": self._round, "reported": self._answers["reported"]}
        facts |= {"failed": self._answers["failed"]} if self._answers["failed"] else {}
        logger.info("took part", extra=facts | {"received": size(passed["in"]), "sent": size(passed["out"])})

    def _count(self, topic: str, direction: Direction, records: int, size_bytes: int) -> None:
        del topic, records
        with self._lock:
            self._bytes[direction] += size_bytes
