"""The records for people: who is alive, and what was refused. Nothing that decides a round reads them.

A part of `fdstream.messages`, which has the others and names them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from fdstream.ranges import MAX_METRICS, MAX_OFFSET, few, identifier, text, within


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """members: a member is alive, and what it is doing. Nothing that decides a round reads it."""

    ROLES: ClassVar[tuple[str, ...]] = ("client", "server")

    member: str
    role: str
    state: str
    round: int
    profile: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        identifier("member", self.member)
        if self.role not in self.ROLES:
            raise ValueError(f"role is {self.role!r}, not one of {', '.join(self.ROLES)}")
        identifier("state", self.state)
        within("round", self.round, 0, 1 << 31)
        few("profile", self.profile, MAX_METRICS)
        for key, value in self.profile.items():
            identifier("a name in profile", key)
            text("a value in profile", value)


@dataclass(frozen=True, slots=True)
class Rejected:
    """rejected: where a bad record lies, who sent it as far as known, and why it was skipped."""

    topic: str
    partition: int
    offset: int
    sender: str
    reason: str  # one of a small set, counted in metrics
    detail: str

    def __post_init__(self) -> None:
        within("partition", self.partition, 0, 1 << 20)
        within("offset", self.offset, 0, MAX_OFFSET)
        for name in ("topic", "sender", "reason", "detail"):
            text(name, getattr(self, name))
