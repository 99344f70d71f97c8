"""A federation's topics as a test sees them: every record in the order of its partition, and waiting for one."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from fdstream.events import Entry
from fdstream.log import Record
from fdstream.messages import Message, Report, RoundClosed, RoundClosing, RoundOpened, ShardVerdict
from fdstream.serde.avro import decode
from fdstream.topics import table
from fdstream.topics.admin import Admin
from fdstream.topics.kafka_log import KafkaLog
from tests.cluster.processes import Federation, wait_until

M = TypeVar("M")


class Topics:
    """Reads one federation's topics; waits until they exist. A context manager."""

    def __init__(self, federation: Federation) -> None:
        with Admin(federation.bootstrap, settings={}) as admin:
            admin.wait_for_topics(federation.name, "server", lambda _: None)
        self.log = KafkaLog(federation.bootstrap, federation.name, client_id="test", settings={})
        self._entries: dict[str, list[Entry]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.log.close()

    def entries(self, topic: str) -> list[Entry]:
        """Every record of the topic that has come so far; the first call starts reading it."""
        if topic not in self._entries:
            self._entries[topic] = []
            for partition, start in enumerate(self.log.start_offsets(topic)):
                self.log.follow(topic, partition, start)
        for item in self.log.poll(0.02):
            if isinstance(item, Record):
                self._entries[item.topic].append(Entry(item, decode(item.value)))
        return self._entries[topic]

    def messages(self, topic: str, kind: type[M]) -> list[M]:
        return [entry.message for entry in self.entries(topic) if isinstance(entry.message, kind)]

    def all_entries(self, topic: str) -> list[Entry]:
        """Every record that is in the topic now."""
        self.entries(topic)
        missing = sum(self.log.end_offsets(topic)) - sum(self.log.start_offsets(topic))
        wait_until(f"{missing} records of {topic}", lambda: len(self.entries(topic)) >= missing or None)
        return self.entries(topic)

    def wait(self, topic: str, kind: type[M], check: Callable[[M], bool], count: int = 1) -> list[M]:
        """Wait until so many records of the topic pass the check; they."""

        def found() -> list[M] | None:
            passing = [message for message in self.messages(topic, kind) if check(message)]
            return passing if len(passing) >= count else None

        return wait_until(f"{count} {kind.__name__} on {topic}", found)

    # Rounds

    def wait_for_round(self, number: int) -> RoundOpened:
        return self.wait(table.CONTROL, RoundOpened, lambda opened: opened.round == number)[0]

    def wait_for_closed(self, number: int) -> RoundClosed:
        return self.wait(table.CONTROL, RoundClosed, lambda closed: closed.round == number)[0]

    def wait_for_reports(self, number: int, count: int) -> list[Report]:
        """So many good reports of a round."""
        topic = table.reports(table.slot_of(number, table.SLOTS))
        return self.wait(
            topic, Report, lambda report: report.round == number and report.failure is None, count
        )

    def cohorts(self, rounds: int) -> list[list[str]]:
        """The clients whose updates made the model of each training round, from a log that keeps all."""
        return [self._cohort(self.wait_for_closed(number)) for number in range(1, rounds + 1)]

    def _cohort(self, closed: RoundClosed) -> list[str]:
        (closing, *_) = self._of_closing(table.CONTROL, RoundClosing, closed)
        left_out: set[int] = set()
        for shard in range(len(closed.model)):
            verdicts = self._of_closing(table.SHARDS, ShardVerdict, closed)
            first = next(verdict for verdict in verdicts if verdict.shard == shard)
            left_out |= {exclusion.report for exclusion in first.excluded}
        reports = {
            entry.record.offset: entry.message
            for entry in self.all_entries(table.reports(table.slot_of(closed.round, table.SLOTS)))
        }
        taken = [reports[offset] for offset in closing.accepted if offset not in left_out]
        return [report.client for report in taken if isinstance(report, Report)]

    def _of_closing(self, topic: str, kind: type[M], closed: RoundClosed) -> list[M]:
        self.all_entries(topic)
        return [
            message
            for message in self.messages(topic, kind)
            if isinstance(message, RoundClosing | ShardVerdict)
            and (message.round, message.ordinal) == (closed.round, closed.ordinal)
        ]


def control_kinds(topics: Topics) -> list[type[Message]]:
    """The kinds of the records in `control`, in order; what cannot be read is left out."""
    return [type(entry.message) for entry in topics.all_entries(table.CONTROL)]  # type: ignore[misc]
