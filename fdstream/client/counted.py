"""A log that counts the bytes of the records that pass through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fdstream.log import Log, Lost, OnAck, Record


class CountedLog:
    """See `Log`. Counts values alone, not what Kafka or gRPC add to them."""

    def __init__(self, log: Log) -> None:
        self.received_bytes = 0
        self.sent_bytes = 0
        self._log = log
        self.flush = log.flush
        self.follow = log.follow
        self.unfollow = log.unfollow
        self.end_offsets = log.end_offsets
        self.start_offsets = log.start_offsets
        self.close = log.close

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes,
        *,
        key: bytes = b"",
        on_ack: OnAck | None = None,
        droppable: bool = False,
    ) -> bool:
        """See `Log.append`."""
        queued = self._log.append(topic, partition, value, key=key, on_ack=on_ack, droppable=droppable)
        self.sent_bytes += len(value) if queued else 0
        return queued

    def poll(self, timeout_seconds: float) -> Sequence[Record | Lost]:
        """See `Log.poll`."""
        found = self._log.poll(timeout_seconds)
        self.received_bytes += sum(len(item.value) for item in found if isinstance(item, Record))
        return found

    def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """See `Log.delete_before`."""
        self._log.delete_before(offsets)
