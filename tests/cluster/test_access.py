"""A broker with access rules: what `fdstream topics acls` prints is enough, and less is refused in one sentence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from fdstream.topics.access import grants
from fdstream.topics.granting import bindings
from kafka_cluster import Cluster
from tests.cluster.expected import expected_hash
from tests.cluster.processes import Federation, hash_of, wait_until

ANYBODY = "User:ANONYMOUS"  # who a connection without credentials is
AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
CLIENTS = ("ada", "bob")


def on_cluster(operation: AclOperation, permission: AclPermissionType) -> AclBinding:
    literal = ResourcePatternType.LITERAL
    return AclBinding(ResourceType.BROKER, "kafka-cluster", literal, ANYBODY, "*", operation, permission)


class Rules:
    """Access rules; what is added counts at once, for one node writes and judges."""

    def __init__(self, bootstrap: str) -> None:
        self._admin = AdminClient({"bootstrap.servers": bootstrap})

    def add(self, rules: Iterable[AclBinding]) -> None:
        for future in self._admin.create_acls(list(rules)).values():
            future.result()

    def remove(self, rule: AclBinding) -> None:
        found = AclBindingFilter(
            rule.restype,
            rule.name,
            rule.resource_pattern_type,
            rule.principal,
            rule.host,
            rule.operation,
            rule.permission_type,
        )
        self._admin.delete_acls([found])[found].result()
        wait_until(f"{rule} to be gone", lambda: not self._admin.describe_acls(found).result())


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    with (
        Cluster(data_dir=tmp_path / "kafka", settings=AUTHORIZER) as cluster,
        Federation(cluster.bootstrap, tmp_path) as made,
    ):
        yield made


def test_topics_that_may_not_be_created_and_then_are(federation: Federation) -> None:
    wanted = grants(federation.name, server=ANYBODY, client=ANYBODY)
    create = [rule for grant in wanted if "Create" in grant.operations for rule in bindings(grant)]
    others = [rule for grant in wanted if "Create" not in grant.operations for rule in bindings(grant)]
    rules = Rules(federation.bootstrap)
    rules.add([*others, on_cluster(AclOperation.ALL, AclPermissionType.ALLOW)])
    rules.add([on_cluster(AclOperation.CREATE, AclPermissionType.DENY)])

    for process in (federation.server(), federation.run("topics", "topics create")):
        code, sentence = process.refusal()
        assert code == 4
        assert "the broker refused to create topic" in sentence
        assert "fdstream topics acls" in sentence

    rules.add(create)
    assert federation.run("topics", "topics create").exit_code() == 0
    for rule in create:
        rules.remove(rule)
    for client in CLIENTS:
        federation.client(client)
    server = federation.server("--numrounds", "2", "--minclients", "2")
    assert hash_of(server) == expected_hash([CLIENTS] * 2)
