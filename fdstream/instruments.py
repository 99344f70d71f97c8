"""The seam at which a process is measured: what passes between a core, its log and librdkafka can be looked at there.

`Instruments` looks at nothing. `fdstream.metrics` has those that count. Whoever looks changes nothing, and nothing
depends on it. This file knows no metrics library.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from fdstream.driver import Core
from fdstream.events import Tell
from fdstream.log import Log


class Instruments:
    """What a server or a client is built with; each method is called once for every part of it."""

    def core(self, core: Core) -> Core:
        """The core to drive instead of this one: it does the same."""
        return core

    def log(self, log: Log) -> Log:
        """The log to use instead of this one: it does the same."""
        return log

    def hear(self, tell: Tell) -> None:
        """Something that a core said."""

    def statistics(self) -> Callable[[str], None] | None:
        """Who is to hear the statistics of the next log's librdkafka handles, as JSON; None for nobody."""
        return None

    def attending(self, open_log: Callable[[], Log]) -> AbstractContextManager[object]:
        """Look, inside the block, at what is in the log but passes no core; on a log of its own."""
        del open_log
        return nullcontext()


UNMEASURED = Instruments()
