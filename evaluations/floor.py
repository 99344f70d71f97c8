"""The raw floor of a round: the same bytes through the same topics with confluent-kafka and no protocol.

    python evaluations/floor.py hub|edge BOOTSTRAP FEDERATION MODEL_BYTES CLIENTS ROUNDS

The hub appends the model's chunks, then reads `CLIENTS` times as many bytes; the edge has a thread for each client,
with a consumer that reads the model and a producer that appends as many bytes. Nothing is decoded, checked or
added up, and nobody says when a round begins or ends: the number of bytes does. The hub prints the seconds of
each round, one a line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from confluent_kafka import Consumer, Producer, TopicPartition

from fdstream.layout import DEFAULT_CHUNK_BYTES
from fdstream.topics import table

BATCH = 64
COMMON = {"socket.keepalive.enable": "true"}
PRODUCER = {"acks": "all", "linger.ms": "0", "enable.idempotence": "true"}
CONSUMER = {
    "group.id": "floor",
    "enable.auto.commit": "false",
    "auto.offset.reset": "error",
    "isolation.level": "read_uncommitted",
    "fetch.queue.backoff.ms": "2",
    "fetch.max.bytes": str(16 << 20),
    "max.partition.fetch.bytes": str(4 << 20),
}


@dataclass(frozen=True, slots=True)
class Floor:
    """One measurement; both processes get the same."""

    bootstrap: str
    federation: str
    model_bytes: int
    clients: int
    rounds: int

    @property
    def chunks(self) -> list[bytes]:
        """The model, or an update, as values of records."""
        whole, rest = divmod(self.model_bytes, DEFAULT_CHUNK_BYTES)
        return [bytes(DEFAULT_CHUNK_BYTES)] * whole + [bytes(rest)] * (rest > 0)

    def consumer(self, topic: str) -> Consumer:
        """Reads every partition of the topic from its first record on."""
        consumer = Consumer({"bootstrap.servers": self.bootstrap, **COMMON, **CONSUMER})
        name = table.full_name(self.federation, topic)
        consumer.assign([TopicPartition(name, index, 0) for index in range(table.DEFAULT_SHARDS)])
        return consumer

    def producer(self) -> Producer:
        return Producer({"bootstrap.servers": self.bootstrap, **COMMON, **PRODUCER})


def append(producer: Producer, topic: str, chunks: Sequence[bytes]) -> None:
    """Queue the chunks, spread over the partitions as fdstream does."""
    for index, chunk in enumerate(chunks):
        producer.produce(topic, chunk, partition=index % table.DEFAULT_SHARDS)
    producer.poll(0)


def read(consumer: Consumer, size: int) -> None:
    """Return when so many bytes have come into this process's hands."""
    while size > 0:
        first = consumer.poll(1.0)
        for message in [first, *consumer.consume(BATCH, 0)] if first is not None else []:
            if message.error() is not None:
                raise SystemExit(f"the floor cannot read: {message.error()}")
            value = message.value()
            assert value is not None
            size -= len(value)
    assert size == 0, "more came than was appended"


def hub(floor: Floor) -> None:
    consumer, producer = floor.consumer(table.updates(0)), floor.producer()
    topic, chunks = table.full_name(floor.federation, table.model(0)), floor.chunks
    for _ in range(floor.rounds):
        began = time.perf_counter()
        append(producer, topic, chunks)
        read(consumer, floor.clients * floor.model_bytes)
        print(time.perf_counter() - began, flush=True)
    producer.flush()
    consumer.close()


def edge(floor: Floor) -> None:
    with ThreadPoolExecutor(floor.clients) as pool:
        for done in [pool.submit(client, floor) for _ in range(floor.clients)]:
            done.result()


def client(floor: Floor) -> None:
    consumer, producer = floor.consumer(table.model(0)), floor.producer()
    topic, chunks = table.full_name(floor.federation, table.updates(0)), floor.chunks
    for _ in range(floor.rounds):
        read(consumer, floor.model_bytes)
        append(producer, topic, chunks)
        producer.flush()
    consumer.close()


def main() -> None:
    role, bootstrap, federation, *numbers = sys.argv[1:]
    {"hub": hub, "edge": edge}[role](Floor(bootstrap, federation, *map(int, numbers)))


if __name__ == "__main__":
    main()
