"""A client's view of the server's log, over one stream: `fdstream.log.Log`.

Records come in the order of their partition, so what does not lie at the position that is followed was sent before
the server heard of a change, and is dropped. A stream that breaks cannot be mended: the log on the other side may be
gone with its server.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from grpc import aio

from fdstream import interrupts
from fdstream.errors import RemoteError, TransportError, UsageError
from fdstream.events import Tell
from fdstream.grpc import frames
from fdstream.grpc.hub import METHOD, OPTIONS, SERVICE
from fdstream.grpc.loop import loop, run
from fdstream.instruments import UNMEASURED
from fdstream.log import Lost, OnAck, Record

REACHABLE_SECONDS = 30.0
_MOST_QUEUED_BYTES = 32 * 1024 * 1024
_LONGEST_WAIT_SECONDS = 0.5

Place = tuple[str, int]


class StreamLog:
    """See `Log`. `append` may be called from several threads, the rest from one.

    `hear` is told at its end how many messages went each way. Raises `TransportError` where no server answers at the
    address within 30 seconds.
    """

    def __init__(self, address: str, federation: str, hear: Callable[[Tell], None] = UNMEASURED.hear) -> None:
        self._address = address
        self._hear = hear
        self._messages: Counter[str] = Counter()  # touched in the loop's thread alone
        self._changed = threading.Condition()
        self._inbox: deque[frames.Frame] = deque()
        self._queued_bytes = 0
        self._failure: str | None = None
        self._positions: dict[Place, int] = {}
        self._numbers = itertools.count(1)
        self._unacked: dict[int, OnAck | None] = {}
        self._offsets: dict[int, tuple[int, ...]] = {}
        self._outbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._tasks = run(self._open(federation))

    async def _open(self, federation: str) -> asyncio.Future[Any]:
        # Without a pool of its own, all streams of a process would share one connection.
        options = (*OPTIONS, ("grpc.use_local_subchannel_pool", 1))
        self._channel = aio.insecure_channel(self._address, options=options)
        try:
            await asyncio.wait_for(self._channel.channel_ready(), REACHABLE_SECONDS)
        except TimeoutError:
            await self._channel.close()
            raise TransportError(
                f"no server answers at {self._address} after {REACHABLE_SECONDS:g} s: is `fdstream server --grpc "
                "--listen` running there?"
            ) from None
        call = self._channel.stream_stream(f"/{SERVICE}/{METHOD}")()
        try:
            await call.write(frames.encode(frames.Hello(federation)))
            await call.read()
        except aio.AioRpcError as error:
            await self._channel.close()
            raise UsageError(f"the server at {self._address} refuses: {error.details()}") from None
        return asyncio.gather(self._write(call), self._receive(call))

    async def _write(self, call: Any) -> None:
        while (data := await self._outbox.get()) is not None:
            with suppress(aio.AioRpcError, asyncio.InvalidStateError):  # who reads hears why
                await call.write(data)
            self._messages.update(sent=1, sent_bytes=len(data))
            with self._changed:
                self._queued_bytes -= len(data)
                self._changed.notify_all()

    async def _receive(self, call: Any) -> None:
        try:
            while (data := await call.read()) is not aio.EOF:
                self._messages.update(received=1, received_bytes=len(data))
                frame = frames.decode(data)
                with self._changed:
                    self._inbox.append(frame)
                    self._changed.notify_all()
            failure = "the server has left"
        except aio.AioRpcError as error:
            failure = error.details() or error.code().name
        except RemoteError as error:
            failure = str(error)
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def _send(self, frame: frames.Frame) -> None:
        data = frames.encode(frame)
        if len(data) > frames.MAX_FRAME_BYTES:
            raise UsageError(
                f"a record of {len(data)} bytes is more than a frame's {frames.MAX_FRAME_BYTES}: lower --chunk-bytes"
            )
        with self._changed:
            self._queued_bytes += len(data)
        loop().call_soon_threadsafe(self._outbox.put_nowait, data)

    def _check(self) -> None:
        interrupts.check()
        if self._failure is not None and not self._inbox:
            raise TransportError(
                f"the stream to {self._address} has ended ({self._failure}). Over gRPC nothing can go on from there: "
                "start a new federation"
            )

    # Appending

    def append(
        self,
        topic: str,
        partition: int,
        value: bytes,
        *,
        key: bytes = b"",
        on_ack: OnAck | None = None,
        droppable: bool = False,
    ) -> bool:
        """See `Log.append`."""
        with self._changed:
            while self._queued_bytes > _MOST_QUEUED_BYTES and self._failure is None:
                if droppable:
                    return False
                self._changed.wait(_LONGEST_WAIT_SECONDS)
                interrupts.check()
            if droppable and self._failure is not None:
                return False
            number = next(self._numbers)
            self._unacked[number] = on_ack
        self._check()
        self._send(frames.Append(topic, partition, number, key, value))
        return True

    def flush(self) -> None:
        """See `Log.flush`."""
        kept: deque[frames.Frame] = deque()
        while self._unacked:
            for frame in self._wait(_LONGEST_WAIT_SECONDS):
                if not self._acked(frame):
                    kept.append(frame)
        with self._changed:
            self._inbox.extendleft(reversed(kept))

    def _acked(self, frame: frames.Frame) -> bool:
        if not isinstance(frame, frames.Ack):
            return False
        on_ack = self._unacked.pop(frame.number)
        if on_ack is not None:
            on_ack(frame.offset)
        return True

    # Reading

    def follow(self, topic: str, partition: int, offset: int) -> None:
        """See `Log.follow`."""
        position = self._positions.get((topic, partition))
        if position is None or position > offset:
            self._positions[topic, partition] = offset
            self._send(frames.Follow(topic, partition, offset))

    def unfollow(self, topic: str, partition: int) -> None:
        """See `Log.unfollow`."""
        if self._positions.pop((topic, partition), None) is not None:
            self._send(frames.Unfollow(topic, partition))

    def poll(self, timeout_seconds: float) -> list[Record | Lost]:
        """See `Log.poll`."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            remaining = max(0.0, deadline - time.monotonic())
            came = self._wait(min(remaining, _LONGEST_WAIT_SECONDS))
            found = [item for frame in came for item in self._delivered(frame)]
            called = any(isinstance(frame, frames.Ack) for frame in came)
            if found or called or remaining == 0.0:
                return found

    def _wait(self, timeout_seconds: float) -> list[frames.Frame]:
        """What has come, after waiting for the first of it."""
        self._check()
        with self._changed:
            if not self._inbox and self._failure is None and timeout_seconds > 0:
                self._changed.wait(timeout_seconds)
            came = list(self._inbox)
            self._inbox.clear()
        return came

    def _delivered(self, frame: frames.Frame) -> list[Record | Lost]:
        match frame:
            case frames.Delivery():
                place = (frame.topic, frame.partition)
                if self._positions.get(place) != frame.offset:
                    return []
                self._positions[place] += 1
                seconds = frame.timestamp_seconds
                return [Record(*place, frame.offset, seconds, frame.value, frame.key)]
            case frames.Gone():
                place = (frame.topic, frame.partition)
                if self._positions.get(place) != frame.offset:
                    return []
                del self._positions[place]
                return [Lost(*place, frame.offset)]
            case frames.Offsets():
                self._offsets[frame.number] = frame.offsets
        self._acked(frame)
        return []

    # Offsets

    def end_offsets(self, topic: str) -> list[int]:
        """See `Log.end_offsets`."""
        return self._ask(topic, ends=True)

    def start_offsets(self, topic: str) -> list[int]:
        """See `Log.start_offsets`."""
        return self._ask(topic, ends=False)

    def _ask(self, topic: str, *, ends: bool) -> list[int]:
        number = next(self._numbers)
        self._send(frames.Ask(topic, number, ends))
        kept: deque[frames.Frame] = deque()
        while number not in self._offsets:
            for frame in self._wait(_LONGEST_WAIT_SECONDS):
                if isinstance(frame, frames.Offsets):
                    self._offsets[frame.number] = frame.offsets
                else:
                    kept.append(frame)
        with self._changed:
            self._inbox.extendleft(reversed(kept))
        return list(self._offsets.pop(number))

    def delete_before(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """Not for clients. Raises `UsageError`."""
        raise UsageError(f"a client cannot delete what is in the server's log: {sorted(offsets)}")

    def close(self) -> None:
        """See `Log.close`."""
        run(self._close())
        self._hear(Tell("messages", dict(self._messages)))

    async def _close(self) -> None:
        self._outbox.put_nowait(None)
        await self._channel.close()
        await asyncio.gather(self._tasks, return_exceptions=True)
