"""TCP ports: free ones, and whether one is taken."""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

_USUAL = range(10_000, 32_768)
_LINUX_SETTING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """`count` different ports that nobody listens on, in no order.

    None of those the kernel gives to outgoing connections: what is free now is not taken by a client's socket a
    moment later, also while a node is down.
    """
    found: set[int] = set()
    candidates = _lasting()
    while len(found) < count:
        port = random.SystemRandom().choice(candidates)
        if not is_taken(host, port):
            found.add(port)
    return list(found)


def _lasting() -> Sequence[int]:
    """Linux says which ports it gives away, macOS and most others those from 49,152."""
    given_away = range(0)
    with suppress(OSError, ValueError):  # no such file, or two words that are no numbers: the usual range
        first, last = map(int, _LINUX_SETTING.read_text().split())
        given_away = range(first, last + 1)
    return [port for port in _USUAL if port not in given_away] or _USUAL


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
