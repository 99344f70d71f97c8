"""How long does one plain consumer take for what so many clients send?

    python evaluations/raw_consumer.py BOOTSTRAP RECORDS RECORD_BYTES

Writes the records to the partitions of a federation's updates, then reads them with confluent-kafka and nothing else.
Prints the seconds from the first record to the last. The topics are deleted again.
"""

from __future__ import annotations

import os
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition

from fdstream.topics import table
from fdstream.topics.admin import Admin

BATCH, QUEUED = 64, 500


def write(bootstrap: str, topic: str, partitions: int, records: int, record_bytes: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "acks": "all"})
    for index in range(records):
        producer.produce(topic, bytes(record_bytes), partition=index % partitions)
        if index % QUEUED == 0:
            producer.flush()
    producer.flush()


def read_seconds(bootstrap: str, topic: str, partitions: int, records: int) -> float:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "raw", "auto.offset.reset": "error"})
    consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
    first = None
    while first is None:
        first = consumer.poll(1.0)
    found, began = 1, time.perf_counter()
    while found < records:
        found += len(consumer.consume(min(BATCH, records - found), 1.0))
    seconds = time.perf_counter() - began
    consumer.close()
    return seconds


def main() -> None:
    bootstrap, records, record_bytes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    federation = f"raw-{os.getpid()}"
    with Admin(bootstrap, settings={}) as admin:
        partitions = admin.create_topics(federation, table.DEFAULT_SHARDS)
        topic = table.full_name(federation, table.updates(0))
        write(bootstrap, topic, partitions, records, record_bytes)
        print(read_seconds(bootstrap, topic, partitions, records))
        admin.delete_topics(federation)


if __name__ == "__main__":
    main()
