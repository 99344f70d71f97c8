"""TCP ports: free ones, and whether one is taken."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection

# Below the ranges from which Linux and macOS give ports to outgoing connections: what is free now is not
# taken by a client's socket a moment later, also while a node is down.
_RANGE = range(16384, 32768)


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports that nobody listens on, in no order."""
    found: set[int] = set()
    while len(found) < count:
        port = random.SystemRandom().choice(_RANGE)
        if not is_taken(host, port):
            found.add(port)
    return list(found)


def taken(host: str, ports: Collection[int]) -> list[int]:
    return [port for port in ports if is_taken(host, port)]


def is_taken(host: str, port: int) -> bool:
    """Whether somebody listens there. Raises `OSError` where the host is not an address of this machine."""
    if can_connect(host, port):
        return True  # BSD lets us bind beside a listener on all addresses, and clients would find either
    family, kind, *_, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(place)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return True
            raise
    return False


def can_connect(host: str, port: int, timeout_seconds: float = 1.0) -> bool:
    try:
        socket.create_connection((host, port), timeout_seconds).close()
    except OSError:
        return False
    return True
