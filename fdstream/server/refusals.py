"""What a server refused: counted, told of, and written to `rejected` by whoever has the shard. Pure.

A shard is a partition number; who has shard 0 also answers for `control` and the reports. Every server reads those
and `shards`, and between two owners a shard may be nobody's for a moment. So each keeps what it refused of a shard
that it does not have, and writes it down should the shard become its own: on `rejected` at least once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Set

from fdstream.events import Append, Effects, Entry, Tell
from fdstream.messages import Rejected
from fdstream.topics import table

MAX_REJECTED_PER_REASON = 100
_MAX_DETAIL_CHARS = 500


class Refusals:
    """Of each reason all are counted in a round and the first hundred are written down.

    What nobody has written within the round after its own was written by whoever opened the next: it read that
    far, and had shard 0.
    """

    def __init__(self) -> None:
        self._round = 0
        self._counts: Counter[str] = Counter()
        self._unwritten: defaultdict[int, list[tuple[int, Rejected]]] = defaultdict(list)  # by shard

    def add(self, entry: Entry, reason: str, detail: str, round_number: int) -> Tell:
        """Count it, and keep where it lies for the server that has the shard."""
        self._turn_to(round_number)
        record = entry.record
        self._counts[reason] += 1
        count = self._counts[reason]
        if count <= MAX_REJECTED_PER_REASON:
            sender = getattr(entry.message, "client", "") or getattr(entry.message, "attempt", b"").hex()
            detail = detail[:_MAX_DETAIL_CHARS]
            rejected = Rejected(record.topic, record.partition, record.offset, sender, reason, detail)
            self._unwritten[record.partition].append((round_number, rejected))
        facts = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        return Tell("rejected", {**facts, "reason": reason, "count": count})

    def write(self, shards: Set[int], round_number: int) -> Effects:
        """Write down what was refused of these shards, once."""
        self._turn_to(round_number)
        return [
            Append(table.REJECTED, 0, rejected)
            for shard in shards & self._unwritten.keys()
            for _, rejected in self._unwritten.pop(shard)
        ]

    def _turn_to(self, round_number: int) -> None:
        if round_number == self._round:
            return
        self._round = round_number
        self._counts.clear()
        for shard, kept in list(self._unwritten.items()):
            self._unwritten[shard] = [(number, each) for number, each in kept if number >= round_number - 1]
