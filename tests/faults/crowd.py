"""Clients of `tests.cluster.apps` in threads of this process: real connections, without an interpreter for each."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence

from fdstream import interrupts
from fdstream.client.connect import connect
from fdstream.client.connection import work
from fdstream.errors import FdstreamError
from fdstream.messages import ConfigValue
from tests.cluster import apps
from tests.cluster.processes import PATIENCE_SECONDS, Federation


class Member:
    """One connection in a thread, with one client or several."""

    def __init__(
        self,
        federation: Federation,
        clients: Sequence[str],
        config: Mapping[str, ConfigValue],
        kafka: Mapping[str, str],
    ) -> None:
        self.clients = tuple(clients)
        self.reported: Counter[tuple[str, int]] = Counter()  # client, round
        self.error: FdstreamError | None = None
        self._federation = federation
        self._config = dict(config)
        self._kafka = dict(kafka)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"crowd-{clients[0]}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave soon, wherever it is."""
        self._stop.set()

    def join(self) -> FdstreamError | None:
        """Wait for its end; what went wrong, if anything did."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), f"{self.clients[0]} did not end in {PATIENCE_SECONDS:g} s"
        return self.error

    def _run(self) -> None:
        try:
            with interrupts.heeding(self._stop):
                self._take_part()
        except interrupts.Stopped:
            pass
        except FdstreamError as error:
            self.error = error

    def _take_part(self) -> None:
        where, name = self._federation.bootstrap, self._federation.name
        with connect(
            where, name, client_id=self.clients, config=self._config, kafka=self._kafka
        ) as connection:
            for task, error in work(apps.app, connection):
                if error is None:
                    self.reported[task.client, task.round] += 1
