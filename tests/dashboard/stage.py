"""A federation in this process for the dashboard to look at, and the dashboard itself, served to a browser.

The server core and the clients are the real ones on a log in memory; what each does and when is the test's to say.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import uvicorn

from fdstream.client.connection import Connection, Task
from fdstream.dashboard.feed import Feed
from fdstream.dashboard.reader import Reader
from fdstream.dashboard.web import application, listen, run_both
from fdstream.log import Lost, MemoryBroker, MemoryLog, Record
from fdstream.members import PERIOD
from fdstream.messages import Heartbeat
from fdstream.serde.avro import encode
from fdstream.topics import table
from tests.client.hosted import Host, answer

HOST = "127.0.0.1"
IDLE_SECONDS = 0.01


class CalmLog(MemoryLog):
    """Waits a little where there is nothing, as a real one does."""

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        found = super().poll(timeout_seconds)
        if not found:
            time.sleep(min(timeout_seconds, IDLE_SECONDS))
        return found


class Stage:
    """A federation whose every step a test takes."""

    def __init__(self, *clients: str, **settings: Any) -> None:
        count = len(clients)
        self.host = Host(**({"min_clients": count, "max_clients": count, "num_rounds": 3} | settings))
        self.host.broker.clock = time.time
        self.clients = clients
        self.connection: Connection = self.host.connect(*clients)
        self._tasks: Iterator[Task] = iter(())

    @property
    def broker(self) -> MemoryBroker:
        return self.host.broker

    def __enter__(self) -> Stage:
        self.connection.__enter__()
        self._tasks = iter(self.connection)
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.__exit__(None, None, None)

    def beat(
        self, name: str, state: str, *, role: str = "client", shards: str = "", period: str = "60"
    ) -> None:
        """A heartbeat of anybody."""
        profile: Mapping[str, str] = {PERIOD: period} | ({"shards": shards} if role == "server" else {})
        heartbeat = Heartbeat(name, role, state, self.host.server.ledger.round, profile)
        MemoryLog(self.broker).append(table.MEMBERS, 0, encode(heartbeat))

    def report(self, count: int = 1) -> None:
        """So many clients do what is asked of them; their reports are in the log then."""
        for _ in range(count):
            answer(self.connection, next(self._tasks))
        self.connection._driver.settle()

    def fail(self, reason: str) -> None:
        """The next client cannot."""
        next(self._tasks)
        self.connection.fail(reason)
        self.connection._driver.settle()

    def run_round(self) -> None:
        self.report(len(self.clients))

    def to_the_end(self) -> None:
        for task in self._tasks:
            answer(self.connection, task)
        self.host.until_finished()


def read(broker: MemoryBroker) -> Reader:
    """A caught-up reader."""
    reader = Reader(CalmLog(broker))
    reader.catch_up()
    return reader


@contextmanager
def served(broker: MemoryBroker, name: str = "test") -> Iterator[str]:
    """The dashboard of the federation on that broker; its address."""
    listening = listen(HOST, 0)
    feed = Feed(read(broker), name)
    config = uvicorn.Config(
        application(feed, HOST), log_config=None, lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=_run, args=(feed, server, listening))
    thread.start()
    try:
        yield f"http://{HOST}:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def _run(feed: Feed, server: uvicorn.Server, listening: socket.socket) -> None:
    asyncio.run(run_both(feed, server, listening))


def eventually(what: str, check: Callable[[], bool], patience_seconds: float = 30.0) -> None:
    """Return once it holds."""
    deadline = time.monotonic() + patience_seconds
    while not check():
        assert time.monotonic() < deadline, f"waited {patience_seconds:g} s until {what}"
        time.sleep(IDLE_SECONDS)
