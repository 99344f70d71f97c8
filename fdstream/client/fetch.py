"""Reads one whole model back from the log, for whoever is no client: saving, exporting, global evaluation."""

from __future__ import annotations

from fdstream import interrupts
from fdstream.client.assembly import Assembly
from fdstream.codecs import Codec
from fdstream.errors import RemoteError
from fdstream.flat import FlatModel
from fdstream.layout import Layout
from fdstream.ledger import Ledger, Phase
from fdstream.log import Log, Lost, Record
from fdstream.messages import ModelChunk, RoundOpened, ShardModel
from fdstream.serde.avro import decode
from fdstream.topics import table

POLL_SECONDS = 0.5


def fetch_model(
    log: Log, layout: Layout, topic: str, named: tuple[ShardModel, ...], codec: Codec
) -> FlatModel:
    """The model that the shard models name, every shard checked.

    Raises `RemoteError` where its chunks were deleted or do not match.
    """
    assembly = Assembly(layout, named, codec)
    for shard in layout.active_shards:
        log.follow(topic, shard, named[shard].start)
    try:
        while assembly.missing_shards:
            interrupts.check()
            for item in log.poll(POLL_SECONDS):
                if item.topic == topic:
                    _take(assembly, item)
    finally:
        for shard in layout.active_shards:
            log.unfollow(topic, shard)
    return assembly.model


def _take(assembly: Assembly, item: Record | Lost) -> None:
    if isinstance(item, Lost):
        raise RemoteError(
            f"this model is no longer in the log: {item.topic}[{item.partition}] begins after offset {item.offset}. "
            "The federation keeps its newest rounds alone, see --keep-rounds; ask for a newer one"
        )
    message = decode(item.value, table.records(item.topic))
    if isinstance(message, ModelChunk) and message.part == 0:
        assembly.add(item.partition, message)


def newest_version(ledger: Ledger) -> int:
    """The version of the newest whole model: one more than the training rounds that have closed.

    Raises `RemoteError` where the federation is not open yet.
    """
    if ledger.phase is Phase.ABSENT:
        raise RemoteError("the federation has no model yet: no server has opened it")
    closed = ledger.closed_record
    return 1 + (min(closed.round, ledger.federation.settings.num_rounds) if closed is not None else 0)


def fetch_version(log: Log, ledger: Ledger, version: int) -> FlatModel:
    """The model that round `version` starts or started from, every shard checked.

    Raises `RemoteError` where the log does not hold it.
    """
    entry = ledger.history.get(version)
    if entry is not None and isinstance(entry.message, RoundOpened):
        named = entry.message.model
    elif version == newest_version(ledger):
        named = ledger.current_model()
    else:
        raise RemoteError(
            f"there is no model after round {version - 1}: the newest is after round {newest_version(ledger) - 1}"
        )
    topic = table.model(table.slot_of(version, ledger.federation.slots))
    return fetch_model(log, ledger.layout, topic, named, ledger.model_codec)
