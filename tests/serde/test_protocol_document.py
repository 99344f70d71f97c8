"""`docs/protocol.md` names every topic, record, field, limit and reason as the code has them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from fdstream import layout, messages, ranges
from fdstream.aggregation.fixed_point import MAX_WEIGHTED_VALUE
from fdstream.aggregation.rule import MAX_MEASURED_CLIENTS, MAX_PAIRED_CLIENTS
from fdstream.client.session import MAX_TRIES
from fdstream.digests import shard_digest
from fdstream.dtypes import DTYPES, update_dtype
from fdstream.fitting import MAX_REPORTS_OF_A_CLIENT
from fdstream.serde.avro import MAX_DATA_BYTES, MAX_HEAD_BYTES
from fdstream.serde.reasons import Reason
from fdstream.serde.schema import fingerprint_of, load
from fdstream.topics import table
from tests.serde.test_schema import records_in

DOCUMENT = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text(encoding="utf-8")
CLASSES = [cls.__name__ for cls in get_args(messages.Message)]
TYPES = {"Id": "fixed 16", "Digest": "fixed 16", "Sha256": "fixed 32", "Key": "fixed 32"}


def section(title: str) -> str:
    """The text under a heading, up to the next one of any level."""
    match = re.search(rf"^#+ {re.escape(title)}$(.*?)(?=^#|\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    assert match is not None, f"no section {title!r}"
    return match[1]


def rows(title: str) -> list[list[str]]:
    """The cells of the section's first table, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines[2:]]


def type_in_words(schema: Any) -> str:
    if isinstance(schema, list):
        return " or ".join(map(type_in_words, schema))
    if isinstance(schema, str):
        return TYPES.get(schema, schema)
    match schema["type"]:
        case "array":
            return f"array of {type_in_words(schema['items'])}"
        case "map":
            return f"map of {type_in_words(schema['values'])}"
        case "fixed":
            return f"fixed {schema['size']}"
    return str(schema["name"])


def all_records() -> dict[str, dict[str, Any]]:
    return {record["name"]: record for name in CLASSES for record in records_in(load(name))}


@pytest.mark.parametrize("name", all_records())
def test_every_record_is_described_field_by_field(name: str) -> None:
    described = [(field, kind) for field, kind, meaning in rows(name) if len(meaning) > 5]
    fields = all_records()[name]["fields"]
    assert described == [(field["name"], type_in_words(field["type"])) for field in fields]


@pytest.mark.parametrize("name", CLASSES)
def test_every_fingerprint_is_given(name: str) -> None:
    assert f"fingerprint `{fingerprint_of(load(name)).hex()}`" in section(name)


def test_the_table_of_topics_is_that_of_the_code() -> None:
    slots, shards = 2, 7
    described = {}
    for name, partitions, writers, readers, _ in rows("Topics"):
        for slot in range(slots):
            full = name.replace("<slot>", str(slot))
            described[full] = (shards if partitions == "P" else int(partitions), writers, readers)
    assert described == {
        spec.name: (spec.partitions, spec.writers, ", ".join(spec.readers) or "nobody")
        for spec in table.topic_specs(shards, slots)
    }
    assert "`fdstream.<federation>.<name>`" in section("Topics")
    assert table.full_name("f", "n") == "fdstream.f.n"


def test_every_record_is_carried_by_a_topic() -> None:
    carried = " ".join(cells[-1] for cells in rows("Topics"))
    assert [name for name in CLASSES if name not in carried] == []


def test_limits_are_those_of_the_code() -> None:
    limits = dict(rows("Limits"))
    assert limits == {
        "shards, P": f"{messages.MAX_SHARDS:,}",
        "slots, S": "64",
        "clients in a round": f"{messages.MAX_CLIENTS:,}",
        "num_examples of a client": f"{messages.MAX_NUM_EXAMPLES:,}",
        "characters in a name: client, member, metric": (
            f"{messages.MAX_NAME_LENGTH}, printable, at least 1"
        ),
        "metrics in a map": f"{messages.MAX_METRICS}",
        "entries of config": str(messages.MAX_CONFIG),
        "magnitude of a metric": f"{messages.MAX_METRIC:.0e}".replace("+", ""),
        "characters in a reason or another text": f"{ranges.MAX_TEXT_LENGTH:,}",
        "offset": f"2^{messages.MAX_OFFSET.bit_length()} - 1",
        "round, ordinal, extension": f"{1 << 31}",
        "tensors in a model": f"{layout.MAX_TENSORS:,}",
        "dimensions of a tensor": f"{layout.MAX_DIMENSIONS}",
        "bytes in a tensor's name (UTF-8)": f"{layout.MAX_NAME_BYTES}",
        "bytes of a model": f"2^{layout.MAX_MODEL_BYTES.bit_length() - 1}",
        "chunks of a model": f"{layout.MAX_CHUNKS:,}",
        "chunk_bytes": f"{MAX_DATA_BYTES:,}, at least {layout.MIN_CHUNK_BYTES}",
        "reports of one client in a round": f"{MAX_REPORTS_OF_A_CLIENT}",
        "magnitude of update value times num_examples": f"2^{int(MAX_WEIGHTED_VALUE).bit_length() - 1}",
        "clients in a round with Krum or Multi-Krum": f"{MAX_PAIRED_CLIENTS}",
        "clients in a round with clipping": f"{MAX_MEASURED_CLIENTS:,}",
    }
    assert f"at most {MAX_HEAD_BYTES:,} bytes" in section("Bytes")
    assert f"at most {MAX_TRIES} times" in section("A client, step by step")


def test_update_dtypes_are_those_of_the_code() -> None:
    cells = rows("Layout: from tensors to chunks and shards")
    described = {dtype: stored for dtypes, stored in cells for dtype in dtypes.split(", ")}
    assert described == {dtype: update_dtype(dtype).name for dtype in DTYPES}


def test_reasons_are_those_of_the_code() -> None:
    assert set(re.findall("“(.*?)”", " ".join(section("Bytes").split()))) == {
        reason.value for reason in Reason
    }


def test_the_digest_of_nothing_is_given() -> None:
    assert f"`{shard_digest(()).hex()}`" in section("Digests")
