"""What `ss` says of sockets, against bytes counted by hand."""

from __future__ import annotations

import os
import socket

from fdstream.stress.sockets import Sockets
from fdstream.stress.wire import HEADER_BYTES, Count, Traffic
from tests.needed import needs

LINE = (
    'ESTAB 0 0 127.0.0.1:{here} 127.0.0.1:9 users:(("python",pid={pid},fd=4)) cubic bytes_sent:{sent} '
    "bytes_acked:{sent} bytes_received:10 segs_out:6 segs_in:4 data_segs_out:3 data_segs_in:1 lastsnd:5"
)


def test_the_last_look_at_each_socket_counts_for_the_party_that_has_it() -> None:
    sockets, parties = Sockets(), {"server": [1], "clients": [2, 3]}
    early = [LINE.format(here=1, pid=1, sent=50), LINE.format(here=2, pid=2, sent=70)]
    late = [
        LINE.format(here=1, pid=1, sent=100),
        LINE.format(here=3, pid=3, sent=30),
        LINE.format(here=4, pid=4, sent=5),
    ]
    sockets.see("\n".join(early), parties)
    sockets.see("\n".join(late), parties)
    down = Count(4, 10 + 4 * HEADER_BYTES)
    assert sockets.traffic() == {
        "server": Traffic(Count(6, 100 + 6 * HEADER_BYTES), down),
        "clients": Traffic(Count(12, 70 + 30 + 12 * HEADER_BYTES), Count(8, 20 + 8 * HEADER_BYTES)),
    }


@needs("iproute2", "ss")
def test_a_real_socket_has_passed_what_was_sent() -> None:
    size, sockets = 100_000, Sockets()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as one,
        server.accept()[0] as other,
    ):
        one.sendall(bytes(size))
        received = 0
        while received < size:
            received += len(other.recv(1 << 16))
        sockets.look({"both": [os.getpid()]})
    passed = sockets.traffic()["both"]
    for count in (passed.up, passed.down):
        assert count.bytes - count.packets * HEADER_BYTES == size
        assert count.packets > 2
