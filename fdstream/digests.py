"""Checksums of chunks and shards, and the hash that names a whole model.

xxh3-128 guards against damage and mix-ups, not against forgery: it runs at memory speed, which a
cryptographic hash of every byte does not. The model hash is SHA-256 over the layout and the shards' digests.
This file knows no records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import xxhash

from fdstream.dtypes import Payload
from fdstream.layout import Layout

DIGEST_BYTES: Final = 16


def chunk_digest(payload: Payload) -> bytes:
    """xxh3-128 (seed 0) of a chunk's bytes; 16 bytes, the canonical big-endian form."""
    return xxhash.xxh3_128_digest(payload)


def shard_digest(digests: Iterable[bytes]) -> bytes:
    """xxh3-128 of the concatenated chunk digests, in the order given; of nothing where there are none."""
    hasher = xxhash.xxh3_128()
    for digest in digests:
        hasher.update(digest)
    return hasher.digest()


def model_sha256(layout: Layout, shard_digests: Sequence[bytes]) -> str:
    """Hex SHA-256 of `layout.fingerprint` followed by the shards' digests, shard 0 first.

    `shard_digests` has one entry a shard. A shard without chunks counts as the digest of nothing, whatever
    its entry says. Raises `ValueError` for another number or another length of digests.
    """
    if len(shard_digests) != layout.shards:
        raise ValueError(f"there are {len(shard_digests)} shard digests for {layout.shards} shards")
    hasher = hashlib.sha256(layout.fingerprint)
    active = len(layout.active_shards)
    for shard, digest in enumerate(shard_digests):
        counted = digest if shard < active else shard_digest(())
        if len(counted) != DIGEST_BYTES:
            raise ValueError(f"the digest of shard {shard} has {len(counted)} bytes, expected {DIGEST_BYTES}")
        hasher.update(counted)
    return hasher.hexdigest()
