"""A second, naive writer of Avro after its specification, to check the first one and to forge hostile records.

It walks the schema files themselves, shares no code with fdstream, and takes dataclasses as they are.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fdstream.serde

SCHEMAS = Path(fdstream.serde.__file__).parent / "schemas"

_EMPTY = 0xC15D213AA4D7A795
_KEPT = ("name", "type", "fields", "symbols", "items", "values", "size")
_PRIMITIVES = {str: "string", int: "long", float: "double", bool: "boolean", type(None): "null"}


def schema_of(name: str) -> dict[str, Any]:
    """The schema file of a record class."""
    schema: dict[str, Any] = json.loads((SCHEMAS / f"{name}.avsc").read_text(encoding="utf-8"))
    return schema


def long(value: int) -> bytes:
    """Zigzag and variable length."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def text(value: str) -> bytes:
    return long(len(value.encode())) + value.encode()


_PLAIN: dict[str, Callable[[Any], bytes]] = {
    "null": lambda _: b"",
    "boolean": lambda value: bytes([value]),
    "long": long,
    "double": lambda value: struct.pack("<d", value),
    "string": text,
    "bytes": lambda value: long(len(value)) + bytes(value),
}


def canonical(schema: Any, namespace: str) -> Any:
    """The parsing canonical form as values: names full, the fields that matter, in the specification's order."""
    if isinstance(schema, list):
        return [canonical(branch, namespace) for branch in schema]
    if isinstance(schema, str):
        return f"{namespace}.{schema}" if schema[0].isupper() else schema
    out = {key: schema[key] for key in _KEPT if key in schema}
    for key in ("type", "items", "values"):
        if key in out and out[key] not in ("record", "array", "map", "fixed"):
            out[key] = canonical(out[key], namespace)
    if "fields" in out:
        out["fields"] = [canonical(field, namespace) for field in out["fields"]]
    if out["type"] in ("record", "fixed"):
        out["name"] = f"{namespace}.{out['name']}"
    return out


def fingerprint(name: str) -> bytes:
    """CRC-64-AVRO over the canonical form, bit by bit; 8 bytes, little-endian."""
    schema = schema_of(name)
    return crc_64(json.dumps(canonical(schema, schema["namespace"]), separators=(",", ":")).encode())


def crc_64(data: bytes) -> bytes:
    crc = _EMPTY
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (_EMPTY if crc & 1 else 0)
    return crc.to_bytes(8, "little")


def record(value: Any) -> bytes:
    """The whole record: marker, fingerprint, fields."""
    name = type(value).__name__
    return b"\xc3\x01" + fingerprint(name) + _write(schema_of(name), value, {})


def _write(schema: Any, value: Any, named: dict[str, Any]) -> bytes:
    kind = named.get(schema, schema) if isinstance(schema, str) else schema
    if isinstance(kind, str):
        return _PLAIN[kind](value)
    if isinstance(kind, list):
        place = next(place for place, branch in enumerate(kind) if _takes(branch, value))
        return long(place) + _write(kind[place], value, named)
    if "name" in kind:
        named[kind["name"]] = kind
    return _compound(kind, value, named)


def _takes(branch: Any, value: Any) -> bool:
    if isinstance(branch, str):
        return branch == _PRIMITIVES.get(type(value))
    return bool(branch["name"] == type(value).__name__)


def _compound(kind: dict[str, Any], value: Any, named: dict[str, Any]) -> bytes:
    match kind["type"]:
        case "fixed":
            return bytes(value)
        case "array":
            return _blocks([_write(kind["items"], item, named) for item in value])
        case "map":
            return _blocks([text(key) + _write(kind["values"], item, named) for key, item in value.items()])
        case "record":
            return b"".join(_write(f["type"], getattr(value, f["name"]), named) for f in kind["fields"])
    raise AssertionError(f"{kind} is not part of the protocol's schemas")


def _blocks(items: list[bytes]) -> bytes:
    return (long(len(items)) + b"".join(items) if items else b"") + long(0)
