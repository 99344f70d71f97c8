"""Networks inside a lab: each party in a namespace of its own, joined by a bridge, and all that can go wrong between.

Everything is in the lab's own namespaces and ends with it. Needs iproute2.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

BRIDGE = "hub"
_CLONE_NEWNET = 0x40000000
_LOCAL, _CUT = "100", "10"  # priorities of rules


def run(*command: str) -> None:
    """A command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def _enter(namespace: int) -> None:
    """Move this thread, and what it starts from now on, into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@dataclass(frozen=True)
class Place:
    """A namespace with one address. It lasts as long as the process that holds it."""

    holder: int  # a process id
    address: str
    link: str  # the bridge's end of its cable

    def enter(self) -> None:
        """Move this process there, before it has threads."""
        descriptor = os.open(f"/proc/{self.holder}/ns/net", os.O_RDONLY)
        _enter(descriptor)
        os.close(descriptor)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """In this thread: what is started meanwhile is there."""
        before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        self.enter()
        try:
            yield
        finally:
            _enter(before)
            os.close(before)

    def run(self, *command: str) -> None:
        """Run a command there."""
        run("nsenter", "--target", str(self.holder), "--net", *command)

    # Faults

    def cut(self, other: Place) -> None:
        """From now on neither hears the other; nobody is told."""
        self.run("ip", "rule", "add", "pref", _CUT, "from", other.address, "blackhole")
        other.run("ip", "rule", "add", "pref", _CUT, "from", self.address, "blackhole")

    def mend(self, other: Place) -> None:
        """Undo `cut`."""
        self.run("ip", "rule", "del", "pref", _CUT, "from", other.address, "blackhole")
        other.run("ip", "rule", "del", "pref", _CUT, "from", self.address, "blackhole")

    def unplug(self) -> None:
        """Take the link down: nobody reaches it."""
        run("ip", "link", "set", self.link, "down")

    def plug(self) -> None:
        """Undo `unplug`."""
        run("ip", "link", "set", self.link, "up")

    def slow(self, rate: str) -> None:
        """Limit the bandwidth in both directions, for example to `256kbit`."""
        shape = ("root", "tbf", "rate", rate, "burst", "8kb", "latency", "500ms")
        run("tc", "qdisc", "add", "dev", self.link, *shape)
        self.run("tc", "qdisc", "add", "dev", "eth0", *shape)

    def reset_connections(self) -> None:
        """Every TCP connection of this place is reset, at both ends."""
        command = ("ss", "--kill", "--tcp", "state", "established")
        subprocess.run(
            ["nsenter", "--target", str(self.holder), "--net", *command], capture_output=True, check=False
        )


class Network:
    """A bridge at the lab's own address, and places on it."""

    def __init__(self) -> None:
        self._holders: list[subprocess.Popen[bytes]] = []
        if subprocess.run(["ip", "link", "show", BRIDGE], capture_output=True).returncode != 0:
            run("ip", "link", "add", BRIDGE, "type", "bridge")
            run("ip", "addr", "add", "10.83.0.1/16", "dev", BRIDGE)
            run("ip", "link", "set", BRIDGE, "up")

    def place(self, *, isolated: bool = False) -> Place:
        """A new one; isolated, it reaches the lab itself and places that are not."""
        holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._holders.append(holder)
        self._await(holder)
        address, link = f"10.83.{holder.pid // 200 % 250}.{2 + holder.pid % 200}", f"p{holder.pid}"
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(holder.pid))
        run("ip", "link", "set", link, "master", BRIDGE, "up")
        if isolated:
            run("bridge", "link", "set", "dev", link, "isolated", "on")
        place = Place(holder.pid, address, link)
        place.run("ip", "link", "set", "lo", "up")
        place.run("ip", "addr", "add", f"{address}/16", "dev", "eth0")
        place.run("ip", "link", "set", "eth0", "up")
        # The table of our own addresses is asked after our rules, or they would not see what comes in.
        place.run("ip", "rule", "add", "pref", _LOCAL, "lookup", "local")
        place.run("ip", "rule", "del", "pref", "0")
        return place

    def close(self) -> None:
        """Give the places up."""
        for holder in self._holders:
            holder.communicate()

    def _await(self, holder: subprocess.Popen[bytes]) -> None:
        """Until it is in its namespace: then it echoes."""
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdin.write(b"\n")
        holder.stdin.flush()
        holder.stdout.readline()
