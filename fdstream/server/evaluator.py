"""Runs the app's `evaluate_global` beside the rounds, in a thread with a connection of its own.

It never holds a round up: it takes the newest model, evaluates it and writes one GlobalEvaluated. Two coordinators
may both evaluate; the first record of a round counts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from fdstream import interrupts
from fdstream.app import App
from fdstream.client.fetch import fetch_model
from fdstream.codecs import Codec
from fdstream.driver import written
from fdstream.errors import FdstreamError
from fdstream.layout import Layout
from fdstream.log import Log
from fdstream.messages import ConfigValue, GlobalEvaluated, ShardModel
from fdstream.signatures import SigningKey
from fdstream.topics import table

logger = logging.getLogger("fdstream.evaluator")


@dataclass(frozen=True, slots=True)
class Job:
    """One model to evaluate."""

    nonce: bytes
    protocol: int
    round: int
    topic: str
    model: tuple[ShardModel, ...]
    layout: Layout
    codec: Codec
    config: dict[str, ConfigValue]


class Evaluator:
    """Evaluates the newest job; a job that is overtaken while it waits is dropped."""

    def __init__(self, app: App, open_log: Callable[[], Log], key: SigningKey | None = None) -> None:
        self._app = app
        self._open_log = open_log
        self._key = key
        self._job: Job | None = None
        self._closing = False
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="fdstream-evaluator", daemon=True)

    def __enter__(self) -> Evaluator:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._stop.set()
        self.drain()

    def drain(self) -> None:
        """Finish the job that waits, then stop for good."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def submit(self, job: Job) -> None:
        with self._changed:
            self._job = job
            self._changed.notify()

    def _next(self) -> Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._job is not None or self._closing)
            job, self._job = self._job, None
            return job

    def _run(self) -> None:
        log = self._open_log()
        try:
            with interrupts.heeding(self._stop):
                while (job := self._next()) is not None:
                    self._try(log, job)
        except interrupts.Stopped:
            logger.debug("the global model is not evaluated any more")
        log.close()

    def _try(self, log: Log, job: Job) -> None:
        try:
            self._evaluate(log, job)
        except FdstreamError as error:
            logger.warning(
                "the global model was not evaluated", extra={"round": job.round, "reason": str(error)}
            )

    def _evaluate(self, log: Log, job: Job) -> None:
        model = fetch_model(log, job.layout, job.topic, job.model, job.codec)
        metrics = self._app.run_evaluate_global(model.tensors(), job.config)
        if metrics is not None:
            found = GlobalEvaluated(job.nonce, job.round, metrics)
            log.append(table.CONTROL, 0, written(found, self._key, job.protocol))
            log.flush()
