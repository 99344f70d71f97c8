"""The server's end of the streams: what clients append goes into the store, what they follow comes out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import grpc
from grpc import aio

from fdstream.errors import FdstreamError, TransportError, UsageError
from fdstream.grpc import frames
from fdstream.grpc.loop import loop, run
from fdstream.grpc.store import Place, Store
from fdstream.log import Lost, Record

SERVICE, METHOD = "fdstream.Hub", "Stream"
OPTIONS = (
    ("grpc.max_send_message_length", frames.MAX_FRAME_BYTES),
    ("grpc.max_receive_message_length", frames.MAX_FRAME_BYTES),
    ("grpc.so_reuseport", 0),  # two servers on one port would share out the clients between them
)
_GRACE_SECONDS = 10.0
_MOST_AT_ONCE = 8
_CACHED_FRAMES = 64


@contextmanager
def listening(address: str, federation: str, store: Store, writable: Collection[str]) -> Iterator[int]:
    """Serve the store at the address; the port. Clients may append to `writable` topics alone.

    Raises `TransportError` where it cannot listen there. At the end clients have some seconds to hear what was
    appended last.
    """
    server, port = run(_start(address, federation, store, frozenset(writable)))
    grace_seconds = 0.0
    try:
        yield port
        grace_seconds = _GRACE_SECONDS
    finally:
        run(server.stop(grace_seconds))


async def _start(
    address: str, federation: str, store: Store, writable: frozenset[str]
) -> tuple[aio.Server, int]:
    async def serve(_: Any, context: aio.ServicerContext[bytes, bytes]) -> None:
        await _Stream(context, federation, store, writable).run()

    server = aio.server(options=OPTIONS)
    handler = grpc.stream_stream_rpc_method_handler(serve)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})])
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise TransportError(
            f"cannot listen on {address}: something else does, or it is no address of this machine. Choose "
            "another --listen"
        ) from error
    await server.start()
    return server, port


@lru_cache(maxsize=_CACHED_FRAMES)
def _delivery(record: Record) -> bytes:
    """The same for every client that follows: made once."""
    return frames.encode(
        frames.Delivery(
            record.topic, record.partition, record.offset, record.timestamp_seconds, record.key, record.value
        )
    )


class _Stream:
    """One client. Everything runs in the loop's thread."""

    def __init__(self, context: Any, federation: str, store: Store, writable: frozenset[str]) -> None:
        self._context = context
        self._federation = federation
        self._store = store
        self._writable = writable
        self._positions: dict[Place, int] = {}
        self._answers: list[frames.Frame] = []
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Until the client leaves."""
        sender = asyncio.ensure_future(self._send())
        try:
            await self._hear()
        except FdstreamError as error:
            await self._context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        finally:
            sender.cancel()
            for place in list(self._positions):
                self._unfollow(place)

    async def _hear(self) -> None:
        greeted = False
        while (data := await self._context.read()) is not aio.EOF:
            frame = frames.decode(data)
            if greeted:
                self._take(frame)
            elif frame == frames.Hello(self._federation):
                greeted = True
                await self._context.write(data)
            else:
                raise UsageError(
                    f"it has the federation {self._federation!r}, which --federation has to name"
                )

    def _wake(self) -> None:
        """From any thread."""
        loop().call_soon_threadsafe(self._news.set)

    def _take(self, frame: frames.Frame) -> None:
        match frame:
            case frames.Append() if frame.topic not in self._writable:
                raise UsageError(f"clients may not write to {frame.topic}")
            case frames.Append():
                offset = self._store.append(frame.topic, frame.partition, frame.value, frame.key)
                self._answers.append(frames.Ack(frame.number, offset))
            case frames.Follow():
                self._store.listen((frame.topic, frame.partition), self._wake)
                self._positions[frame.topic, frame.partition] = frame.offset
            case frames.Unfollow():
                self._unfollow((frame.topic, frame.partition))
            case frames.Ask():
                found = (self._store.ends if frame.ends else self._store.starts)(frame.topic)
                self._answers.append(frames.Offsets(frame.number, tuple(found)))
            case _:
                raise TransportError(f"a client sent a {type(frame).__name__}, which only servers send")
        self._news.set()

    def _unfollow(self, place: Place) -> None:
        if self._positions.pop(place, None) is not None:
            self._store.leave(place, self._wake)

    async def _send(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while due := self._due():
                for data in due:
                    await self._context.write(data)

    def _due(self) -> list[bytes]:
        """Answers first: whoever waits for one can go on only when it is there."""
        answers, self._answers = self._answers, []
        return [frames.encode(answer) for answer in answers] + self._deliveries()

    def _deliveries(self) -> list[bytes]:
        due: list[bytes] = []
        for place, position in list(self._positions.items()):
            found = self._store.read(place, position, _MOST_AT_ONCE)
            if isinstance(found, Lost):
                self._unfollow(place)
                due.append(frames.encode(frames.Gone(*place, position)))
            else:
                self._positions[place] = position + len(found)
                due += map(_delivery, found)
        return due
