"""Counts on a link, against packets counted by hand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from fdstream.stress.network import Host, hosts
from fdstream.stress.wire import HEADER_BYTES, Count, Traffic, queued
from tests.needed import needs

PAYLOAD_BYTES = 1_000_000
MOST_A_PACKET_BYTES = 1500 - 20 - 32
SYN_OPTIONS_BYTES = 8  # more than other segments have
ARP_BYTES = 42

RECEIVE = """
import socket, sys
with socket.create_server((sys.argv[1], 5000)) as server:
    print(flush=True)
    connection, _ = server.accept()
    while connection.recv(1 << 16): pass
    connection.close()
"""
SEND = """
import socket, sys
with socket.create_connection((sys.argv[1], 5000)) as connection:
    connection.sendall(bytes(int(sys.argv[2])))
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)
"""


def test_a_queues_counts() -> None:
    text = '[{"kind":"pfifo","handle":"8001:","root":true,"options":{"limit":1000},"bytes":420,"packets":7}]'
    assert queued(text) == Count(packets=7, bytes=420)


def test_traffic_is_the_difference_of_two_looks() -> None:
    before, after = Traffic(Count(1, 10), Count(2, 20)), Traffic(Count(4, 70), Count(3, 90))
    assert after - before == Traffic(Count(3, 60), Count(1, 70))


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Host, Host]]:
    with hosts(["one", "other"]) as (made, how):
        if how.startswith("loopback"):
            pytest.skip(how)
        yield made[0], made[1]


@needs("iproute2", "ip", "tc")
def test_a_stream_of_bytes_is_so_many_packets_with_their_headers(pair: tuple[Host, Host]) -> None:
    one, other = pair
    with subprocess.Popen(
        [*other.prefix, sys.executable, "-c", RECEIVE, other.address], stdout=subprocess.PIPE
    ) as receiver:
        assert receiver.stdout is not None
        receiver.stdout.readline()
        before, before_other = one.traffic(), other.traffic()
        send = [*one.prefix, sys.executable, "-c", SEND, other.address, str(PAYLOAD_BYTES)]
        subprocess.run(send, check=True)
    after, after_other = one.traffic(), other.traffic()
    assert before
    assert after
    assert before_other
    assert after_other
    sent = after - before
    full = -(-PAYLOAD_BYTES // MOST_A_PACKET_BYTES)
    assert full <= sent.up.packets < 1.1 * full
    rest = sent.up.bytes - PAYLOAD_BYTES - sent.up.packets * HEADER_BYTES
    arps = range(3)  # questions and answers may fall into the time, each with a smaller header
    assert rest in [SYN_OPTIONS_BYTES + count * (ARP_BYTES - HEADER_BYTES) for count in arps]
    mirrored = after_other - before_other
    assert (mirrored.down, mirrored.up) == (sent.up, sent.down)


@needs("iproute2", "ip", "tc")
def test_nothing_is_left_of_the_namespaces(pair: tuple[Host, Host]) -> None:
    del pair
    assert shutil.which("ip")
    names = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    with hosts(["third"]) as (made, _):
        assert made[0].ports is not None
        pid = made[0].ports[0].pid
        holder = subprocess.run(["ps", "-p", str(pid)], check=False, capture_output=True)
        assert holder.returncode == 0
    assert subprocess.run(["ps", "-p", str(pid)], check=False, capture_output=True).returncode == 1
    assert subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout == names
