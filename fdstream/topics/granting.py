"""Makes the grants of `access` hold on a cluster that keeps access rules itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaError
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from fdstream.errors import TransportError
from fdstream.topics.access import Grant
from fdstream.topics.handles import Weather, sentence
from fdstream.topics.metadata import REQUEST_TIMEOUT_SECONDS
from fdstream.topics.questions import Questions, refusals
from fdstream.topics.settings import admin_settings

PATIENCE_SECONDS = 60.0
_ADDED = 0  # a rule that is there already is no error
_OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}
_RESOURCES = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}


def bindings(grant: Grant) -> list[AclBinding]:
    """The rules that a grant is made of, one for each resource and operation, for every host."""
    pattern = ResourcePatternType.PREFIXED if grant.prefixed else ResourcePatternType.LITERAL
    return [
        AclBinding(
            _RESOURCES[grant.resource],
            name,
            pattern,
            grant.principal,
            "*",
            _OPERATIONS[operation],
            AclPermissionType.ALLOW,
        )
        for name in grant.names
        for operation in grant.operations
    ]


def apply(bootstrap: str, grants: Iterable[Grant], *, settings: Mapping[str, str]) -> int:
    """Add the rules, return how many; those that are there already stay as they are.

    Errors: UsageError for settings that cannot be used; TransportError where the cluster refuses.
    """
    rules = [rule for grant in grants for rule in bindings(grant)]

    def add(admin: AdminClient) -> dict[str, KafkaError]:
        futures = admin.create_acls(rules, request_timeout=REQUEST_TIMEOUT_SECONDS)
        return refusals({str(rule): future for rule, future in futures.items()}, _ADDED)

    questions = Questions(admin_settings(bootstrap, "fdstream-admin", settings), Weather(bootstrap))
    for error in questions.ask("grant access", add, patience_seconds=PATIENCE_SECONDS).values():
        raise TransportError(sentence(error, "grant access"))
    questions.close()
    return len(rules)
