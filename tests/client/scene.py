"""A small federation as values, for the client's tests: its models as chunks, its records at their offsets."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from fdstream.client.session import Outcome, Session
from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import Array, payload
from fdstream.events import Effects, Entry, Follow, Tell, Upload, Uploaded
from fdstream.flat import weight_chunks
from fdstream.layout import Layout, TensorSpec
from fdstream.ledger import NO_PREVIOUS
from fdstream.log import Record
from fdstream.messages import (
    FederationOpened,
    Message,
    ModelChunk,
    Report,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    Settings,
    ShardModel,
)
from fdstream.topics import table

NONCE = b"n" * 16
SAMPLING_NONCE = b"x" * 16
# Five chunks: 4, 4 and 2 elements of float32, then 2 and 1 of int64. Shard 0 has three of them, shard 1 two.
TENSORS = (TensorSpec("w", "float32", (2, 5)), TensorSpec("steps", "int64", (3,)))
LAYOUT = Layout(TENSORS, 16, shards=2)
SETTINGS = Settings(
    num_rounds=9,
    min_clients=1,
    max_clients=9,
    deadline_seconds=60.0,
    max_extensions=9,
    fraction=1.0,
    strategy="fedavg",
    keep_rounds=2,
    seed=0,
    final_evaluation=True,
)

Sharded = list[tuple[int, ModelChunk]]  # shard, chunk


def attempt_of(version: int) -> bytes:
    """The attempt that wrote a version of the model."""
    return b"attempt " + version.to_bytes(8, "big")


def weights_of(version: int) -> dict[str, Array]:
    """A version of the model; no two are alike in any element."""
    return {
        "w": np.arange(10, dtype=np.float32).reshape(2, 5) + np.float32(100 * version),
        "steps": np.arange(3, dtype=np.int64) + 1000 * version,
    }


def model_chunks(weights: Mapping[str, Array], version: int, layout: Layout = LAYOUT) -> Sharded:
    """Every chunk of a model with the shard it belongs to."""
    return [
        (spec.shard, ModelChunk(NONCE, attempt_of(version), version, 0, spec.index, bytes(payload(values))))
        for spec, values in weight_chunks(layout, weights)
    ]


def shard_models(chunks: Sharded, starts: Sequence[int], attempt: bytes) -> tuple[ShardModel, ...]:
    """What control says about these chunks."""
    digests: dict[int, list[bytes]] = {shard: [] for shard in range(len(starts))}
    for shard, chunk in chunks:
        digests[shard].append(chunk_digest(chunk.data))
    nothing = shard_digest(())
    return tuple(
        ShardModel(attempt, start, shard_digest(digests[shard]), 0, nothing)
        for shard, start in enumerate(starts)
    )


class Pages:
    """Hands out records at the next offsets of their partitions."""

    def __init__(self) -> None:
        self.ends: defaultdict[tuple[str, int], int] = defaultdict(int)

    def entry(self, topic: str, partition: int, message: Message, value: bytes = b"") -> Entry:
        offset = self.ends[topic, partition]
        self.ends[topic, partition] += 1
        return Entry(Record(topic, partition, offset, 1000.0 + offset, value), message)

    def control(self, message: Message) -> Entry:
        return self.entry(table.CONTROL, 0, message)


class History:
    """The history of a federation that publishes a model for each of its rounds."""

    def __init__(self, settings: Settings = SETTINGS, slots: int = 2, layout: Layout = LAYOUT) -> None:
        self.pages = Pages()
        self.slots = slots
        self.layout = layout
        self.models: dict[int, tuple[ShardModel, ...]] = {}
        self.chunks: dict[int, list[Entry]] = {}
        self.publish(1)
        self.opened = FederationOpened(
            NONCE, TENSORS, layout.chunk_bytes, layout.shards, slots, settings, {}, self.models[1]
        )

    def publish(self, version: int) -> None:
        """Put the model of a round in the log."""
        topic = table.model(table.slot_of(version, self.slots))
        starts = [self.pages.ends[topic, shard] for shard in range(self.layout.shards)]
        chunks = model_chunks(weights_of(version), version, self.layout)
        self.models[version] = shard_models(chunks, starts, attempt_of(version))
        self.chunks[version] = [self.pages.entry(topic, shard, chunk) for shard, chunk in chunks]

    def round_opened(self, number: int, *, training: bool = True) -> RoundOpened:
        model, starts = self.models[number], (0,) * self.layout.shards
        previous = NO_PREVIOUS if number == 1 else hashlib.sha256(b"").digest()  # entries here have no bytes
        return RoundOpened(NONCE, number, training, model, starts, 0, starts, SAMPLING_NONCE, previous)

    def closed(self, number: int) -> RoundClosed:
        """The end of a round, after the next model was published."""
        if number + 1 not in self.models:
            self.publish(number + 1)
        return RoundClosed(NONCE, number, 1, 1, 1, {}, {}, self.models[number + 1], bytes(32))


def closing(number: int, ordinal: int = 1) -> RoundClosing:
    return RoundClosing(NONCE, number, ordinal, (), (0, 0))


def extended(number: int, extension: int, *excluded: int, fraction: float = 1.0) -> RoundExtended:
    return RoundExtended(NONCE, number, extension, fraction, excluded)


class Scene:
    """A session that reads a history, entry by entry, and what it wants done about it."""

    def __init__(self, *clients: str, fraction: float = 1.0, shards: int = 2, codec: str = "full") -> None:
        layout = Layout(TENSORS, 16, shards)
        self.history = History(replace(SETTINGS, fraction=fraction, codec=codec), layout=layout)
        self.session = Session(clients, self._new_id)
        self._ids = 0
        self.see(self.history.opened)

    def _new_id(self) -> bytes:
        self._ids += 1
        return self._ids.to_bytes(16, "big")

    def see(self, *messages: Message) -> Effects:
        """The session reads these in control."""
        return self.read(map(self.history.pages.control, messages))

    def read(self, entries: Iterable[Entry]) -> Effects:
        return [effect for entry in entries for effect in self.session.step(entry)]

    def open(self, number: int, *, training: bool = True) -> Effects:
        """The session sees a round open; rounds before it are closed."""
        return self.see(self.history.round_opened(number, training=training))

    def close(self, number: int) -> Effects:
        return self.see(closing(number), self.history.closed(number))

    def receive(self, number: int) -> Effects:
        """The session reads the chunks of a round's model."""
        return self.read(self.history.chunks[number])

    def begin(self, number: int, *, training: bool = True) -> list[str]:
        """A round opens and its model arrives; who is due."""
        self.open(number, training=training)
        self.receive(number)
        return self.session.due()

    def answer(self, client: str, outcome: Outcome, *, offset: int = 0) -> Report:
        """The client's outcome goes out, every acknowledgement comes, its report lies at `offset`."""
        upload = only_upload(self.session.report(client, outcome))
        if upload.tag[0] == "update":
            list(upload.messages)
            upload = only_upload(self.session.step(Uploaded(upload.tag, {0: 0, 1: 0})))
        self.session.step(Uploaded(upload.tag, {0: offset}))
        return report_of(upload)


def only_upload(effects: Effects) -> Upload:
    """The one effect there is, an upload."""
    (upload,) = effects
    assert isinstance(upload, Upload)
    return upload


def report_of(upload: Upload) -> Report:
    """The one record of an upload to partition 0, a report."""
    ((partition, report),) = upload.messages
    assert partition == 0
    assert isinstance(report, Report)
    return report


def trained(version: int, step: float = 1.0) -> Outcome:
    """Training that adds `step` to every weight."""
    weights = {name: array + np.asarray(step, array.dtype) for name, array in weights_of(version).items()}
    return Outcome(weights, 7, {"loss": 0.5}, 3, {"accuracy": 0.75})


def followed(effects: Effects) -> dict[str, list[int]]:
    """For each topic the partitions that the effects follow; but for what they tell they hold nothing else."""
    found: dict[str, list[int]] = {}
    for effect in effects:
        if isinstance(effect, Tell):
            continue
        assert isinstance(effect, Follow)
        found.setdefault(effect.topic, []).append(effect.partition)
    return found
