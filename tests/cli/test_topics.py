"""`fdstream topics`: what it does to a real broker, and what it prints for an administrator."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from fdstream.topics import access, table
from tests.cli.finished import fdstream

PARTS = len(table.topic_specs(table.DEFAULT_SHARDS))


@pytest.fixture
def where(kafka: str) -> tuple[str, ...]:
    """The options for a federation that nobody has made yet."""
    return ("--broker", kafka, "--federation", f"test-{uuid.uuid4().hex[:12]}")


def said(*arguments: str, typed: str | None = None) -> str:
    """What a command that succeeds prints for people."""
    result = fdstream("topics", *arguments, typed=typed)
    assert result.exit_code == 0, result.output
    return result.stdout


def listed(broker: str) -> list[str]:
    """The federations, as people are told; programs are told the same."""
    names = fdstream("topics", "list", "--broker", broker).stdout.splitlines()
    assert json.loads(said("list", "--broker", broker, "--json")) == {"federations": names}
    return names


def test_a_federation_comes_and_goes(where: tuple[str, ...]) -> None:
    _, broker, _, name = where
    assert name not in listed(broker)
    assert (
        said("create", *where, "--shards", "2")
        == f"federation '{name}' has its topics on {broker}, with 2 shards\n"
    )
    assert listed(broker).count(name) == 1
    assert said("delete", *where, "--yes") == f"deleted {PARTS} topics of federation '{name}'\n"
    assert name not in listed(broker)


def test_topics_that_exist_keep_their_shards_and_the_number_is_told(where: tuple[str, ...]) -> None:
    said("create", *where, "--shards", "2")
    assert "with 2 shards" in said("create", *where, "--shards", "3")


@pytest.mark.parametrize(("typed", "stays"), [("n\n", True), ("\n", True), ("", True), ("y\n", False)])
def test_deleting_asks_first(typed: str, stays: bool, where: tuple[str, ...]) -> None:
    _, broker, _, name = where
    said("create", *where, "--shards", "1")
    result = fdstream("topics", "delete", *where, typed=typed)
    assert f"Delete every topic of federation '{name}' on {broker}? [y/N]" in result.output
    assert (result.exit_code == 0) is not stays
    assert (name in listed(broker)) is stays


def test_acls_name_the_federation_and_who_signs_in() -> None:
    who: dict[str, Any] = {
        "server": "User:CN=aggregator",
        "client": "User:ward-7",
        "viewer": "User:the nurses",
    }
    options = [word for name, principal in who.items() for word in (f"--{name}", principal)]
    printed = said("acls", "--federation", "mine", *options)
    assert printed == access.acls("mine", **who) + "\n"
    commands = [line for line in printed.splitlines() if not line.startswith("#") and line]
    assert {command.split()[0] for command in commands} == {"kafka-acls.sh", "kafka-configs.sh"}
    rights = [command for command in commands if command.startswith("kafka-acls.sh")]
    assert all(any(principal in command for principal in who.values()) for command in rights)
    assert all("fdstream.mine" in command for command in rights)


def test_acls_have_names_to_begin_with() -> None:
    assert said("acls") == access.acls("default", server="User:server", client="User:client") + "\n"


def test_settings_are_one_command_a_topic() -> None:
    head, *commands = said(
        "settings", "--federation", "mine", "--shards", "7", "--replicas", "1"
    ).splitlines()
    assert head.startswith("# Topics of federation mine: 7 shards")
    assert len(commands) == PARTS
    assert all(" --replication-factor 1 " in f"{command} " for command in commands)
    [shards] = [command for command in commands if "--topic fdstream.mine.shards " in command]
    assert "--partitions 7 " in shards
    assert "min.insync.replicas" not in shards


def test_settings_are_for_three_replicas_unless_told_otherwise() -> None:
    _, *commands = said("settings").splitlines()
    assert all("--replication-factor 3 " in command for command in commands)
    assert all("min.insync.replicas=2" in command for command in commands)
    assert all("--topic fdstream.default." in command for command in commands)


def test_without_a_word_it_says_which_there_are() -> None:
    result = fdstream("topics")
    assert result.exit_code == 2
    for name in ("create", "list", "delete", "acls", "settings"):
        assert f"\n  {name} " in result.output


@pytest.mark.parametrize("options", [("--shards", "0"), ("--federation", "a.b"), ("--broker", "nowhere")])
def test_wrong_values_are_refused_before_a_broker_is_asked(options: tuple[str, str]) -> None:
    result = fdstream("topics", "create", *options)
    assert result.exit_code == 2
    assert f"Invalid value for '{options[0]}'" in result.stderr
