"""What `fdstream.digests` promises: canonical, order-sensitive, the same for any container of the bytes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import xxhash

from fdstream.digests import chunk_digest, model_sha256, shard_digest
from fdstream.dtypes import payload
from fdstream.layout import Layout, TensorSpec

NOTHING = bytes.fromhex("99aa06d3014798d86001c324468d497f")  # the xxHash specification's value for no input


def test_digests_are_canonical_xxh3_128() -> None:
    assert chunk_digest(b"") == NOTHING
    assert shard_digest([]) == NOTHING


def test_equal_bytes_have_equal_digests_in_any_container() -> None:
    values = np.arange(5, dtype=np.float32)
    data = values.tobytes()
    digests = {chunk_digest(form) for form in (data, bytearray(data), memoryview(data), payload(values))}
    assert digests == {xxhash.xxh3_128(data).digest()}
    assert chunk_digest(payload(values)[:-1]) not in digests


def test_shard_digest_depends_on_content_and_order() -> None:
    one, two = chunk_digest(b"one"), chunk_digest(b"two")
    assert shard_digest(iter([one, two])) == xxhash.xxh3_128(one + two).digest()
    assert shard_digest([two, one]) != shard_digest([one, two])


LAYOUT = Layout((TensorSpec("w", "float32", (4,)),), 8, 3)  # two chunks: shard 2 has none


def test_model_sha256_is_over_the_fingerprint_and_the_shards_in_order() -> None:
    one, two = bytes(range(16)), bytes(range(16, 32))
    expected = hashlib.sha256(LAYOUT.fingerprint + one + two + NOTHING).hexdigest()
    assert model_sha256(LAYOUT, [one, two, NOTHING]) == expected
    assert model_sha256(LAYOUT, [one, two, b""]) == expected
    assert model_sha256(LAYOUT, [two, one, NOTHING]) != expected


@pytest.mark.parametrize("digests", [[], [NOTHING] * 2, [NOTHING] * 4, [b"short", NOTHING, NOTHING]])
def test_model_sha256_refuses_the_wrong_number_or_length(digests: list[bytes]) -> None:
    with pytest.raises(ValueError, match="digest"):
        model_sha256(LAYOUT, digests)
