"""What goes into the pure cores and what comes out of them, as values.

Events: `Entry`, `Lost`, `Uploaded`, `Ends`, `Tick`. Effects: `Append`, `Upload`, `ReadEnds`, `Follow`, `Unfollow`,
`DeleteBefore`, `Tell`. A driver performs effects on a `Log` and turns what the log answers into events; it is free
to be slow, to be killed and to be started again, and the cores may not care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fdstream.log import Lost, Record
from fdstream.messages import Message, Refusal

Tag = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record of the log and what it says."""

    record: Record
    message: Message | Refusal


@dataclass(frozen=True, slots=True)
class Uploaded:
    """Every record of the upload is acknowledged; `starts` has the lowest offset they got in each partition."""

    tag: Tag
    starts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Ends:
    """The answer to `ReadEnds`: for each topic the end offset of every partition."""

    tag: Tag
    offsets: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes. `now_seconds` estimates the broker's clock; used only where a judgement is then written down."""

    now_seconds: float


Event = Entry | Lost | Uploaded | Ends | Tick


@dataclass(frozen=True, slots=True)
class Append:
    """Write one record; and right behind it, where `then` is given, the record that this makes of its bytes."""

    topic: str
    partition: int
    message: Message
    then: Callable[[bytes], Message] | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """Write records to partitions of a topic, drawing them one at a time; answered by `Uploaded`."""

    tag: Tag
    topic: str
    messages: Iterable[tuple[int, Message]]  # partition, record


@dataclass(frozen=True, slots=True)
class ReadEnds:
    """Ask for the end offsets of topics; answered by `Ends`."""

    tag: Tag
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Follow:
    """Deliver the partition from `offset` on, again where it was delivered."""

    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Unfollow:
    """Deliver nothing more of the partition."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class DeleteBefore:
    """What lies below these offsets is no longer needed."""

    offsets: Mapping[tuple[str, int], int]  # by topic and partition


@dataclass(frozen=True, slots=True)
class Tell:
    """Something a person or a metric may want to know; nothing depends on it."""

    name: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Effect = Append | Upload | ReadEnds | Follow | Unfollow | DeleteBefore | Tell
Effects = list[Effect]
