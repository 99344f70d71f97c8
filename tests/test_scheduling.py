"""Invoking functions on a schedule: what one call can come back with, who is called when, and what is counted."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fdstream.scheduling import Plan, Reply, Tally, invoke, replies


def answer(outcome: str, number: int = 1, **more: Any) -> dict[str, Any]:
    """What a function answers."""
    counts = {"num_examples": 0, "metrics": {}, "evaluated_examples": 0, "evaluate_metrics": {}}
    return {
        "outcome": outcome,
        "round": number,
        "reason": "",
        "bytes": {"received": 7, "sent": 5},
        **counts,
        **more,
    }


class Functions:
    """An HTTP server that answers with the next of `answers`: a status and a body."""

    def __init__(self, *answers: tuple[int, bytes]) -> None:
        self.requests: list[tuple[dict[str, Any], Mapping[str, str]]] = []
        given = itertools.chain(answers, itertools.repeat(answers[-1]))
        requests = self.requests

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                requests.append((body, dict(self.headers)))
                status, content = next(given)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve() -> Iterator[Any]:
    made: list[Functions] = []

    def start(*answers: tuple[int, bytes]) -> Functions:
        made.append(Functions(*answers))
        return made[-1]

    yield start
    for each in made:
        each.close()


# One call


def test_a_call_names_its_client_and_brings_the_answer(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")  # not asked for what is on this machine
    functions = serve((200, json.dumps(answer("reported")).encode()))
    plan = Plan(functions.url, 1, 1.0, {"federation": "mine"}, {"Authorization": "Bearer abc"})
    reply = invoke(plan, "function-0")
    assert (reply.client, reply.answer, reply.error) == ("function-0", answer("reported"), "")
    body, headers = functions.requests[0]
    assert body == {"federation": "mine", "client_id": "function-0"}
    assert headers["Authorization"] == "Bearer abc"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (503, b'{"error": "no broker answered"}', "503: no broker answered"),
        (500, b"<html>", "500: Internal Server Error"),
        (404, b"[]", "404: Not Found"),
        (200, b"OK", "Expecting value"),
        (200, b'{"hello": 1}', "its answer is none of a function of fdstream"),
    ],
)
def test_whatever_goes_wrong_is_a_reply(serve: Any, status: int, body: bytes, error: str) -> None:
    reply = invoke(Plan(serve((status, body)).url, 1, 1.0), "function-0")
    assert reply.answer is None
    assert error in reply.error


def test_nobody_who_answers_is_a_reply_too(serve: Any) -> None:
    functions = serve((200, b"{}"))
    functions.close()
    assert "refused" in invoke(Plan(functions.url, 1, 1.0), "function-0").error.lower()


# When


def test_everybody_is_invoked_at_once_and_who_is_not_back_is_left_out() -> None:
    called: list[str] = []
    stuck = threading.Event()

    def call(_: Plan, client: str) -> Reply:
        called.append(client)
        if client == "function-1":
            stuck.wait(60)
        return Reply(client, 0.1, answer("reported"))

    heard = replies(Plan("http://x/", 2, 0.02), call)
    assert [next(heard).client for _ in range(3)] == ["function-0"] * 3
    assert called.count("function-1") == 1
    stuck.set()
    assert "function-1" in {next(heard).client for _ in range(10)}


def test_it_keeps_to_its_period() -> None:
    heard = replies(Plan("http://x/", 1, 0.2), lambda _, client: Reply(client, 0.0, answer("reported")))
    next(heard)
    began = time.monotonic()
    next(heard)
    next(heard)
    assert 0.2 < time.monotonic() - began < 5


def test_names_sort_and_stay() -> None:
    assert Plan("http://x/", 11, 1.0).names[:2] == ["function-00", "function-01"]
    assert Plan("http://x/", 10, 1.0).names[-1] == "function-9"


# Counting


def reported(client: str, number: int, accuracy: float, loss: float, seconds: float = 0.1) -> Reply:
    made = answer(
        "reported",
        number,
        num_examples=10,
        metrics={"loss": loss},
        evaluated_examples=10,
        evaluate_metrics={"accuracy": accuracy},
    )
    return Reply(client, seconds, made)


def test_a_round_is_a_line_when_the_next_begins() -> None:
    tally = Tally(2)
    assert tally.hear(reported("a", 1, 0.5, 2.0)) == []
    assert tally.doing() == "round 1: 1 of 2 functions reported"
    assert tally.hear(Reply("a", 0.1, answer("already reported"))) == []
    assert tally.hear(reported("b", 1, 0.7, 1.0, seconds=3.0)) == []
    line = "round 1: 2 reported, accuracy 60.0 %, loss 1.5, 10 B up, the slowest took 3.00 s"
    assert tally.hear(reported("a", 2, 0.9, 0.5)) == [line]
    assert tally.hear(Reply("b", 0.1, answer("no round open"))) == []


def test_the_end_completes_the_last_round_and_is_told() -> None:
    tally = Tally(2)
    tally.hear(reported("a", 1, 0.5, 2.0))
    tally.hear(Reply("b", 0.1, error="503: no"))
    assert (
        len(tally.hear(Reply("a", 0.1, answer("finished", reason="all 1 rounds are done", failed=False))))
        == 1
    )
    assert tally.finished is not None
    told = "the federation has finished: all 1 rounds are done, 1 reports by 2 functions in 9.00 s"
    assert tally.conclusion(9.0) == f"{told}; 1 invocations failed"


def test_each_error_is_told_once_and_counted_always() -> None:
    tally = Tally(3)
    failures = [tally.hear(Reply(client, 0.1, error="503: no")) for client in "aab"]
    assert failures == [["a: 503: no"], [], []]
    assert tally.doing() == "waiting for a round to open, 3 invocations failed so far"
    assert tally.is_hopeless


def test_one_that_works_is_hope() -> None:
    tally = Tally(2)
    tally.hear(Reply("a", 0.1, answer("no round open")))
    for _ in range(5):
        tally.hear(Reply("b", 0.1, error="503: no"))
    assert not tally.is_hopeless
