"""Sets what one client may do in a second, which librdkafka's admin cannot: its own request, as `probe` has them.

KIP-546, version 0: see AlterClientQuotas in Kafka's protocol guide.
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import Mapping

from fdstream.errors import TransportError
from kafka_cluster.probe import ask

_ALTER_CLIENT_QUOTAS = 49
_DEFAULT = struct.pack(">h", -1)  # stands for every client id that has no quota of its own


def limit_each_client_id(
    place: tuple[str, int], context: ssl.SSLContext, user: str, quotas: Mapping[str, float]
) -> None:
    """Bound every client id that signs in as `user`, for good. Quotas are named as Kafka names them.

    Errors: `TransportError` where the node at `place` (host and port) does not do it.
    """
    entity = _array(_string("user") + _string(user), _string("client-id") + _DEFAULT)
    values = _array(*(_string(key) + struct.pack(">d?", value, False) for key, value in quotas.items()))
    answer = ask(place, context, _ALTER_CLIENT_QUOTAS, 0, _array(entity + values) + struct.pack(">?", False))
    if answer is None:
        raise TransportError(f"the broker at {place[0]}:{place[1]} did not answer when asked to set quotas")
    _throttled, _entries, code, length = struct.unpack_from(">iihh", answer)
    if code != 0:
        said = answer[12 : 12 + max(length, 0)].decode(errors="replace")
        raise TransportError(f"the broker refused to set quotas of {user!r}: error {code} {said}".rstrip())


def _string(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack(">h", len(encoded)) + encoded


def _array(*items: bytes) -> bytes:
    return struct.pack(">i", len(items)) + b"".join(items)
