"""Asks one node a question in Kafka's own protocol, to know whether that very node is ready to answer it.

librdkafka asks whichever node it likes, waits a second between tries, and (2.16, its issue 4605) aborts the
process where an admin's request to a group coordinator meets a broken connection. Three requests do instead,
in versions old enough to be plain structs: see "The Messages" in Kafka's protocol guide.
"""

from __future__ import annotations

import socket
import ssl
import struct
from contextlib import ExitStack

TIMEOUT_SECONDS = 5.0
GROUP = b"fdstream-readiness"

_OFFSET_FETCH, _FIND_COORDINATOR, _INIT_PRODUCER_ID = 9, 10, 22
_STRING = struct.pack(">h", len(GROUP)) + GROUP


def gives_producer_ids(host: str, port: int, context: ssl.SSLContext | None = None) -> bool:
    """Whether the node has producer ids at hand. The first question of a fresh node makes it fetch some."""
    answer = ask((host, port), context, _INIT_PRODUCER_ID, 0, struct.pack(">hi", -1, 0))
    return answer is not None and _error_code(answer, 4) == 0


def knows_coordinators(host: str, port: int, context: ssl.SSLContext | None = None) -> bool:
    """Whether the node can say who coordinates a group. The first question creates the offsets topic."""
    answer = ask((host, port), context, _FIND_COORDINATOR, 1, _STRING + b"\0")
    return answer is not None and _error_code(answer, 4) == 0


def coordinates(host: str, port: int, context: ssl.SSLContext | None = None) -> bool:
    """Whether the node is the coordinator of a certain group and has loaded what it must know."""
    answer = ask((host, port), context, _OFFSET_FETCH, 2, _STRING + struct.pack(">i", 0))
    return answer is not None and _error_code(answer, 4) == 0


def _error_code(answer: bytes, offset: int) -> int:
    code: int = struct.unpack_from(">h", answer, offset)[0]
    return code


def ask(
    place: tuple[str, int], context: ssl.SSLContext | None, api_key: int, api_version: int, body: bytes
) -> bytes | None:
    """Send a request in a version without tagged fields; the answer behind its header.

    None where the node does not listen or hangs up.
    """
    request = struct.pack(">hhih", api_key, api_version, 1, -1) + body
    try:
        with ExitStack() as stack:
            connection = stack.enter_context(socket.create_connection(place, TIMEOUT_SECONDS))
            if context is not None:
                connection = stack.enter_context(context.wrap_socket(connection, server_hostname=place[0]))
            connection.sendall(struct.pack(">i", len(request)) + request)
            with connection.makefile("rb") as stream:
                (size_bytes,) = struct.unpack(">i", stream.read(4))
                return stream.read(size_bytes)[4:]
    except (OSError, struct.error):
        return None
