"""Offsets without a record: whoever counts offsets must not wait for them."""

from __future__ import annotations

from confluent_kafka import Producer

from fdstream.topics import table
from tests.topics.conftest import OpenLog
from tests.topics.drain import poll_until


def test_the_markers_of_a_transactional_writer_leave_no_holes(
    kafka: str, federation: str, open_log: OpenLog
) -> None:
    topic = table.full_name(federation, table.reports(0))
    writers = [Producer({"bootstrap.servers": kafka, "transactional.id": f"{topic}-{i}"}) for i in range(2)]
    for writer in writers:
        writer.init_transactions()
        writer.begin_transaction()
        writer.produce(topic, b"in a transaction", partition=0)
        writer.flush()
    for writer in writers:
        writer.commit_transaction()  # two markers in a row
    log = open_log()
    log.append(table.reports(0), 0, b"after")
    log.flush()
    log.follow(table.reports(0), 0, 0)
    found = poll_until(log, lambda items: len(items) >= 5)
    assert [item.offset for item in found] == [0, 1, 2, 3, 4]
