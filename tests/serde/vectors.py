"""Example values and their bytes, so that a client in another language can check itself: `vectors.json`.

Run as a module to write the file anew; a test compares it with what the code says today.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from fdstream.client.session import is_sampled
from fdstream.digests import chunk_digest, model_sha256, shard_digest
from fdstream.dtypes import dtype_of
from fdstream.layout import Layout, TensorSpec
from fdstream.messages import (
    Exclusion,
    FederationFinished,
    FederationOpened,
    GlobalEvaluated,
    Heartbeat,
    Message,
    ModelChunk,
    Rejected,
    Report,
    RoundClosed,
    RoundClosing,
    RoundExtended,
    RoundOpened,
    Settings,
    ShardModel,
    ShardResult,
    ShardVerdict,
    UpdateChunk,
)
from fdstream.serde.avro import encode
from fdstream.signatures import DOMAIN, SigningKey

VECTORS = Path(__file__).with_name("vectors.json")

NONCE = bytes(range(16))
ATTEMPT = bytes(range(16, 32))
SAMPLING_NONCE = bytes(range(32, 48))
TENSORS = (
    TensorSpec("kernel", "float32", (2, 3)),
    TensorSpec("steps", "int64", ()),
    TensorSpec("bias", "float32", (3,)),
)
LAYOUT = Layout(TENSORS, chunk_bytes=16, shards=2)
PAYLOADS = [
    bytes([index]) * dtype_of(spec.dtype).itemsize * spec.size for index, spec in enumerate(LAYOUT.chunks)
]
DIGESTS = [
    shard_digest(chunk_digest(PAYLOADS[spec.index]) for spec in LAYOUT.chunks_of(shard)) for shard in range(2)
]
MODEL = tuple(ShardModel(ATTEMPT, shard, DIGESTS[shard], 0, shard_digest(())) for shard in range(2))
SERVER = SigningKey.of(bytes(range(48, 80)))  # never use these keys: everybody knows them
CLIENT = SigningKey.of(bytes(range(80, 112)))
MODEL_SHA256 = bytes.fromhex(model_sha256(LAYOUT, DIGESTS))

RECORDS: tuple[Message, ...] = (
    FederationOpened(
        nonce=NONCE,
        tensors=TENSORS,
        chunk_bytes=16,
        shards=2,
        slots=2,
        settings=Settings(5, 2, 100, 60.0, 3, 0.5, "fedadam:lr=0.01", 2, 7, True),
        config={"name": "Zürich", "epochs": 3, "rate": 1.0, "shuffle": True},
        model=MODEL,
        federation="wards",
        server_keys=(SERVER.public,),
    ),
    RoundOpened(NONCE, 1, True, MODEL, (0, 0), 0, (0, 0), SAMPLING_NONCE, bytes(32)),
    RoundExtended(NONCE, 1, 1, 0.75, (3, 4)),
    RoundClosing(NONCE, 1, 1, (0, 2, 5), (12, 9), (Exclusion(1, "not signed"),)),
    RoundClosed(NONCE, 1, 1, 3, 3600, {"loss": 0.5}, {"accuracy": 0.75}, MODEL, MODEL_SHA256),
    GlobalEvaluated(NONCE, 1, {"accuracy": 0.875}),
    FederationFinished(NONCE, 31, 5, False, "all 5 rounds are closed"),
    ShardVerdict(NONCE, 1, 1, 1, (Exclusion(2, "digest differs"),), bytes([9, *bytes(24)]) + bytes(50)),
    ShardResult(NONCE, 1, 1, 1, MODEL[1]),
    Report(NONCE, "branch-7", ATTEMPT, 1, 3, 1200, {"loss": 0.5}, 300, {"accuracy": 0.75}, tuple(DIGESTS)),
    ModelChunk(NONCE, ATTEMPT, 1, 0, 2, PAYLOADS[2]),
    UpdateChunk(NONCE, ATTEMPT, 1, 2, 1200, PAYLOADS[2]),
    Heartbeat("branch-7", "client", "training", 1, {"host": "edge"}),
    Rejected("round-1.updates", 1, 44, "branch-7", "truncated", "data claims 16 bytes, 12 are there"),
)


def readable(value: Any) -> Any:
    """A value as JSON: bytes as hex, records as objects."""
    if isinstance(value, bytes | memoryview):
        return value.hex()
    if is_dataclass(value):
        return {field.name: readable(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: readable(part) for name, part in value.items()}
    if isinstance(value, tuple):
        return [readable(part) for part in value]
    return value


def vectors() -> dict[str, Any]:
    """What `vectors.json` holds."""
    return {
        "records": {
            type(record).__name__: {"fields": readable(record), "bytes": encode(record).hex()}
            for record in RECORDS
        },
        "layout": {
            "tensors": readable(TENSORS),
            "chunk_bytes": LAYOUT.chunk_bytes,
            "shards": LAYOUT.shards,
            "chunks": [readable(chunk) for chunk in LAYOUT.chunks],
            "fingerprint": LAYOUT.fingerprint.hex(),
        },
        "digests": {
            "payloads": [payload.hex() for payload in PAYLOADS],
            "chunk_digests": [chunk_digest(payload).hex() for payload in PAYLOADS],
            "shard_digests": [digest.hex() for digest in DIGESTS],
            "shard_digest_of_no_chunks": shard_digest(()).hex(),
            "model_sha256": MODEL_SHA256.hex(),
        },
        "signatures": [_signature(record) for record in RECORDS if hasattr(record, "signature")],
        "sampling": [_sampling(f"branch-{number}", 0.5) for number in range(8)],
    }


def _signature(record: Message) -> dict[str, Any]:
    key, unsigned = CLIENT if isinstance(record, Report) else SERVER, encode(record)
    return {
        "record": type(record).__name__,
        "public_key": key.public.hex(),
        "signed": (DOMAIN + unsigned[:-1]).hex(),
        "bytes": key.sign(unsigned).hex(),
    }


def _sampling(client: str, fraction: float) -> dict[str, Any]:
    return {
        "sampling_nonce": SAMPLING_NONCE.hex(),
        "client": client,
        "sha256": hashlib.sha256(SAMPLING_NONCE + client.encode()).hexdigest(),
        "fraction": fraction,
        "takes_part": is_sampled(SAMPLING_NONCE, client, fraction),
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
