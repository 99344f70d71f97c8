"""Performs the effects of a pure core on a log and feeds it what the log answers.

The only place where records meet bytes on their way in and out of a core. It knows neither what the core is for
nor which log it runs on; it has no thread of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from fdstream.events import (
    Append,
    DeleteBefore,
    Effect,
    Effects,
    Ends,
    Entry,
    Event,
    Follow,
    ReadEnds,
    Tag,
    Tell,
    Tick,
    Unfollow,
    Upload,
    Uploaded,
)
from fdstream.log import Log, Lost, Record
from fdstream.messages import FederationOpened, Message
from fdstream.serde.avro import WIRE, Wire
from fdstream.signatures import SigningKey
from fdstream.topics import table


class Core(Protocol):
    """What a driver can drive."""

    def begin(self) -> Effects: ...

    def step(self, *events: Event) -> Effects: ...

    @property
    def protocol(self) -> int:
        """The version in which records of its federation are written."""


def written(
    message: Message, key: SigningKey | None, protocol: int | None = None, wire: Wire = WIRE
) -> bytes:
    """The record's bytes in a version of the protocol; where it can be signed and there is a key, signed."""
    value = wire.encode(message, protocol)
    return key.sign(value) if key is not None and hasattr(message, "signature") else value


class _Acks:
    """Counts the acknowledgements of one upload."""

    def __init__(self, tag: Tag, done: Callable[[Event], None]) -> None:
        self.tag = tag
        self.done = done
        self.starts: dict[int, int] = {}
        self.waiting = 1  # for the end of the drawing

    def expect(self, partition: int) -> Callable[[int], None]:
        self.waiting += 1
        return lambda offset: self.acked(partition, offset)

    def acked(self, partition: int, offset: int) -> None:
        self.starts[partition] = min(offset, self.starts.get(partition, offset))
        self.count_down()

    def count_down(self) -> None:
        self.waiting -= 1
        if self.waiting == 0:
            self.done(Uploaded(self.tag, self.starts))


class BrokerClock:
    """Estimates the broker's time from the records it stamps and a local monotonic clock, both in seconds.

    A record is stamped before it is read, so the largest difference seen is the closest. Before any record is
    read the estimate is 0, which passes no deadline.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._difference: float | None = None

    def seen(self, timestamp_seconds: float) -> None:
        difference = timestamp_seconds - self._monotonic()
        if self._difference is None or difference > self._difference:
            self._difference = difference

    def now_seconds(self) -> float:
        return 0.0 if self._difference is None else self._difference + self._monotonic()


class Driver:
    """One core on one log. `tell` hears what it has to say to people and metrics; `key` signs what it writes."""

    def __init__(
        self,
        core: Core,
        log: Log,
        *,
        tell: Callable[[Tell], None],
        monotonic: Callable[[], float],
        key: SigningKey | None = None,
        wire: Wire = WIRE,
    ) -> None:
        self.core = core
        self.log = log
        self._tell = tell
        self.key = key
        self._wire = wire
        self._clock = BrokerClock(monotonic)
        self._answers: deque[Event] = deque()

    def begin(self) -> None:
        self.perform(self.core.begin())

    def turn(self, timeout_seconds: float) -> None:
        """Wait for records at most this long, feed them to the core, all at once, and tell it the time."""
        events: list[Event] = []
        for item in self.log.poll(0 if self._answers else timeout_seconds):
            events.append(self._event(item))
            if isinstance(events[-1], Entry) and isinstance(events[-1].message, FederationOpened):
                self.perform(self.core.step(*events))  # what follows is read in its version
                events = []
        self.perform(self.core.step(*events, Tick(self._clock.now_seconds())))

    def settle(self) -> None:
        """Return when everything written so far, and what its acknowledgements lead to, is acknowledged."""
        self.log.flush()
        while self._answers:
            self.perform(())
            self.log.flush()

    def perform(self, effects: Iterable[Effect]) -> None:
        """Carry effects out, and those that their answers lead to."""
        for effect in effects:
            self._perform(effect)
        while self._answers:
            for effect in self.core.step(self._answers.popleft()):
                self._perform(effect)

    def _event(self, item: Record | Lost) -> Event:
        if isinstance(item, Lost):
            return item
        self._clock.seen(item.timestamp_seconds)
        message = self._wire.decode(item.value, table.records(item.topic), self.core.protocol)
        return Entry(item, message)

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Append():
                self._append(effect)
            case Upload():
                self._upload(effect)
            case ReadEnds():
                ends = {topic: tuple(self.log.end_offsets(topic)) for topic in effect.topics}
                self._answers.append(Ends(effect.tag, ends))
            case Follow():
                self.log.follow(effect.topic, effect.partition, effect.offset)
            case Unfollow():
                self.log.unfollow(effect.topic, effect.partition)
            case DeleteBefore():
                self.log.delete_before(effect.offsets)
            case Tell():
                self._tell(effect)

    def _append(self, effect: Append) -> None:
        value = self._written(effect.message)
        self.log.append(effect.topic, effect.partition, value)
        if effect.then is not None:
            self.log.append(effect.topic, effect.partition, self._written(effect.then(value)))

    def _written(self, message: Message) -> bytes:
        return written(message, self.key, self.core.protocol, self._wire)

    def _upload(self, upload: Upload) -> None:
        acks = _Acks(upload.tag, self._answers.append)
        for partition, message in upload.messages:
            on_ack = acks.expect(partition)
            self.log.append(upload.topic, partition, self._written(message), on_ack=on_ack)
        acks.count_down()
