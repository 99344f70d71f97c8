"""Invokes functions over HTTP again and again, as a cloud's scheduler would, and counts what they answer.

`replies` makes the calls, each in a thread; `Tally` knows no clock and no network. Who only invokes functions needs
no Kafka and no model.
"""

from __future__ import annotations

import ipaddress
import json
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any
from urllib.parse import urlsplit

from fdstream import interrupts
from fdstream.progress import duration, metric, size
from fdstream.server.book import weighted_means

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 900.0  # with one invocation: the longest that AWS Lambda allows
MOST_ERROR_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Plan:
    """What to invoke, for whom and how often. `fields` go into every request beside the client's name."""

    url: str
    clients: int
    every_seconds: float
    fields: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The clients; the same at every start, so that they are known again."""
        digits = len(str(self.clients - 1))
        return [f"function-{index:0{digits}}" for index in range(self.clients)]


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of one invocation: the function's answer, or else what went wrong."""

    client: str
    seconds: float
    answer: Mapping[str, Any] | None = None
    error: str = ""


def invoke(plan: Plan, client: str) -> Reply:
    """Invoke the function once. Whatever goes wrong is in the reply."""
    began = time.monotonic()
    body = json.dumps({**plan.fields, "client_id": client}).encode()
    headers = {"Content-Type": "application/json", **plan.headers}
    request = urllib.request.Request(plan.url, data=body, headers=headers, method="POST")
    answer, error = None, ""
    try:
        with _opener(plan.url).open(request, timeout=PATIENCE_SECONDS) as response:
            answer = json.load(response)
        if not (isinstance(answer, dict) and "outcome" in answer):
            answer, error = None, "its answer is none of a function of fdstream"
    except urllib.error.HTTPError as refusal:
        error = f"{refusal.code}: {_sentence(refusal)}"
    except (OSError, ValueError) as failure:
        error = str(getattr(failure, "reason", failure)) or type(failure).__name__
    return Reply(client, time.monotonic() - began, answer, error[:MOST_ERROR_CHARACTERS])


def _sentence(refusal: urllib.error.HTTPError) -> str:
    """What a function says of its error, or what HTTP calls it."""
    try:
        return str(json.load(refusal)["error"])
    except (OSError, ValueError, TypeError, KeyError):
        return str(refusal.reason)


def _opener(url: str) -> urllib.request.OpenerDirector:
    """A proxy is for what is not on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if local else []))


def replies(plan: Plan, call: Callable[[Plan, str], Reply] = invoke) -> Iterator[Reply]:
    """Invoke every client's function at once and then every so often; what comes, as it comes, for ever.

    Whoever's last invocation still runs is left out. Threads that nobody waits for, so that Ctrl-C ends it.
    """
    heard: SimpleQueue[Reply] = SimpleQueue()
    running: set[str] = set()
    due = time.monotonic()
    while True:
        interrupts.check()
        now = time.monotonic()
        if now >= due:
            due = max(due + plan.every_seconds, now)
            for client in plan.names:
                if client not in running:
                    running.add(client)
                    _in_a_thread(partial(_put, heard, call, plan, client))
        try:
            reply = heard.get(timeout=min(max(0.0, due - now), POLL_SECONDS))
        except Empty:
            continue
        running.discard(reply.client)
        yield reply


def _put(heard: SimpleQueue[Reply], call: Callable[[Plan, str], Reply], plan: Plan, client: str) -> None:
    heard.put(call(plan, client))


def _in_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="fdstream-invoke", daemon=True).start()


@dataclass(slots=True)
class Round:
    """What functions reported in one round."""

    number: int
    reports: list[Mapping[str, Any]] = field(default_factory=list)
    slowest_seconds: float = 0.0

    def line(self) -> str:
        """In words; metrics are means weighted by examples, the accuracy that of the model before its training."""
        trained = _means(self.reports, "num_examples", "metrics")
        evaluated = _means(self.reports, "evaluated_examples", "evaluate_metrics")
        sent = sum(report["bytes"]["sent"] for report in self.reports)
        found = [
            f"round {self.number}: {len(self.reports)} reported",
            *([f"accuracy {metric(evaluated)}"] if "accuracy" in evaluated else []),
            *([f"loss {trained['loss']:.3g}"] if "loss" in trained else []),
            f"{size(sent)} up",
            f"the slowest took {duration(self.slowest_seconds)} s",
        ]
        return ", ".join(found)


def _means(reports: list[Mapping[str, Any]], count: str, metrics: str) -> dict[str, float]:
    return weighted_means((report[count], report[metrics]) for report in reports)


class Tally:
    """Counts replies, round by round."""

    def __init__(self, clients: int) -> None:
        self.clients = clients
        self.reported = 0
        self.failed = 0
        self.succeeded = 0
        self.finished: Mapping[str, Any] | None = None  # the answer that said so
        self.errors: Counter[str] = Counter()
        self._rounds: dict[int, Round] = {}

    def hear(self, reply: Reply) -> list[str]:
        """Take a reply in; lines about what is now complete, or went wrong for the first time."""
        if reply.answer is None:
            return self._fail(reply)
        self.succeeded += 1
        if reply.answer["outcome"] == "finished":
            self.finished = reply.answer
            return self._complete(before=None)
        return self._report(reply, reply.answer) if reply.answer["outcome"] == "reported" else []

    @property
    def is_hopeless(self) -> bool:
        """Whether every client's function was invoked, and none worked."""
        return self.succeeded == 0 and self.failed >= self.clients

    def doing(self) -> str:
        """What goes on, in one line."""
        failures = f", {self.failed} invocations failed so far" if self.failed else ""
        if not self._rounds:
            return f"waiting for a round to open{failures}"
        newest = self._rounds[max(self._rounds)]
        return f"round {newest.number}: {len(newest.reports)} of {self.clients} functions reported{failures}"

    def conclusion(self, seconds: float) -> str:
        """How it ended, in a sentence."""
        assert self.finished is not None
        failures = f"; {self.failed} invocations failed" if self.failed else ""
        return (
            f"the federation has finished: {self.finished['reason']}, {self.reported} reports by {self.clients} "
            f"functions in {duration(seconds)} s{failures}"
        )

    def _report(self, reply: Reply, answer: Mapping[str, Any]) -> list[str]:
        self.reported += 1
        number = int(answer["round"])
        lines = self._complete(before=number) if number not in self._rounds else []
        made = self._rounds.setdefault(number, Round(number))
        made.reports.append(answer)
        made.slowest_seconds = max(made.slowest_seconds, reply.seconds)
        return lines

    def _complete(self, before: int | None) -> list[str]:
        done = sorted(number for number in self._rounds if before is None or number < before)
        return [self._rounds.pop(number).line() for number in done]

    def _fail(self, reply: Reply) -> list[str]:
        self.failed += 1
        self.errors[reply.error] += 1
        return [f"{reply.client}: {reply.error}"] if self.errors[reply.error] == 1 else []
