"""The dashboard over HTTP: a page, its files, and a stream of server-sent events. Read-only, and nobody signs in.

The stream's event ids are `life-revision`: a browser that reconnects says which it had last and gets what it missed.
Where it listens on loopback only, requests under another host's name are refused, so that no foreign page can have
its name point here (DNS rebinding).
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import AsyncIterator
from pathlib import PurePath

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from fdstream.dashboard import page
from fdstream.dashboard.feed import Feed
from fdstream.errors import UsageError

KEEP_ALIVE_SECONDS = 15.0
SHUTDOWN_SECONDS = 2
LOOPBACK_NAMES = ["127.0.0.1", "localhost", "[::1]"]
HEADERS = {
    "Content-Security-Policy": page.LIVE_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def application(feed: Feed, host: str) -> Starlette:
    """The ASGI application."""

    async def index(_: Request) -> Response:
        return Response(page.text("index.html"), media_type="text/html", headers=HEADERS)

    async def static(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in page.names():
            return PlainTextResponse("there is no such file\n", 404, headers=HEADERS)
        return Response(page.text(name), media_type=page.TYPES[PurePath(name).suffix], headers=HEADERS)

    async def events(request: Request) -> Response:
        since = _since(feed, request.headers.get("last-event-id", ""))
        return StreamingResponse(stream(feed, since), media_type="text/event-stream", headers=HEADERS)

    async def report(_: Request) -> Response:
        attached = {"Content-Disposition": 'attachment; filename="report.html"'}
        body = page.in_one_file(await feed.whole())
        return Response(body, media_type="text/html", headers=HEADERS | attached)

    routes = [
        Route("/", index),
        Route("/static/{name}", static),
        Route("/events", events),
        Route("/report.html", report),
    ]
    allowed = LOOPBACK_NAMES if is_loopback(host) else ["*"]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=allowed)])


async def stream(feed: Feed, since: int) -> AsyncIterator[bytes]:
    """Server-sent events from the revision on; a comment now and then, so that who is gone is noticed."""
    yield b"retry: 1000\n\n"
    while True:
        try:
            found = await asyncio.wait_for(feed.after(since), KEEP_ALIVE_SECONDS)
        except TimeoutError:
            yield b": nothing new\n\n"
            continue
        if found is None:
            return
        since = found.revision
        yield found.event


def _since(feed: Feed, last_event_id: str) -> int:
    life, _, revision = last_event_id.partition("-")
    known = life == feed.life and revision.isascii() and revision.isdecimal() and len(revision) < 18
    return int(revision) if known else 0


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach what listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises `UsageError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((str(address[0]), port), family=family)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(
            f"cannot listen on {host}:{port}: {reason}. Choose another --port, or --port 0 for any that is free"
        ) from error


def serve(feed: Feed, listening: socket.socket, host: str) -> None:
    """Serve until Ctrl-C. Raises what reading the federation raises."""
    config = uvicorn.Config(
        application(feed, host),
        log_config=None,
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    asyncio.run(run_both(feed, uvicorn.Server(config), listening))


async def run_both(feed: Feed, server: uvicorn.Server, listening: socket.socket) -> None:
    """Read and serve; both end when either does."""
    reading = asyncio.create_task(feed.run())
    watching = asyncio.create_task(_end_together(feed, server, reading))
    await server.serve(sockets=[listening])
    await watching
    await reading


async def _end_together(feed: Feed, server: uvicorn.Server, reading: asyncio.Task[None]) -> None:
    """Let viewers go before the server waits for them."""
    while not (server.should_exit or reading.done()):
        await asyncio.wait([reading], timeout=0.1)
    server.should_exit = True
    feed.stop()
