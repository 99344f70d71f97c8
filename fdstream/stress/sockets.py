"""What passed through the sockets of some processes, as their TCP counts it: for hosts without a link of their own.

`ss` says of each socket the bytes and segments of both directions since it was opened, so the last look at each
before it is closed is what counts; whoever measures stays connected for a moment at its end. On loopback a segment
has up to 64 KB, so these are fewer packets than a wire would see. Pure but for `look`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping

from fdstream.stress.wire import HEADER_BYTES, Count, Traffic

COMMAND = ("ss", "--tcp", "--info", "--numeric", "--processes", "--no-header", "--oneline")

_NUMBER = re.compile(r"\b(bytes_sent|bytes_received|segs_out|segs_in):(\d+)")
_PID = re.compile(r"pid=(\d+)")

Ends = tuple[str, str]


def read(text: str) -> dict[Ends, tuple[frozenset[int], Traffic]]:
    """Of each socket that `ss` shows, by its two ends: the processes that have it, and what passed."""
    found = {}
    for line in text.splitlines():
        _, _, _, here, there, *_ = line.split()
        numbers = {name: int(number) for name, number in _NUMBER.findall(line)}
        up = _count(numbers.get("bytes_sent", 0), numbers.get("segs_out", 0))
        down = _count(numbers.get("bytes_received", 0), numbers.get("segs_in", 0))
        found[here, there] = frozenset(map(int, _PID.findall(line))), Traffic(up, down)
    return found


def _count(payload_bytes: int, segments: int) -> Count:
    return Count(segments, payload_bytes + segments * HEADER_BYTES)


class Sockets:
    """The last look at each socket of each party."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, Ends], Traffic] = {}

    def look(self, parties: Mapping[str, Collection[int]]) -> None:
        """Look at the sockets of these processes."""
        self.see(subprocess.run(COMMAND, check=True, capture_output=True, text=True).stdout, parties)

    def see(self, text: str, parties: Mapping[str, Collection[int]]) -> None:
        """Take in what `ss` shows."""
        for ends, (pids, traffic) in read(text).items():
            for party, theirs in parties.items():
                if not pids.isdisjoint(theirs):
                    self._last[party, ends] = traffic

    def traffic(self) -> dict[str, Traffic]:
        """What passed so far, by party."""
        found: dict[str, Traffic] = {}
        for (party, _), traffic in self._last.items():
            before = found.get(party, Traffic())
            found[party] = Traffic(before.up + traffic.up, before.down + traffic.down)
        return found
