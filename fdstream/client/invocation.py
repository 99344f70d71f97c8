"""One invocation of a function: from what it is set to, to what came of it. Knows no HTTP and no cloud.

Any number may run at once. Connections rest in between, so that a warm one need not connect and read the history
again; what rests reads nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from fdstream.app import App, load
from fdstream.cli.function import FunctionSettings
from fdstream.client.budget import OutOfTimeError, within
from fdstream.client.connect import is_open, pins_of
from fdstream.client.pool import Pool
from fdstream.client.visitor import FINISHED, NO_ROUND_OPEN, Visit, Visitor, Watch
from fdstream.errors import RemoteError, TransportError
from fdstream.heartbeats import Heartbeats
from fdstream.instruments import UNMEASURED, Instruments
from fdstream.keys import load_private
from fdstream.log import Log

logger = logging.getLogger("fdstream.function")
HEARTBEAT_SECONDS = 5.0
REACHABLE_SECONDS = 10.0  # at most, of the time there is, for a broker to answer
_PROFILE = {"runs": "as a function"}


class GivenUpError(Exception):
    """The time was over; the message says during what."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """What came of it, for whoever asked. `warm`: on the connection of an earlier one."""

    settings: FunctionSettings
    visit: Visit
    warm: bool
    watch: Watch


class Invoker:
    """For many threads. Its connections live as long as the process."""

    def __init__(self, instruments: Instruments = UNMEASURED) -> None:
        self._instruments = instruments
        self._pool = Pool()
        self._heartbeats = Heartbeats(HEARTBEAT_SECONDS).__enter__()

    def invoke(self, settings: FunctionSettings) -> Invocation:
        """Take part once. Raises `FdstreamError`, `GivenUpError`."""
        watch = Watch()
        try:
            return within(settings.timeout_seconds, lambda: self._invoke(settings, watch))
        except OutOfTimeError:
            raise GivenUpError(
                f"the {settings.timeout_seconds:g} s that FDSTREAM_TIMEOUT allows were over in the phase "
                f"{watch.phase!r}: invoke it again, or allow more time"
            ) from None

    def _invoke(self, settings: FunctionSettings, watch: Watch) -> Invocation:
        app = load(settings.app)
        resting = self._pool.take(settings.place, settings.client_id)
        if resting is not None:
            try:
                return self._visit(settings, resting, app, watch, warm=True)
            except (TransportError, RemoteError) as error:
                if watch.phase != "receive":
                    raise
                logger.info("a resting connection is of no use any more", extra={"reason": str(error)})
        watch.turn_to("connect")
        visitor = self._connect(settings)
        if visitor is None:
            absent = Visit(NO_ROUND_OPEN, reason="no server has opened this federation")
            return Invocation(settings, absent, False, watch)
        return self._visit(settings, visitor, app, watch, warm=False)

    def _visit(
        self, settings: FunctionSettings, visitor: Visitor, app: App, watch: Watch, *, warm: bool
    ) -> Invocation:
        try:
            key = None if settings.key is None else load_private(settings.key)
            visit = visitor.visit(settings.client_id, app, watch, key)
        except BaseException:
            visitor.close()
            raise
        if visit.outcome == FINISHED:
            visitor.close()
        else:
            self._pool.give(settings.place, visitor)
        watch.turn_to("end")
        return Invocation(settings, visit, warm, watch)

    def _connect(self, settings: FunctionSettings) -> Visitor | None:
        pins = pins_of(settings.federation, settings.server_key)
        log = _open_log(settings, self._instruments)
        if log is None:
            return None
        return Visitor(log, self._heartbeats, settings.config, _PROFILE, self._instruments, pins)


def _open_log(settings: FunctionSettings, instruments: Instruments) -> Log | None:
    """None where nobody has opened the federation. Raises `TransportError`, `UsageError`."""
    where, federation = settings.address, settings.federation
    if settings.grpc:
        from fdstream.grpc.stream_log import StreamLog

        return StreamLog(where, federation, instruments.hear)
    from fdstream.topics.kafka_log import KafkaLog

    reachable_seconds = min(REACHABLE_SECONDS, settings.timeout_seconds / 2)
    if not is_open(where, federation, settings.kafka, reachable_seconds):
        return None
    statistics = instruments.statistics()
    return KafkaLog(
        where, federation, client_id=settings.client_id, settings=settings.kafka, statistics=statistics
    )
