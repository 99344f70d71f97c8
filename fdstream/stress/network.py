"""Hosts for the parties of a federation: network namespaces joined by a switch, or the loopback of this machine.

With namespaces each party has a link of its own, so what the kernel counts on it is that party's traffic and nobody
else's, the same for any protocol. A namespace has no name: it lives as long as a process in it, so nothing of
it is left, however this process ends. Knows no federation.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from fdstream.stress.wire import Traffic, queued

LINK, SUBNET = "eth0", "10.77.0"
_TOOLS = ("unshare", "nsenter", "ip", "tc")
_QUIET = "echo 1 2>&- >/proc/sys/net/ipv6/conf/default/disable_ipv6"  # no packets that nobody asked for
_BRIDGE = ("type", "bridge", "mcast_snooping", "0")  # which would report groups that it joins to its ports
_UNLIMITED = ("pfifo", "limit", "100000")  # it holds back nothing and drops nothing: it counts


def _limited(megabits: int) -> tuple[str, ...]:
    """A link of so many megabits a second each way, with a tenth of a second of buffer: see tc-tbf(8)."""
    return ("tbf", "rate", f"{megabits}mbit", "burst", "64kb", "latency", "100ms")


@dataclass(frozen=True, slots=True)
class Port:
    """One end of a link: an interface in the namespace of a process."""

    pid: int
    name: str

    @property
    def command(self) -> list[str]:
        """What shows the queue before it."""
        return [*_entering(self.pid), "tc", "-s", "-j", "qdisc", "show", "dev", self.name]


@dataclass(frozen=True, slots=True)
class Host:
    """Where a party's processes run. `prefix` goes before their command."""

    name: str
    address: str
    prefix: tuple[str, ...] = ()
    ports: tuple[Port, Port] | None = None  # its own and the switch's, where it has a link of its own

    def traffic(self) -> Traffic | None:
        """What has passed over its link so far; None where it has none."""
        if self.ports is None:
            return None
        up, down = (
            subprocess.run(port.command, check=True, capture_output=True).stdout for port in self.ports
        )
        return Traffic(queued(up.decode()), queued(down.decode()))


@contextmanager
def hosts(names: Sequence[str], *, megabits: int | None = None) -> Iterator[tuple[list[Host], str]]:
    """The hosts, and in a sentence what they are: namespaces where this machine and user may have them.

    With `megabits` each link carries at most so many a second each way; on the loopback nothing is limited.
    """
    refusal = _refusal()
    if refusal:
        yield [Host(name, "127.0.0.1") for name in names], f"loopback: {refusal}"
        return
    with ExitStack() as stack:
        switch = stack.enter_context(_namespace())
        _in(switch, "ip", "link", "add", "switch", *_BRIDGE)
        _in(switch, "ip", "link", "set", "switch", "up")
        queue = _UNLIMITED if megabits is None else _limited(megabits)
        made = [
            stack.enter_context(_host(name, switch, number, queue)) for number, name in enumerate(names, 1)
        ]
        yield made, "a network namespace for each party, joined by a bridge"


def _refusal() -> str:
    """Why there can be no namespaces here, or nothing."""
    if sys.platform != "linux":
        return f"there are no network namespaces on {sys.platform}"
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"{', '.join(missing)} is not installed (util-linux, iproute2)"
    try:
        with _namespace() as pid:
            _in(pid, "ip", "link", "add", "probe", "type", "veth", "peer", "name", LINK)
            _in(pid, "ip", "link", "add", "switch", *_BRIDGE)
    except (subprocess.CalledProcessError, OSError):
        return "this user may not make network namespaces; root may"
    return ""


@contextmanager
def _host(name: str, switch: int, number: int, queue: Sequence[str]) -> Iterator[Host]:
    """A namespace with one link to the switch."""
    with _namespace() as pid:
        port, address = f"port{number}", f"{SUBNET}.{number}"
        peer = ("type", "veth", "peer", "name", LINK, "netns", str(pid))
        _in(switch, "ip", "link", "add", port, *peer)
        _in(switch, "ip", "link", "set", port, "master", "switch", "up")
        _in(pid, "ip", "address", "add", f"{address}/24", "dev", LINK)
        _in(pid, "ip", "link", "set", "lo", "up")
        _in(pid, "ip", "link", "set", LINK, "up")
        ends = Port(pid, LINK), Port(switch, port)
        for end in ends:
            _in(end.pid, "tc", "qdisc", "add", "dev", end.name, "root", *queue)
        yield Host(name, address, _entering(pid), ends)


@contextmanager
def _namespace() -> Iterator[int]:
    """The pid of a process in a new namespace; it ends when this process does, as its stdin does."""
    command = ["unshare", "--net", "sh", "-c", f"{_QUIET}; echo; exec cat"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            if os.read(process.stdout.fileno(), 1) != b"\n":
                raise OSError("no namespace")
            yield process.pid
        finally:
            process.stdin.close()


def _entering(pid: int) -> tuple[str, ...]:
    return ("nsenter", f"--net=/proc/{pid}/ns/net", "--")


def _in(pid: int, *command: str) -> None:
    subprocess.run([*_entering(pid), *command], check=True, capture_output=True)
