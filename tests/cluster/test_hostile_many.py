"""Ten thousand hostile records on every topic of a running federation, whose server may take only so much memory."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

from fdstream.messages import Refusal, Rejected
from fdstream.metrics import definitions
from fdstream.serde.avro import decode
from fdstream.server.refusals import MAX_REJECTED_PER_REASON
from fdstream.topics import table
from tests.cluster.expected import expected_hash
from tests.cluster.processes import Federation, Process, hash_of, wait_until
from tests.cluster.starting import ROOT, Running
from tests.cluster.test_hostile import CLIENTS, GATED_ROUND, OPTIONS, ROUNDS, TOPICS, Intruder
from tests.cluster.topics import Topics
from tests.fuzz.federation import GOODS, harmless
from tests.fuzz.records import hostile
from tests.metrics.scrapes import scrape, url_of

RECORDS = 10_000
SEED = 20261130
ADDRESS_SPACE_BYTES = 4 << 30  # threads reserve far more than they touch
MOST_RESIDENT_KIB = 600 << 10
SLOT, NEXT_SLOT = (table.slot_of(number, table.SLOTS) for number in (GATED_ROUND, GATED_ROUND + 1))
READ = (  # by servers, from start to end, in this round or the next
    table.CONTROL,
    table.SHARDS,
    *(topic(slot) for slot in (SLOT, NEXT_SLOT) for topic in (table.updates, table.reports)),
)


def start_limited(arguments: list[str], stdout: Path, stderr: Path) -> Running:
    """A command that gets no more memory than that."""
    limit = (ADDRESS_SPACE_BYTES, ADDRESS_SPACE_BYTES)
    with stdout.open("wb") as out, stderr.open("wb") as err:
        return subprocess.Popen(
            [sys.executable, "-m", "fdstream", *arguments],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit),
        )


def most_resident_kib(process: Process) -> int:
    """The most memory that it ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
    assert found
    return int(found[1])


def attack(intruder: Intruder) -> Counter[str]:
    """Write them all; how many there are of each reason for which they cannot be read, where servers read."""
    random, reasons = Random(SEED), Counter[str]()
    goods = {topic: [e.record.value for e in intruder.topics.all_entries(topic)] or GOODS for topic in TOPICS}
    for _ in range(RECORDS):
        topic = random.choice((*TOPICS, *READ))
        value = harmless(topic, hostile(random, random.choice((goods[topic], GOODS))))
        intruder.log.append(topic, random.randrange(TOPICS[topic]), value)
        found = decode(value, table.records(topic))
        if topic in READ and isinstance(found, Refusal):
            reasons[str(found.reason)] += 1
    intruder.log.flush()
    return reasons


def test_ten_thousand_hostile_records_change_nothing(federation: Federation) -> None:
    gate = federation.gate()
    gate.open(*range(1, GATED_ROUND))
    clients = [*federation.clients(*CLIENTS[:-1]), federation.client(CLIENTS[-1], *gate.options())]
    measured = ("--keep-rounds", "all", "--metrics-port", "0")
    server = federation.server(*OPTIONS, *measured, start=start_limited)
    with Topics(federation) as topics:
        intruder = Intruder(topics)
        topics.wait_for_reports(GATED_ROUND, len(CLIENTS) - 1)
        before_kib = most_resident_kib(server)
        unreadable = attack(intruder)
        gate.open(GATED_ROUND)
        topics.wait_for_reports(
            ROUNDS, len(CLIENTS) - 1
        )  # the last round is held, so that the server is there
        assert most_resident_kib(server) < min(MOST_RESIDENT_KIB, before_kib + (100 << 10))
        wait_until_counted(url_of(server), unreadable)
        gate.open(ROUNDS)
        assert hash_of(server) == expected_hash([CLIENTS] * ROUNDS)
        assert [client.result()["failed"] for client in clients] == [0] * len(CLIENTS)
        check_written_down(topics, unreadable)


def wait_until_counted(url: str, unreadable: Counter[str]) -> None:
    """The server's metrics have every one of them under its reason, once."""

    def counted() -> Counter[str]:
        found = scrape(url)
        return Counter({each: int(found.value(definitions.REJECTED, reason=each)) for each in unreadable})

    wait_until(f"{unreadable} to be counted", lambda: counted() >= unreadable)
    assert counted() == unreadable


def check_written_down(topics: Topics, unreadable: Counter[str]) -> None:
    """Of each reason all are on `rejected`, or as many as may be."""
    topics.all_entries(table.REJECTED)
    rejected = {(r.topic, r.partition, r.offset): r.reason for r in topics.messages(table.REJECTED, Rejected)}
    written = Counter(rejected.values())
    assert len(unreadable) >= 7, unreadable
    for reason, count in unreadable.items():
        assert written[reason] >= min(count, MAX_REJECTED_PER_REASON), (reason, count, written)
