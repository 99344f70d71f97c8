"""A client's update as it travels: chunk by chunk through the federation's codec, and what that left out. Pure.

Knows the federation's terms and no rounds of clients: who is asked, and what becomes of a report, is the session's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from fdstream.aggregation.fixed_point import MAX_WEIGHTED_VALUE, admissible
from fdstream.client.feedback import Feedback
from fdstream.codecs import WHOLE, for_dtype, seed_of
from fdstream.digests import chunk_digest, shard_digest
from fdstream.dtypes import Array, payload
from fdstream.flat import FlatModel, update_chunks
from fdstream.layout import ChunkSpec
from fdstream.ledger import Ledger
from fdstream.messages import Report, UpdateChunk


@dataclass(slots=True)
class Update:
    """An update on its way, and the report that will follow it."""

    report: Report
    digests: list[list[bytes]]  # of the chunks drawn so far, by shard
    failure: str | None = None  # why it cannot be sent


class Updates:
    """Those of the clients behind one connection, each with its own memory of what it owes."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._feedback: defaultdict[str, Feedback] = defaultdict(Feedback)

    def forget_all_but(self, clients: Collection[str]) -> None:
        """Whoever else there was is not expected again."""
        for stranger in self._feedback.keys() - set(clients):
            del self._feedback[stranger]

    def lacks_memory(self, client: str) -> bool:
        """Whether a client that starts late or anew, or never stays, may owe what it cannot know."""
        late = self._ledger.codec.remembers and self._ledger.round > 1
        return late and not self._feedback[client].has_sent

    def begin(self, report: Report) -> Update:
        return Update(report, [[] for _ in range(self._ledger.federation.shards)])

    def chunks(
        self, update: Update, received: FlatModel, weights: Mapping[str, Array]
    ) -> Iterator[tuple[int, UpdateChunk]]:
        """Each with its shard, until one cannot be summed: then the report will say so."""
        report = update.report
        self._feedback[report.client].begin(report.round)
        for spec, values in update_chunks(self._ledger.layout, received, weights):
            data, sent = self._encoded(report, spec, values)
            if not admissible(sent, report.num_examples):
                update.failure = f"the update is infinite or beyond {MAX_WEIGHTED_VALUE:g} times one example"
                return
            update.digests[spec.shard].append(chunk_digest(data))
            yield (
                spec.shard,
                UpdateChunk(
                    report.nonce, report.attempt, report.round, spec.index, report.num_examples, data
                ),
            )

    def reported(self, update: Update, carried: bytes = b"") -> Report:
        """The report of an update that is on its way as a whole, or is `carried` by it, or why it is not."""
        if update.failure is not None:
            return replace(update.report, failure=update.failure)
        self._feedback[update.report.client].reported()
        digests = tuple(map(shard_digest, update.digests))
        update.digests.clear()  # a client's last update is kept for why it failed
        return replace(update.report, digests=digests, data=carried)

    def _encoded(self, report: Report, spec: ChunkSpec, values: Array) -> tuple[memoryview, Array]:
        """A chunk as it travels, and what its readers will take it for."""
        codec = for_dtype(self._ledger.codec, spec.dtype)
        if codec is WHOLE:
            return payload(values), values
        feedback = self._feedback[report.client]
        wanted = feedback.wanted(spec.index, values)
        seed = seed_of(self._ledger.federation.settings.seed, report.client, report.round, spec.index)
        data = codec.encode(wanted, seed)
        sent = codec.decode(data, values.dtype, spec.size)
        if codec.remembers:
            feedback.left(spec.index, wanted, sent)
        return data, sent
