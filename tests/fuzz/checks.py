"""What must hold of any bytes that a stranger sends: every reader answers, in one of its ways, and never raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from fdstream.codecs import Codec, codec
from fdstream.dtypes import DTYPES
from fdstream.messages import PROTOCOL, FederationOpened, Refusal
from fdstream.serde.avro import decode, encode
from fdstream.serde.reasons import Reason

CODECS: Final = tuple(codec(text) for text in ("full", "float32", "bfloat16", "float16", "int8", "topk:0.3"))
WIDTHS: Final = (DTYPES["float32"], DTYPES["float64"])


def check_record(value: bytes) -> str:
    """Bytes are a record that is written the same, or refused for one of the reasons; what came of them."""
    found = decode(value)
    if isinstance(found, Refusal):
        assert found.reason in set(Reason), found
        assert found.detail.isprintable(), found
        return str(found.reason)
    if isinstance(found, FederationOpened) and found.protocol != PROTOCOL:
        return "a record of another version"  # which this one reads and cannot write
    assert encode(found) == value
    return "a record"


def check_payload(value: bytes) -> str:
    """A payload of a codec is values of the size asked for, or a `ValueError`. The first byte says which codec."""
    kinds = value[0] if value else 0
    chosen, dtype, size = _kind(kinds)
    try:
        values = chosen.decode(value[1:], dtype, size)
    except ValueError:
        return "refused"
    assert (values.shape, values.dtype) == ((size,), dtype)
    assert len(value[1:]) == payload_bytes(kinds)
    return "values"


def payload_bytes(kinds: int) -> int:
    """How long a payload has to be for this first byte."""
    chosen, dtype, size = _kind(kinds)
    return chosen.encoded_bytes(dtype, size)


def _kind(kinds: int) -> tuple[Codec, np.dtype[Any], int]:
    return CODECS[kinds % len(CODECS)], WIDTHS[kinds // 16 % len(WIDTHS)], kinds // 8


CHECKS: Final[dict[str, Callable[[bytes], str]]] = {"record": check_record, "payload": check_payload}
