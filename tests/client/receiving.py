"""A receiver whose ledger reads control, for tests of the receiver."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from fdstream.client.receiver import Receiver
from fdstream.events import Effects, Entry
from fdstream.ledger import Ledger
from fdstream.messages import Settings
from fdstream.topics import table
from tests.client.scene import SETTINGS, History, closing, weights_of

TOPICS = [table.model(0), table.model(1)]  # round r is in TOPICS[r % 2]


class Reader:
    """A receiver whose ledger reads control up to a round."""

    def __init__(self, *, slots: int = 2, settings: Settings = SETTINGS) -> None:
        self.history = History(settings, slots)
        self.ledger = Ledger()
        self.receiver = Receiver(self.ledger)
        self.ledger.fold(self.history.pages.control(self.history.opened))

    def open(self, number: int) -> None:
        """Control says that the round is open, and before that how the one before it closed."""
        if number > 1:
            for message in (closing(number - 1), self.history.closed(number - 1)):
                self.ledger.fold(self.history.pages.control(message))
        assert self.ledger.fold(self.history.pages.control(self.history.round_opened(number)))

    def begin(self, number: int, *, ahead: bool = False) -> Effects:
        self.open(number)
        return self.receiver.begin(ahead=ahead)

    def read(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self.receiver.on_chunk(entry)

    def assert_has(self, version: int) -> None:
        assert self.receiver.complete
        assert self.receiver.assembly is not None
        for name, array in self.receiver.assembly.model.tensors().items():
            np.testing.assert_array_equal(array, weights_of(version)[name], strict=True)


def sized(entry: Entry, size: int) -> Entry:
    """The entry as if its record had so many bytes."""
    return replace(entry, record=replace(entry.record, value=bytes(size)))


def of_shard(entries: Iterable[Entry], shard: int) -> list[Entry]:
    return [entry for entry in entries if entry.record.partition == shard]
