"""Do viewers slow a round?

    python evaluations/bench_viewers.py [--viewers 50] [--clients 10] [--sizes 40KB,1MB] [--rounds 1200] [--block 60]
        [--out results/bench_viewers.md]

One broker, one server, a swarm whose clients hand the model back, and one dashboard whose page's stream of events so
many viewers read. In every other block of rounds dashboard and viewers are stopped (SIGSTOP) and so look at nothing;
who begins is who looks. A round is from its RoundOpened to the next one's, by the broker's clock. The first rounds of
each block are left out: a dashboard that goes on has to catch up. All share one machine. *Shared*: dashboard and
viewers compete with the round for its cores. *Spare*: they get only what nobody else wants (SCHED_IDLE, so
Linux), as if on a machine of their own; what is left is what they make a round wait for.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from urllib.parse import urlsplit

from machine import report

from fdstream.client.connect import wait_for_federation
from fdstream.client.session import Session
from fdstream.driver import Driver
from fdstream.ledger import Ledger
from fdstream.topics.kafka_log import KafkaLog
from kafka_cluster import Cluster

LEFT_OUT = 10  # rounds at the beginning of each block
PATIENCE_SECONDS = 60.0
FRESH_SECONDS = 0.1
BLOCKS_WARMING_UP = 1
CORES = ("shared", "spare")


# Viewers, in a process of their own


def view(url: str, viewers: int, events: Synchronized[int]) -> None:
    """Read the page's stream as browsers do, until stopped."""
    asyncio.run(_view(url, viewers, events))


async def _view(url: str, viewers: int, events: Synchronized[int]) -> None:
    await asyncio.gather(*(_viewer(url, events) for _ in range(viewers)))


async def _viewer(url: str, events: Synchronized[int]) -> None:
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(f"GET /events HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
    while chunk := await reader.read(1 << 16):
        with events.get_lock():
            events.value += chunk.count(b"\nevent: ")


# The federation


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`fdstream ARGUMENTS`, until the end of the block."""
    command = [sys.executable, "-m", "fdstream", *arguments, "--log-level", "warning"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate()


@contextmanager
def watched(place: list[str], viewers: int, events: Synchronized[int], spare: bool) -> Iterator[list[int]]:
    """A dashboard with its viewers; the processes to stop."""
    with running("dashboard", *place, "--port", "0", "--no-open") as dashboard:
        assert dashboard.stdout is not None
        found = None
        while found is None:
            found = re.search(r"http://\S+", dashboard.stdout.readline())
        process = get_context("spawn").Process(target=view, args=(found[0], viewers, events), daemon=True)
        process.start()
        assert process.pid is not None
        try:
            _wait_until_all_look(viewers, events)
            pids = [process.pid, dashboard.pid]
            if spare:
                take_what_is_spare(pids)
            yield pids
        finally:
            process.kill()
            process.join()


def take_what_is_spare(pids: list[int]) -> None:
    """From now on they run only where nobody else wants the processor, as if on a machine of their own (Linux)."""
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_IDLE, os.sched_param(0))


def _wait_until_all_look(viewers: int, events: Synchronized[int]) -> None:
    """Each gets the whole state first."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while events.value < viewers:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {events.value} of {viewers} viewers have heard something")
        time.sleep(0.1)


def send(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        os.kill(pid, number)


class History:
    """Follows the federation's rounds."""

    def __init__(self, broker: str, federation: str) -> None:
        self._log = KafkaLog(broker, federation, client_id="bench", settings={})
        session = Session((), new_id=lambda: bytes(16))
        self.ledger: Ledger = session.ledger
        self.opened: dict[int, float] = {}  # round -> when, in seconds of the broker's clock
        self._driver = Driver(session, self._log, tell=lambda _: None, monotonic=time.monotonic)
        self._driver.begin()

    def until(self, number: int) -> None:
        """Return once this round is open, or the federation has ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while self.ledger.round < number and self.ledger.finished is None:
            before = self.ledger.round
            self._driver.turn(0.05)
            if self.ledger.round > before:
                deadline = time.monotonic() + PATIENCE_SECONDS
            elif time.monotonic() > deadline:
                raise TimeoutError(f"no round followed {before} within {PATIENCE_SECONDS:g} s")
            for each, entry in self.ledger.history.items():
                self.opened[each] = entry.record.timestamp_seconds

    def catch_up(self) -> None:
        """Return at the opening of a round, not long after it."""
        while time.time() - self.opened.get(self.ledger.round, 0.0) > FRESH_SECONDS:
            self.until(self.ledger.round + 1)

    def close(self) -> None:
        self._log.close()


def seconds(opened: dict[int, float], first: int, last: int) -> list[float]:
    """Of the rounds in between, but for the first ones."""
    times = [opened[number] for number in range(first + LEFT_OUT, last + 1)]
    return [after - before for before, after in pairwise(times)]


def measure(
    broker: str, size: str, spare: bool, options: argparse.Namespace
) -> tuple[list[list[float]], list[list[float]], int]:
    """Blocks of rounds without viewers and with, in seconds; and how many events the viewers heard."""
    federation = f"viewers-{size}-{CORES[spare]}"
    place = ["--broker", broker, "--federation", federation]
    found: tuple[list[list[float]], list[list[float]]] = ([], [])
    events = get_context("spawn").Value("q", 0)
    rounds, block = str(1_000_000), options.block  # it is ended before
    with ExitStack() as stack:
        clients = str(options.clients)
        size_and_ends = ["--model-size", size, "--numrounds", rounds, "--minclients", clients]
        stack.enter_context(running("server", *place, *size_and_ends))
        stack.enter_context(running("swarm", *place, "--clients", clients, "--multiplex", clients))
        wait_for_federation(broker, federation, {})
        history = History(broker, federation)
        stack.callback(history.close)
        history.until(1)
        pids = stack.enter_context(watched(place, options.viewers, events, spare))
        history.catch_up()
        start = history.ledger.round + BLOCKS_WARMING_UP * block
        history.until(start)
        looking = True
        for first in range(start, start + options.rounds, block):
            history.until(first + block)
            found[looking].append(seconds(history.opened, first, first + block))
            looking = not looking
            send(pids, signal.SIGCONT if looking else signal.SIGSTOP)
        heard = int(events.value)
    return *found, heard


def row(
    size: str, spare: bool, without: list[list[float]], watched: list[list[float]], events: int
) -> list[str]:
    """Medians, their ratio, and the quartiles of the ratios of neighbouring blocks."""
    a, b = (statistics.median(each for block in blocks for each in block) for blocks in (without, watched))
    pairs = [
        statistics.median(y) / statistics.median(x) for x, y in zip(without, watched, strict=False) if x and y
    ]
    quartiles = statistics.quantiles(pairs) if len(pairs) > 1 else [pairs[0]] * 3
    counts = f"{sum(map(len, without))} + {sum(map(len, watched))}"
    return [
        size,
        CORES[spare],
        counts,
        f"{1e3 * a:.1f}",
        f"{1e3 * b:.1f}",
        f"{b / a:.3f}",
        f"{quartiles[0]:.3f} to {quartiles[2]:.3f}",
        str(events),
    ]


def main() -> None:
    """Measure and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--sizes", default="40KB,1MB")
    parser.add_argument("--rounds", type=int, default=1200)
    parser.add_argument("--block", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("results/bench_viewers.md"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Cluster(data_dir=Path(folder)) as cluster:
        rows = [
            row(size, spare, *measure(cluster.bootstrap, size, spare, options))
            for size in options.sizes.split(",")
            for spare in (False, True)
        ]
    text = (__doc__ or "").rsplit("\n\n", 1)[1].replace("\n", " ").strip()
    page = report(
        "Do viewers slow a round?",
        f"Written by `python evaluations/bench_viewers.py`. {text} Here: {options.viewers} viewers, "
        f"{options.clients} clients behind one connection, blocks of {options.block} rounds. Milliseconds a round.",
        [
            "model",
            "viewers' cores",
            "rounds",
            "(a) nobody looks",
            "(b) viewers",
            "b/a",
            "quartiles of pairs",
            "events heard",
        ],
        rows,
    )
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
