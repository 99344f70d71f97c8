"""The access rules: that they are the least, and the commands that a shell would run."""

from __future__ import annotations

import re
import shlex

from fdstream.dashboard.reader import TOPICS
from fdstream.topics import access, table

NAME = "ward-7"


def _grants(principal: str) -> list[access.Grant]:
    found = access.grants(NAME, server="User:s", client="User:c")
    return [grant for grant in found if grant.principal == principal]


def _may(principal: str, operation: str, topic: str) -> bool:
    """As Kafka decides: literal names, or prefixes."""
    name = table.full_name(NAME, topic)
    return any(
        operation in grant.operations
        and grant.resource == "topic"
        and any(name == each or (grant.prefixed and name.startswith(each)) for each in grant.names)
        for grant in _grants(principal)
    )


def test_clients_may_do_what_their_role_needs_and_nothing_else() -> None:
    for spec in table.topic_specs(4):
        assert _may("User:c", "Read", spec.name) == ("client" in spec.readers)
        assert _may("User:c", "Write", spec.name) == (spec.writers == "client")
    operations = {operation for grant in _grants("User:c") for operation in grant.operations}
    assert operations == {"Read", "Write"}
    assert not any(grant.resource == "group" or grant.prefixed for grant in _grants("User:c"))


def test_functions_may_read_reports_too_and_nothing_else_more() -> None:
    found = access.grants(NAME, server="User:s", client="User:c", function="User:f")

    def rights(principal: str) -> set[tuple[str, str]]:
        own = [grant for grant in found if grant.principal == principal]
        return {(operation, name) for grant in own for operation in grant.operations for name in grant.names}

    reports = {("Read", f"fdstream.ward-7.round-{slot}.reports") for slot in range(table.SLOTS)}
    assert rights("User:f") == rights("User:c") | reports
    assert not rights("User:c") & reports


def test_viewers_may_read_what_carries_no_tensors_and_do_nothing_else() -> None:
    found = access.grants(NAME, server="User:s", client="User:c", viewer="User:v")
    (grant,) = [grant for grant in found if grant.principal == "User:v"]
    assert (grant.operations, grant.resource, grant.prefixed) == (("Read",), "topic", False)
    looked_at = {table.full_name(NAME, topic) for topic in (table.CONTROL, *TOPICS)}
    assert set(grant.names) == looked_at
    assert not any("model" in name or "updates" in name or "state" in name for name in grant.names)


def test_clients_cannot_write_what_closes_a_round() -> None:
    for topic in (table.CONTROL, table.SHARDS, table.model(0), table.state(1), table.REJECTED):
        assert not _may("User:c", "Write", topic)


def test_servers_may_use_every_topic_of_their_federation_and_its_group() -> None:
    for spec in table.topic_specs(4):
        for operation in ("Read", "Write", "DescribeConfigs", "Create", "Delete"):
            assert _may("User:s", operation, spec.name)
    (group,) = [grant for grant in _grants("User:s") if grant.resource == "group"]
    assert (group.names, group.prefixed) == (("fdstream.ward-7",), False)


def test_servers_of_another_federation_get_nothing() -> None:
    for grant in _grants("User:s"):
        assert not any("fdstream.ward-77.control".startswith(name) for name in grant.names if grant.prefixed)


def test_the_text_is_comments_and_whole_commands() -> None:
    text = access.acls(NAME, server="User:CN=the server,O=x", client="User:c")
    commands = [shlex.split(line) for line in text.splitlines() if line and not line.startswith("#")]
    assert [words[0] for words in commands] == ["kafka-acls.sh"] * 6 + ["kafka-configs.sh"] * 2
    for words in commands:
        assert words[1:4] == ["--bootstrap-server", "$BROKER", "--command-config"]
    for words in commands[:6]:
        assert words[words.index("--allow-principal") + 1] in ("User:CN=the server,O=x", "User:c")


def test_clients_and_functions_are_bounded_and_servers_are_not() -> None:
    text = access.acls(NAME, server="User:s", client="User:CN=c,O=x", function="User:f")
    commands = [shlex.split(line) for line in text.splitlines() if line.startswith("kafka-configs.sh")]
    values = "producer_byte_rate=50000000,consumer_byte_rate=50000000,request_percentage=50"
    bounded = []
    for words in commands:
        assert words[5:8] == ["--alter", "--add-config", values]
        bounded.append(words[8:])
    one = {name: ["--entity-type", "users", "--entity-name", name] for name in ("CN=c,O=x", "f")}
    each_id = ["--entity-type", "clients", "--entity-default"]
    assert bounded == [words for name in one for words in ([*one[name], *each_id], one[name])]


def test_the_creation_commands_ask_for_what_a_server_would() -> None:
    commands = access.creation(NAME, 4).splitlines()[1:]
    assert len(commands) == len(table.topic_specs(4))
    for command, spec in zip(commands, table.topic_specs(4), strict=True):
        words = shlex.split(command)
        assert words[words.index("--topic") + 1] == table.full_name(NAME, spec.name)
        assert words[words.index("--partitions") + 1] == str(spec.partitions)
        configs = dict(re.findall(r"--config (\S+)=(\S+)", command))
        assert configs == spec.settings | {"min.insync.replicas": "2"}
    assert "min.insync.replicas" not in access.creation(NAME, 4, replicas=1)
