"""The schemas in `schemas/*.avsc` as fastavro takes them, and the bytes that name them on the wire.

A record that ends in `data` (bytes) is handled by its *head*: the same schema with a long in the place of the
bytes. Avro writes bytes as a long, their length, and then themselves; so the head's encoding followed by the
data is the record's encoding, and bulk data need not pass through the Avro library. This file knows no dataclass.
"""

from __future__ import annotations

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from fdstream.messages import PROTOCOL

MARKER: Final = b"\xc3\x01"
"""Avro single-object encoding, version 1: this, the schema's fingerprint, the record."""

FINGERPRINT_BYTES: Final = 8

Schema = dict[str, Any]


def load(name: str, protocol: int = PROTOCOL, folder: Traversable | None = None) -> Schema:
    """The schema in which a record is written in this version of the protocol.

    `schemas/<name>.avsc` is today's. When it changes, the one that held up to version N moves to
    `schemas/v<N>/<name>.avsc` and stays there, so that federations of that version go on being understood.
    """
    root = folder if folder is not None else files(__package__).joinpath("schemas")
    kept = (root.joinpath(f"v{number}", f"{name}.avsc") for number in range(protocol, PROTOCOL))
    found = next((path for path in kept if path.is_file()), root.joinpath(f"{name}.avsc"))
    schema: Schema = json.loads(found.read_text(encoding="utf-8"))
    return schema


def parse(schema: Schema) -> Schema:
    """The schema as fastavro's readers and writers take it fastest."""
    parsed = fastavro.parse_schema(schema)
    assert isinstance(parsed, dict)
    return parsed


def fingerprint_of(schema: Schema) -> bytes:
    """CRC-64-AVRO of the schema's parsing canonical form, as it stands on the wire: 8 bytes, little-endian."""
    return bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


def ends_in_data(schema: Schema) -> bool:
    """Whether the record is a head followed by bulk data."""
    return bool(schema["fields"][-1]["name"] == "data")


def head_of(schema: Schema) -> Schema:
    """The schema of all but the bytes of `data`; of the whole record where it has none."""
    if not ends_in_data(schema):
        return schema
    *fields, data = schema["fields"]
    return schema | {"fields": [*fields, data | {"type": "long"}]}
