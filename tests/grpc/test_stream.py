"""What goes wrong on a stream is said in a sentence, and clients may write what clients write."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fdstream import interrupts
from fdstream.errors import TransportError, UsageError
from fdstream.grpc import frames, hub, stream_log
from fdstream.grpc.hub import listening
from fdstream.grpc.store import Place, Store
from fdstream.grpc.stream_log import StreamLog
from fdstream.log import Record

FEDERATION = "f"
SECONDS = 30.0


@pytest.fixture
def store() -> Store:
    return Store({"mine": 1, "theirs": 1}, time.time)


@pytest.fixture
def port(store: Store) -> Iterator[int]:
    with listening("127.0.0.1:0", FEDERATION, store, {"mine"}) as port:
        yield port


def fails(log: StreamLog) -> str:
    """What the log says when its stream has ended."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        try:
            log.poll(0.1)
        except TransportError as error:
            return str(error)
    raise AssertionError("the stream goes on")


def test_a_federation_that_is_not_there_is_refused_at_once(port: int) -> None:
    with pytest.raises(UsageError, match="refuses: it has the federation 'f'"):
        StreamLog(f"127.0.0.1:{port}", "another")


def test_a_client_cannot_write_what_servers_write(port: int, store: Store) -> None:
    log = StreamLog(f"127.0.0.1:{port}", FEDERATION)
    log.append("theirs", 0, b"forged")
    assert "clients may not write to theirs" in fails(log)
    assert store.ends("theirs") == [0]
    log.close()


def test_one_that_misbehaves_does_not_disturb_another(port: int) -> None:
    good, bad = (StreamLog(f"127.0.0.1:{port}", FEDERATION) for _ in range(2))
    bad.append("theirs", 0, b"forged")
    fails(bad)
    acked: list[int] = []
    good.append("mine", 0, b"x", on_ack=acked.append)
    good.flush()
    assert acked == [0]
    good.close()
    bad.close()


def test_what_only_servers_send_ends_a_clients_stream(port: int) -> None:
    log = StreamLog(f"127.0.0.1:{port}", FEDERATION)
    log._send(frames.Gone("mine", 0, 0))
    assert "which only servers send" in fails(log)
    log.close()


def test_a_stream_listens_where_its_client_follows_and_leaves_with_it(
    port: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard_of: set[Place] = set()
    all_left = threading.Event()
    listen, leave = store.listen, store.leave

    def listens(place: Place, listener: Callable[[], None]) -> None:
        heard_of.add(place)
        listen(place, listener)

    def leaves(place: Place, listener: Callable[[], None]) -> None:
        heard_of.discard(place)
        leave(place, listener)
        if not heard_of:
            all_left.set()

    monkeypatch.setattr(store, "listen", listens)
    monkeypatch.setattr(store, "leave", leaves)
    log = StreamLog(f"127.0.0.1:{port}", FEDERATION)
    log.follow("mine", 0, 0)
    log.follow("theirs", 0, 0)
    log.end_offsets("mine")  # answered after what was sent before
    assert heard_of == {("mine", 0), ("theirs", 0)}
    log.unfollow("mine", 0)
    log.end_offsets("mine")
    assert heard_of == {("theirs", 0)}
    log.close()
    assert all_left.wait(SECONDS)


def test_an_append_wakes_those_who_follow_there_alone(
    port: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[None] = []
    wake = hub._Stream._wake

    def counted(stream: hub._Stream) -> None:
        woken.append(None)
        wake(stream)

    monkeypatch.setattr(hub._Stream, "_wake", counted)
    log = StreamLog(f"127.0.0.1:{port}", FEDERATION)
    log.follow("theirs", 0, 0)
    log.end_offsets("theirs")
    store.append("mine", 0, b"elsewhere", b"")
    assert woken == []
    store.append("theirs", 0, b"there", b"")
    assert [record.value for record in log.poll(SECONDS) if isinstance(record, Record)] == [b"there"]
    assert woken == [None]
    log.close()


def test_following_what_is_not_there_ends_the_stream(port: int) -> None:
    log = StreamLog(f"127.0.0.1:{port}", FEDERATION)
    log.follow("mine", 7, 0)
    assert "there is no partition 7 of topic 'mine'" in fails(log)
    log.close()


def test_a_record_beyond_a_frame_is_refused_before_it_is_sent(port: int) -> None:
    log = StreamLog(f"127.0.0.1:{port}", FEDERATION)
    with pytest.raises(UsageError, match="lower --chunk-bytes"):
        log.append("mine", 0, bytes(frames.MAX_FRAME_BYTES))
    log.close()


def test_where_the_server_leaves_everybody_who_waits_hears_of_it(store: Store) -> None:
    with listening("127.0.0.1:0", FEDERATION, store, {"mine"}) as port:
        log = StreamLog(f"127.0.0.1:{port}", FEDERATION)
        log.follow("mine", 0, 0)
        stopped = pytest.raises(RuntimeError, match="stop the server")
        with stopped, listening("127.0.0.1:0", "g", store, {"mine"}):
            raise RuntimeError("stop the server")
        log.append("mine", 0, b"still here")
        log.flush()
    assert "Over gRPC nothing can go on from there" in fails(log)
    assert not log.append("mine", 0, b"", droppable=True)
    with pytest.raises(TransportError):
        log.append("mine", 0, b"")
    log.close()


def test_nobody_there_is_said_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_log, "REACHABLE_SECONDS", 0.2)
    with pytest.raises(TransportError, match=r"no server answers at 127\.0\.0\.1:1 after 0\.2 s"):
        StreamLog("127.0.0.1:1", FEDERATION)


def test_who_waits_for_a_server_can_be_stopped() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(interrupts.Stopped), interrupts.heeding(stop):
        StreamLog("127.0.0.1:1", FEDERATION)


def test_two_servers_cannot_have_one_port(port: int, store: Store) -> None:
    with (
        pytest.raises(TransportError, match="Choose another --listen"),
        listening(f"127.0.0.1:{port}", FEDERATION, store, set()),
    ):
        pass
