"""Reads one whole model back from the log, for whoever is no client: saving, exporting, global evaluation."""

from __future__ import annotations

from fdstream.client.assembly import Assembly
from fdstream.errors import RemoteError
from fdstream.flat import FlatModel
from fdstream.layout import Layout
from fdstream.ledger import Ledger
from fdstream.log import Log, Lost
from fdstream.messages import ModelChunk, RoundOpened, ShardModel
from fdstream.serde.avro import decode
from fdstream.topics import table

POLL_SECONDS = 0.5


def fetch_model(log: Log, layout: Layout, topic: str, named: tuple[ShardModel, ...]) -> FlatModel:
    """The model that the shard models name, every shard checked.

    Raises `RemoteError` where its chunks were deleted or do not match.
    """
    assembly = Assembly(layout, named)
    for shard in layout.active_shards:
        log.follow(topic, shard, named[shard].start)
    while assembly.missing_shards:
        for item in log.poll(POLL_SECONDS):
            if isinstance(item, Lost):
                raise RemoteError(
                    f"{item.topic}[{item.partition}] no longer holds the model's chunks at offset {item.offset}: "
                    "this round is past what the federation keeps (--keep-rounds)"
                )
            message = decode(item.value)
            if item.topic == topic and isinstance(message, ModelChunk) and message.part == 0:
                assembly.add(item.partition, message)
    for shard in layout.active_shards:
        log.unfollow(topic, shard)
    return assembly.model


def fetch_round(log: Log, ledger: Ledger, round_number: int) -> FlatModel:
    """The model that round `round_number` starts or started from; the final one is that of the last round + 1."""
    federation = ledger.federation
    entry = ledger.history.get(round_number)
    if entry is not None and isinstance(entry.message, RoundOpened):
        named = entry.message.model
    elif round_number == ledger.next_round:
        named = ledger.current_model()
    else:
        kept = ", ".join(map(str, sorted(ledger.history))) or "none"
        raise RemoteError(f"the model of round {round_number} is not in the log; rounds kept: {kept}")
    return fetch_model(log, ledger.layout, table.model(table.slot_of(round_number, federation.slots)), named)
