"""Administration of federations on a cluster: create, await, list, delete and check their topics.

Knows topics by `table`; what may threaten the guarantees is judged in `checks`, which is pure.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    ConfigResource,
    NewTopic,
    ResourceType,
    TopicDescription,
)

from fdstream import interrupts
from fdstream.errors import TransportError, UsageError
from fdstream.topics import table
from fdstream.topics.access import settings_for
from fdstream.topics.checks import NOT_ALLOWED, findings
from fdstream.topics.handles import DENIED, Weather, sentence
from fdstream.topics.metadata import REQUEST_TIMEOUT_SECONDS, describe_topics
from fdstream.topics.questions import FOR_EVER, Questions, error_of, refusals
from fdstream.topics.settings import admin_settings

T = TypeVar("T")

_NAME = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PAUSE_SECONDS = 0.05
_PATIENCE_SECONDS = 60.0
_TOPIC_READY_SECONDS = 60.0
_WAITING_PAUSE_SECONDS = 0.5


def check_federation(name: str) -> str:
    """The name, if it can be one: a dot would make topics and access rules of two federations overlap.

    Errors: UsageError.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name for a federation: use 1 to 100 letters, digits, '_' or '-'")
    return name


class Admin:
    """One cluster's administration. A context manager.

    Errors of every method: UsageError for settings that cannot be used, TransportError.
    """

    def __init__(
        self, bootstrap: str, *, settings: Mapping[str, str], client_id: str = "fdstream-admin"
    ) -> None:
        self._bootstrap = bootstrap
        self._weather = Weather(bootstrap)
        self._questions = Questions(admin_settings(bootstrap, client_id, settings), self._weather)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the connections."""
        self._questions.close()

    def wait_until_reachable(self, timeout_seconds: float) -> int:
        """Return the number of brokers once one answers."""
        deadline = time.monotonic() + timeout_seconds
        while True:
            interrupts.check()
            remaining = max(0.1, deadline - time.monotonic())
            future = self._questions.handle.describe_cluster(request_timeout=min(remaining, 1.0))
            try:
                return len(future.result().nodes)
            except KafkaException:
                self._unreachable(timeout_seconds, over=time.monotonic() > deadline)

    def _unreachable(self, timeout_seconds: float, *, over: bool) -> None:
        self._questions.handle.poll(0)
        self._weather.check()
        if over:
            raise TransportError(
                f"no broker answered at {self._bootstrap} within {timeout_seconds:g} s "
                f"({self._weather.last or 'no answer'}). Check that Kafka runs there, the address given with "
                "--broker, firewalls, and, where the broker asks for them, TLS and sign-in with --kafka."
            )

    # Topics of a federation

    def create_topics(self, federation: str, shards: int, slots: int = table.SLOTS) -> int:
        """Create the federation's topics that do not exist; return its number of shards.

        Where the topic `shards` exists its partitions are the number, whatever `shards` says. Safe to run in
        parallel: that topic is created and awaited first, so everybody creates the others alike.
        Errors: TransportError where creating is refused; UsageError where topics contradict each other.
        """
        check_federation(federation)
        standing = self._settle_shards(federation, shards)
        specs = {table.full_name(federation, spec.name): spec for spec in table.topic_specs(standing, slots)}
        self._create_missing(specs)
        for name, count in self._wait_until_ready(list(specs)).items():
            if count != specs[name].partitions:
                raise UsageError(contradiction(name, count, specs[name].partitions))
        return standing

    def _settle_shards(self, federation: str, shards: int) -> int:
        specs = {table.full_name(federation, spec.name): spec for spec in table.topic_specs(shards)}
        name = table.full_name(federation, table.SHARDS)
        self._create_missing({name: specs[name]})
        return self._wait_until_ready([name])[name]

    def _create_missing(self, specs: Mapping[str, table.TopicSpec]) -> None:
        missing = [name for name, topic in self._described(list(specs)).items() if topic is None]
        if missing:
            brokers = self.wait_until_reachable(_PATIENCE_SECONDS)
            self._create([new_topic(name, specs[name], brokers) for name in missing])

    def _create(self, topics: list[NewTopic]) -> None:
        def create(admin: AdminClient) -> dict[str, KafkaError]:
            futures = admin.create_topics(topics, request_timeout=REQUEST_TIMEOUT_SECONDS)
            return refusals(futures, KafkaError.TOPIC_ALREADY_EXISTS)

        for name, error in self._ask("create topics", create).items():
            raise TransportError(creation_refused(name, error))

    def _wait_until_ready(self, names: Sequence[str]) -> dict[str, int]:
        """Until every partition of every topic has a leader; how many partitions each has."""
        deadline = time.monotonic() + _TOPIC_READY_SECONDS
        while not all(map(has_leaders, (found := self._described(names)).values())):
            if time.monotonic() > deadline:
                raise TransportError(
                    f"topics {', '.join(names)} have partitions without a leader. Check that all brokers run."
                )
            time.sleep(_PAUSE_SECONDS)
        return {name: len(topic.partitions) for name, topic in found.items() if topic is not None}

    def _described(
        self, names: Sequence[str], patience_seconds: float = _PATIENCE_SECONDS
    ) -> dict[str, TopicDescription | None]:
        what = f"look up topics such as {names[0]}"
        return self._ask(what, lambda admin: describe_topics(admin, names), patience_seconds)

    def _ask(
        self, what: str, question: Callable[[AdminClient], T], patience_seconds: float = _PATIENCE_SECONDS
    ) -> T:
        return self._questions.ask(what, question, patience_seconds=patience_seconds)

    def wait_for_topics(self, federation: str, role: str, on_waiting: Callable[[str], None]) -> int:
        """Return the number of shards once the federation's topics exist; never creates them.

        `role` ("client" or "server") says which topics can be seen. `on_waiting` is called once, with a
        sentence, if they do not exist yet.
        """
        told = False
        while None in (topics := self._topics_seen_by(federation, role)).values():
            if not told:
                on_waiting(f"waiting for a server to open federation {federation!r} on {self._bootstrap}")
                told = True
            time.sleep(_WAITING_PAUSE_SECONDS)
        updates = topics[table.full_name(federation, table.updates(0))]
        assert updates is not None
        return len(updates.partitions)

    def has_topics(self, federation: str, role: str) -> bool:
        """Whether the federation's topics that `role` can see exist."""
        return None not in self._topics_seen_by(federation, role).values()

    def _topics_seen_by(self, federation: str, role: str) -> dict[str, TopicDescription | None]:
        """Of the first slot, and those without one."""
        topics = table.used_by(role, slots=1)
        names = [table.full_name(check_federation(federation), topic) for topic in topics]
        return self._described(names, FOR_EVER)

    def federations(self) -> list[str]:
        """The names of the federations that have topics here, as far as they may be seen; sorted."""
        return federations_among(self._topic_names())

    def delete_topics(self, federation: str) -> list[str]:
        """Delete the federation's topics and what is in them; return their names once they are gone."""
        names = topics_of(federation, self._topic_names())
        if names:
            self._delete(names)
        deadline = time.monotonic() + _TOPIC_READY_SECONDS
        while left := topics_of(federation, self._topic_names()):
            if time.monotonic() > deadline:
                raise TransportError(
                    f"topic {left[0]} was deleted and is still there. Does a server still run?"
                )
            time.sleep(_PAUSE_SECONDS)
        return names

    def _delete(self, names: list[str]) -> None:
        def delete(admin: AdminClient) -> dict[str, KafkaError]:
            futures = admin.delete_topics(names, request_timeout=REQUEST_TIMEOUT_SECONDS)
            return refusals(futures, KafkaError.UNKNOWN_TOPIC_OR_PART)

        for name, error in self._ask("delete topics", delete).items():
            raise TransportError(sentence(error, f"delete topic {name}"))

    def _topic_names(self) -> list[str]:
        what = f"list topics on {self._bootstrap}"
        return self._ask(what, lambda admin: list(admin.list_topics(timeout=REQUEST_TIMEOUT_SECONDS).topics))

    # What threatens the guarantees

    def startup_checks(self, federation: str, shards: int, slots: int = table.SLOTS) -> list[str]:
        """Sentences on what in the topics' settings threatens the guarantees, and what to change."""
        specs = {table.full_name(federation, spec.name): spec for spec in table.topic_specs(shards, slots)}
        topics = self._described(list(specs))
        settings = self._topic_settings(list(specs))
        if settings is None:
            return [NOT_ALLOWED]
        brokers = self.wait_until_reachable(_PATIENCE_SECONDS)
        return [
            finding
            for name, spec in specs.items()
            if (topic := topics[name]) is not None
            for finding in findings(name, spec, settings[name], _replicas(topic), brokers)
        ]

    def _topic_settings(self, names: Sequence[str]) -> dict[str, dict[str, str]] | None:
        """Effective settings, defaults included; None where this principal may not see them."""
        asked = [ConfigResource(ResourceType.TOPIC, name) for name in names]

        def look_up(admin: AdminClient) -> dict[str, dict[str, str]] | None:
            futures = admin.describe_configs(asked, request_timeout=REQUEST_TIMEOUT_SECONDS)
            errors = [error_of(future) for future in futures.values()]
            if any(error is not None and error.code() in DENIED for error in errors):
                return None
            return {
                resource.name: {name: entry.value or "" for name, entry in future.result().items()}
                for resource, future in futures.items()
            }

        what = "look up the settings of the federation's topics"
        return self._questions.ask(what, look_up, patience_seconds=_PATIENCE_SECONDS, is_there=True)


def new_topic(name: str, spec: table.TopicSpec, brokers: int) -> NewTopic:
    """What to ask for on a cluster of so many brokers: three replicas where there can be."""
    replicas = min(3, brokers)
    return NewTopic(name, spec.partitions, replicas, config=settings_for(spec, replicas))


def contradiction(name: str, found: int, wanted: int) -> str:
    """The sentence for a topic that was made with another number of shards than the rest."""
    return (
        f"topic {name} has {found} partitions, not {wanted} as the federation's topic `shards` asks for. Delete "
        "the topic, or the federation with `fdstream topics delete`; `fdstream topics settings` prints how to "
        "create topics by hand."
    )


def has_leaders(topic: TopicDescription | None) -> bool:
    """Whether the topic exists and each of its partitions has a leader."""
    return topic is not None and all(partition.leader is not None for partition in topic.partitions)


def creation_refused(name: str, error: KafkaError) -> str:
    """The sentence for a topic that the broker does not create."""
    if error.code() in (*DENIED, KafkaError.POLICY_VIOLATION, KafkaError.INVALID_CONFIG):
        return (
            f"the broker refused to create topic {name} ({error.str()}). Let an administrator create the "
            "federation's topics, or grant Create on them: `fdstream topics acls` prints both."
        )
    return sentence(error, f"create topic {name}")


def federations_among(names: Iterable[str]) -> list[str]:
    """The federations whose control topic is among these topics, sorted."""
    pattern = re.compile(rf"{table.PREFIX}\.({_NAME.pattern})\.{table.CONTROL}")
    return sorted(found[1] for name in names if (found := pattern.fullmatch(name)))


def topics_of(federation: str, names: Iterable[str]) -> list[str]:
    """Those of these topics that belong to the federation, sorted."""
    prefix = table.full_name(check_federation(federation), "")
    return sorted(name for name in names if name.startswith(prefix))


def _replicas(topic: TopicDescription) -> int:
    return min((len(partition.replicas) for partition in topic.partitions), default=0)
