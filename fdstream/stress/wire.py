"""What passed over a host's link, as the kernel's queues count it. Pure: text of `tc` in, numbers out.

TCP hands frames of up to 64 KB to a link, and a network card cuts them into packets (segmentation offload). The queue
before a link counts what comes after such a cut, packets and bytes with every packet's headers, from Ethernet's on:
as on a real wire with an MTU of 1,500 bytes, whatever protocol it carries, and at no cost to speak of.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

HEADER_BYTES = 14 + 20 + 32
"""Of a packet: Ethernet, IPv4, and TCP with timestamps, which Linux uses."""


@dataclass(frozen=True, slots=True)
class Count:
    """Packets and bytes in one direction."""

    packets: int = 0
    bytes: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.packets + other.packets, self.bytes + other.bytes)

    def __sub__(self, other: Count) -> Count:
        return Count(self.packets - other.packets, self.bytes - other.bytes)


@dataclass(frozen=True, slots=True)
class Traffic:
    """Both directions of a host's link, as the host sees it."""

    up: Count = Count()
    down: Count = Count()

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(self.up - other.up, self.down - other.down)


def queued(text: str) -> Count:
    """What `tc -s -j qdisc show dev …` says that its queue has sent."""
    (queue,) = json.loads(text)
    return Count(queue["packets"], queue["bytes"])
