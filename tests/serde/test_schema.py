"""The schema files say what the dataclasses say, explain every field, and do not change by accident."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

from fdstream.layout import TensorSpec
from fdstream.messages import Exclusion, Message, Settings, ShardModel, Signature
from fdstream.serde.schema import ends_in_data, fingerprint_of, head_of, load
from tests.serde import plain_avro

CLASSES = {cls.__name__: cls for cls in get_args(Message)}
PARTS = {cls.__name__: cls for cls in (TensorSpec, Settings, ShardModel, Exclusion, Signature)}

# A new fingerprint is a new protocol: older peers refuse the record.
FINGERPRINTS = {
    "FederationOpened": "509b9945823139af",
    "RoundOpened": "8c39518623ad2869",
    "RoundExtended": "9396ba696b08341f",
    "RoundClosing": "fe57dc0fed813f7b",
    "RoundClosed": "d4eb36bd81861836",
    "GlobalEvaluated": "b590b05813d76aff",
    "FederationFinished": "86b039a3c7d7fbad",
    "ShardVerdict": "3a565a670764ec3f",
    "ShardResult": "7c77521cfd6b1fff",
    "Report": "2ac7d4749e74ac19",
    "ModelChunk": "851b892e6424e887",
    "UpdateChunk": "bb67f78007d88acc",
    "Heartbeat": "8a1282021e3c302a",
    "Rejected": "605493e0617b7da1",
}


def records_in(schema: Any) -> Iterator[dict[str, Any]]:
    """Every record that is defined in the schema, itself included."""
    if isinstance(schema, list):
        for branch in schema:
            yield from records_in(branch)
    if isinstance(schema, dict):
        if schema["type"] == "record":
            yield schema
        for part in [*schema.get("fields", []), schema.get("items"), schema.get("values"), schema["type"]]:
            yield from records_in(part)


def test_there_is_one_schema_a_record_class() -> None:
    assert {path.stem for path in plain_avro.SCHEMAS.iterdir()} == set(CLASSES)


def test_fingerprints_are_those_of_the_released_protocol() -> None:
    assert {name: fingerprint_of(load(name)).hex() for name in CLASSES} == FINGERPRINTS


def test_the_checksum_is_the_specifications() -> None:
    # Published for the schemas "null" and "int"; here in the order of the bytes on the wire.
    assert plain_avro.crc_64(b'"null"') == (0x63DD24E7CC258F8A).to_bytes(8, "little")
    assert plain_avro.crc_64(b'"int"') == (0x7275D51A3F395C8F).to_bytes(8, "little")


@pytest.mark.parametrize("name", CLASSES)
def test_fingerprints_follow_the_specification(name: str) -> None:
    assert fingerprint_of(load(name)) == plain_avro.fingerprint(name)


def test_documentation_does_not_change_the_fingerprint_and_names_do() -> None:
    schema = load("Report")
    assert fingerprint_of(schema | {"doc": "other words"}) == fingerprint_of(schema)
    first, *others = schema["fields"]
    renamed = schema | {"fields": [first | {"name": "nonsense"}, *others]}
    assert fingerprint_of(renamed) != fingerprint_of(schema)


@pytest.mark.parametrize("name", CLASSES)
def test_schemas_have_the_fields_of_their_classes_in_order(name: str) -> None:
    for record in records_in(load(name)):
        cls = (CLASSES | PARTS)[record["name"]]
        assert [field["name"] for field in record["fields"]] == [f.name for f in dataclasses.fields(cls)]
        hints = get_type_hints(cls)
        for field in record["fields"]:
            assert kind_of(field["type"]) == hint_of(hints[field["name"]]), field["name"]


def kind_of(schema: Any) -> str:
    """The kind of a field after its schema, in a few words."""
    if isinstance(schema, list):
        return "union of " + " ".join(sorted(kind_of(branch) for branch in schema))
    if isinstance(schema, str):
        return dict.fromkeys(("Id", "Digest", "Sha256", "Key", "Ed25519"), "bytes").get(schema, schema)
    inner = schema.get("items", schema.get("values"))
    name = {"fixed": "bytes", "record": schema.get("name")}.get(schema["type"], schema["type"])
    return f"{name} of {kind_of(inner)}" if inner is not None else str(name)


def hint_of(hint: Any) -> str:
    """The kind of a field after its Python type, in the same words."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return str(hint.__name__)
    plain = {int: "long", float: "double", str: "string", bool: "boolean", bytes: "bytes", type(None): "null"}
    if hint in plain:
        return plain[hint]
    args = [arg for arg in get_args(hint) if arg is not Ellipsis]
    if bytes in args:
        return "array of bytes" if len(args) == 1 else "bytes"  # bytes | memoryview
    if "Mapping" in str(hint):
        return f"map of {hint_of(args[1])}"
    if str(hint).startswith("tuple"):
        return f"array of {hint_of(args[0])}"
    return "union of " + " ".join(sorted(hint_of(arg) for arg in args))


@pytest.mark.parametrize("name", CLASSES)
def test_every_record_and_field_is_explained(name: str) -> None:
    for record in records_in(load(name)):
        assert record["doc"]
        assert all(len(field["doc"]) > 5 for field in record["fields"])


@pytest.mark.parametrize("name", CLASSES)
def test_bulk_data_stands_last(name: str) -> None:
    schema = load(name)
    fields = [field["name"] for field in schema["fields"]]
    # What a report carries is small, and signed with the rest of it.
    assert ends_in_data(schema) is ("data" in fields and name != "Report")
    assert name == "Report" or "data" not in fields[:-1]
    head = head_of(schema)
    assert [field["name"] for field in head["fields"]] == fields
    assert (head == schema) is not ends_in_data(schema)


@pytest.mark.parametrize("name", CLASSES)
def test_a_signature_stands_last_and_may_be_left_out(name: str) -> None:
    fields = load(name)["fields"]
    assert "signature" not in [field["name"] for field in fields[:-1]]
    if fields[-1]["name"] == "signature":
        assert fields[-1]["default"] is None
