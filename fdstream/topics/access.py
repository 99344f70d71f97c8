"""What an administrator must grant, bound and create where applications may not: least privilege, as text. Pure.

Operations and resources are named as kafka-acls.sh names them; reading and writing imply Describe.
Source: https://kafka.apache.org/documentation/#operations_resources_and_protocols. Quotas are those of KIP-13
(bytes) and KIP-124 (a broker's threads); of users' and client ids' quotas the most specific counts, and no other.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from fdstream.topics import table

# Of each client at each broker: bytes a second, an eighth of what one broker was measured to take; half a thread.
CLIENT_QUOTAS = {
    "producer_byte_rate": 50_000_000,
    "consumer_byte_rate": 50_000_000,
    "request_percentage": 50,
}

_TOOL_OPTIONS = ("--bootstrap-server", "$BROKER", "--command-config", "admin.properties")


@dataclass(frozen=True, slots=True)
class Grant:
    """One principal may do these operations on these resources."""

    principal: str  # for example "User:alice"
    operations: tuple[str, ...]
    resource: str  # "topic" or "group"
    names: tuple[str, ...]
    prefixed: bool  # whether the names stand for everything that begins with them
    reason: str


def grants(
    federation: str,
    *,
    server: str,
    client: str,
    function: str | None = None,
    viewer: str | None = None,
    slots: int = table.SLOTS,
) -> list[Grant]:
    """The grants for the principals of a federation's servers, its clients, and its functions and viewers if any."""
    wanted = [*_server_grants(federation, server), *_client_grants(federation, client, slots)]
    wanted += [] if function is None else _function_grants(federation, function, slots)
    return wanted if viewer is None else [*wanted, _viewer_grant(federation, viewer, slots)]


def _server_grants(federation: str, principal: str) -> list[Grant]:
    prefix = table.full_name(federation, "")
    group = prefix.rstrip(".")
    use = ("Read", "Write", "DescribeConfigs")
    return [
        Grant(principal, use, "topic", (prefix,), True, "servers run the federation on its topics"),
        Grant(principal, ("Create",), "topic", (prefix,), True, "only if servers may create the topics"),
        Grant(principal, ("Delete",), "topic", (prefix,), True, "only if servers may delete old records"),
        Grant(principal, ("Read",), "group", (group,), False, "servers share the shards as a group"),
    ]


def _client_grants(federation: str, principal: str, slots: int) -> list[Grant]:
    specs = table.topic_specs(1, slots)
    read = _read_by("client", federation, slots)
    write = tuple(table.full_name(federation, spec.name) for spec in specs if spec.writers == "client")
    return [
        Grant(principal, ("Read",), "topic", read, False, "clients read the rounds and the models"),
        Grant(principal, ("Write",), "topic", write, False, "clients write their updates and reports"),
    ]


def _viewer_grant(federation: str, principal: str, slots: int) -> Grant:
    """For dashboard, status and report, which look and change nothing; models and updates they do not read."""
    read = _read_by("viewer", federation, slots)
    return Grant(principal, ("Read",), "topic", read, False, "viewers read how the federation is doing")


def _read_by(role: str, federation: str, slots: int) -> tuple[str, ...]:
    specs = table.topic_specs(1, slots)
    return tuple(table.full_name(federation, spec.name) for spec in specs if role in spec.readers)


def _function_grants(federation: str, principal: str, slots: int) -> list[Grant]:
    """A client's, and to find what it has reported: it has no memory from one round to the next."""
    reports = tuple(table.full_name(federation, table.reports(slot)) for slot in range(slots))
    recall = Grant(principal, ("Read",), "topic", reports, False, "functions read what they have reported")
    return [*_client_grants(federation, principal, slots), recall]


def acl_command(grant: Grant) -> str:
    """The call of kafka-acls.sh that makes a grant."""
    words = ["--add", "--allow-principal", grant.principal]
    for operation in grant.operations:
        words += ["--operation", operation]
    for name in grant.names:
        words += [f"--{grant.resource}", name]
    if grant.prefixed:
        words += ["--resource-pattern-type", "prefixed"]
    return _command("kafka-acls.sh", words)


def quota_command(principal: str, *, each_client_id: bool) -> str:
    """The call of kafka-configs.sh that bounds a principal, or each of its client ids, to `CLIENT_QUOTAS`."""
    values = ",".join(f"{name}={value}" for name, value in CLIENT_QUOTAS.items())
    words = ["--alter", "--add-config", values, "--entity-type", "users"]
    words += ["--entity-name", principal.partition(":")[2]]
    return _command(
        "kafka-configs.sh", [*words, *(("--entity-type", "clients", "--entity-default") * each_client_id)]
    )


def creation_command(federation: str, spec: table.TopicSpec, replicas: int) -> str:
    """The call of kafka-topics.sh that creates one topic as a server would."""
    words = ["--create", "--topic", table.full_name(federation, spec.name)]
    words += ["--partitions", str(spec.partitions), "--replication-factor", str(replicas)]
    for name, value in settings_for(spec, replicas).items():
        words += ["--config", f"{name}={value}"]
    return _command("kafka-topics.sh", words)


def settings_for(spec: table.TopicSpec, replicas: int) -> dict[str, str]:
    """A topic's settings with so many replicas: two of three must have a record before it counts."""
    return spec.settings | ({"min.insync.replicas": "2"} if replicas == 3 else {})


def _command(tool: str, words: Iterable[str]) -> str:
    # The broker stays a shell variable, everything else is quoted.
    options = " ".join(f'"{word}"' if word.startswith("$") else word for word in _TOOL_OPTIONS)
    return f"{tool} {options} {shlex.join(words)}"


def acls(
    federation: str, *, server: str, client: str, function: str | None = None, viewer: str | None = None
) -> str:
    """What to grant, as comments for people and commands for a shell."""
    lines = [f"# Access rules of federation {federation}: set BROKER and admin.properties, run what applies."]
    for grant in grants(federation, server=server, client=client, function=function, viewer=viewer):
        what = f"{', '.join(grant.operations)} on {grant.resource}s {', '.join(grant.names)}"
        lines += ["", f"# {grant.principal}: {grant.reason}", f"# {what}{'*' if grant.prefixed else ''}"]
        lines.append(acl_command(grant))
    for principal in (client, *(() if function is None else (function,))):
        lines += ["", *_quotas(principal)]
    return "\n".join(lines)


def _quotas(principal: str) -> list[str]:
    rate = CLIENT_QUOTAS["producer_byte_rate"] / 1e6
    return [
        f"# {principal}: who floods slows down nobody else; an update of 1 GB takes {1000 / rate:.0f} s at this rate",
        "# where clients share this sign-in, each client id has the rate to itself; an honest client keeps its id",
        quota_command(principal, each_client_id=True),
        "# or, where it is the sign-in of one client alone, the rate is its own, whatever ids it makes up",
        quota_command(principal, each_client_id=False),
    ]


def creation(federation: str, shards: int, slots: int = table.SLOTS, *, replicas: int = 3) -> str:
    """How to create the topics by hand, as commands for a shell."""
    specs = table.topic_specs(shards, slots)
    head = f"# Topics of federation {federation}: {shards} shards, {slots} slots, {replicas} replicas."
    return "\n".join([head, *(creation_command(federation, spec, replicas) for spec in specs)])
