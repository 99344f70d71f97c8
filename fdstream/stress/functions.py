"""`python -m fdstream.stress.functions …`: so many functions behind a real HTTP server, and what invokes them.

The functions framework serves the entry point, as a cloud would. A trigger follows the federation's history and,
whenever a round opens, posts one request for each client to the server, all at once; at the federation's end once
more, so that connections that rest are closed. Both are in this process; requests go over loopback.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from json import dumps
from pathlib import Path

import functions_framework
from werkzeug.serving import make_server

from fdstream.cli import swarm as places
from fdstream.client import serverless
from fdstream.client.session import Session
from fdstream.driver import Driver
from fdstream.instruments import Instruments
from fdstream.log import Log
from fdstream.moments import writing
from fdstream.stress import function

POLL_SECONDS = 0.5
TIMEOUT_SECONDS = 3600


def main() -> None:
    asked = _parsed()
    names = [f"function-{index:05}" for index in range(asked.clients)]
    os.environ.update(_environment(asked))
    with writing(asked.moments) as recorder, serving(recorder) as url:
        where = {"broker": asked.broker, "kafka": {}, "server_address": asked.server}
        over = places.over_grpc if asked.server else places.over_kafka
        log = recorder.log(over(where, asked.federation, recorder)("trigger"))
        with ThreadPoolExecutor(len(names)) as pool:
            for _ in calls(log):
                list(pool.map(lambda name: invoke(url, name), names))
        log.close()


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--moments", type=Path, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--work", default="echo")
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--federation", required=True)
    parser.add_argument("--broker")
    parser.add_argument("--server")
    return parser.parse_args()


def _environment(asked: argparse.Namespace) -> dict[str, str]:
    """How a function is set up where it is deployed."""
    place = {"FDSTREAM_GRPC": "1", "FDSTREAM_SERVER": asked.server} if asked.server else {}
    if asked.broker:
        place = {"FDSTREAM_BROKER": asked.broker, "FDSTREAM_KAFKA": "statistics.interval.ms=1000"}
    return {
        **place,
        "FDSTREAM_APP": f"{function.__name__}:app",
        "FDSTREAM_FEDERATION": asked.federation,
        "FDSTREAM_SET": f"work={asked.work};seconds={asked.seconds:g}",
        "FDSTREAM_TIMEOUT": str(TIMEOUT_SECONDS),
        "FDSTREAM_LOG_LEVEL": "warning",
    }


@contextmanager
def serving(instruments: Instruments) -> Iterator[str]:
    """Where the functions framework serves them."""
    serverless.instruments = instruments
    framework = functions_framework.create_app("handler", str(function.__file__))  # type: ignore[no-untyped-call]
    server = make_server("127.0.0.1", 0, framework, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()


def calls(log: Log) -> Iterator[int]:
    """The number of each round that opens, and at the end 0."""
    session = Session((), new_id=lambda: os.urandom(16))
    driver = Driver(session, log, tell=lambda _: None, monotonic=time.monotonic)
    driver.begin()
    called = 0
    while not session.finished:
        driver.turn(POLL_SECONDS)
        if session.ledger.asks_for_reports and session.ledger.round > called:
            called = session.ledger.round
            yield called
    yield 0


def invoke(url: str, client: str) -> bytes:
    """One request. Raises `urllib.error.HTTPError` where the function failed."""
    body = dumps({"client_id": client}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
        return bytes(answer.read())


if __name__ == "__main__":
    main()
