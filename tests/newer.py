"""A fdstream of tomorrow: version 2 of the protocol, in which a report has one more field, which may be left out.

It keeps version 1 as today's package has it, and reads both as its own record.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, fields
from typing import Any, get_args

from fdstream.messages import Message, Refusal, Report
from fdstream.serde.avro import Wire
from fdstream.serde.schema import Schema, load

BATTERY: dict[str, Any] = {"name": "battery", "type": ["null", "string"], "doc": "How full.", "default": None}


@dataclass(frozen=True, slots=True)
class NewerReport(Report):
    """Tomorrow's report."""

    battery: str | None = None


NewerReport.__name__ = "Report"


def newer_schema(name: str, protocol: int) -> Schema:
    """The schemas of tomorrow: the new field stands before the signature."""
    schema = load(name, 1)
    if (name, protocol) != ("Report", 2):
        return schema
    *others, signature = schema["fields"]
    return schema | {"fields": [*others, BATTERY, signature]}


class NewerWire(Wire):
    """Tomorrow's encoding."""

    def __init__(self) -> None:
        kept = [cls for cls in get_args(Message) if cls is not Report]
        super().__init__([*kept, NewerReport], 2, newer_schema)

    def decode(
        self, value: bytes, expected: Collection[type] | None = None, protocol: int | None = None
    ) -> Message | Refusal:
        wanted = None if expected is None else {*expected, NewerReport}
        return super().decode(value, wanted, protocol)


NEWER = NewerWire()


def newer(report: Report, battery: str | None = "half full") -> NewerReport:
    """What tomorrow's client would report."""
    values = {field.name: getattr(report, field.name) for field in fields(Report)}
    return NewerReport(**values, battery=battery)
