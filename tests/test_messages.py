"""Every record keeps its ranges: what lies on a limit is taken, what lies beyond it is refused."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any, get_args, get_type_hints

import pytest

from fdstream.messages import (
    MAX_CLIENTS,
    MAX_CLIP,
    MAX_CONFIG,
    MAX_METRIC,
    MAX_METRICS,
    MAX_NAME_LENGTH,
    MAX_NUM_EXAMPLES,
    MAX_OFFSET,
    MAX_REFUSED,
    MAX_SERVER_KEYS,
    MAX_SHARDS,
    Exclusion,
    FederationOpened,
    Heartbeat,
    Message,
    Report,
    RoundClosing,
    Settings,
    Signature,
)
from fdstream.ranges import MAX_TEXT_LENGTH
from tests.serde.vectors import MODEL, RECORDS

COUNTER = (1, 1 << 31)
OFFSET = (0, MAX_OFFSET)
SHARD = (0, MAX_SHARDS - 1)
EXAMPLES = (0, MAX_NUM_EXAMPLES)

RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "ShardModel": {"start": OFFSET, "state_start": OFFSET},
    "Settings": {
        "num_rounds": COUNTER,
        "min_clients": (1, MAX_CLIENTS),
        "max_clients": (2, MAX_CLIENTS),  # the example's minimum is 2
        "deadline_seconds": (1e-3, 1e9),
        "max_extensions": (0, 1 << 31),
        "fraction": (1e-9, 1.0),
        "keep_rounds": (0, 1 << 31),
        "seed": OFFSET,
        "clip": (0.0, MAX_CLIP),
    },
    "FederationOpened": {
        "chunk_bytes": (8, 1 << 26),
        "shards": (1, MAX_SHARDS),
        "slots": (1, 64),
        "protocol": COUNTER,
    },
    "RoundOpened": {"round": COUNTER, "reports_start": OFFSET},
    "RoundExtended": {"round": COUNTER, "extension": COUNTER, "fraction": (1e-9, 1.0)},
    "RoundClosing": {"round": COUNTER, "ordinal": COUNTER},
    "RoundClosed": {
        "round": COUNTER,
        "ordinal": COUNTER,
        "num_clients": (0, MAX_CLIENTS),
        "num_examples": OFFSET,
    },
    "GlobalEvaluated": {"round": COUNTER},
    "FederationFinished": {"after": OFFSET, "rounds": (0, 1 << 31)},
    "Exclusion": {"report": OFFSET},
    "ShardVerdict": {"round": COUNTER, "ordinal": COUNTER, "shard": SHARD},
    "ShardResult": {"round": COUNTER, "ordinal": COUNTER, "shard": SHARD},
    "Report": {
        "round": COUNTER,
        "round_offset": OFFSET,
        "num_examples": EXAMPLES,
        "evaluated_examples": EXAMPLES,
    },
    "ModelChunk": {"round": (1, (1 << 31) + 1), "part": (0, 16), "index": (0, 1 << 40)},
    "UpdateChunk": {"round": COUNTER, "index": (0, 1 << 40), "num_examples": (1, MAX_NUM_EXAMPLES)},
    "Heartbeat": {"round": (0, 1 << 31)},
    "Rejected": {"partition": (0, 1 << 20), "offset": OFFSET},
}
TEXTS = {
    "Settings": ["strategy"],
    "FederationFinished": ["reason"],
    "Exclusion": ["reason"],
    "Report": ["failure"],
    "Rejected": ["topic", "sender", "reason", "detail"],
}
IDENTIFIERS = {"FederationOpened": ["federation"], "Report": ["client"], "Heartbeat": ["member", "state"]}
OFFSET_LISTS = {
    "RoundOpened": ["updates_start", "shards_start"],
    "RoundExtended": ["excluded"],
    "RoundClosing": ["accepted", "updates_end"],
}
METRICS = {
    "RoundClosed": ["train_metrics", "evaluate_metrics"],
    "GlobalEvaluated": ["metrics"],
    "Report": ["metrics", "evaluate_metrics"],
}


def examples() -> dict[str, Any]:
    """A valid value of every class, by its name."""
    opened = RECORDS[0]
    assert isinstance(opened, FederationOpened)
    values = (*RECORDS, opened.settings, MODEL[0], Exclusion(2, "late"), Signature(bytes(32), bytes(64)))
    return {type(value).__name__: value for value in values}


EXAMPLES_OF = examples()


def named(table: dict[str, Any]) -> list[tuple[str, str]]:
    """Class and field of every row."""
    return [(cls, field) for cls, names in table.items() for field in names]


def changed(cls: str, field: str, value: Any) -> Any:
    """The class's example with another value, and what must go with it."""
    if (cls, field) == ("FederationOpened", "shards"):
        return replace(EXAMPLES_OF[cls], shards=value, model=MODEL[:1] * max(value, 0))
    if (cls, field) == ("Settings", "min_clients"):
        return replace(EXAMPLES_OF[cls], min_clients=value, max_clients=MAX_CLIENTS)
    return replace(EXAMPLES_OF[cls], **{field: value})


def assert_refused(cls: str, field: str, value: Any, words: str) -> None:
    """The refusal is a `ValueError` that names the field."""
    with pytest.raises(ValueError, match=words) as caught:
        changed(cls, field, value)
    assert field in str(caught.value)


# Numbers


def test_every_number_of_every_record_has_a_range() -> None:
    assert set(EXAMPLES_OF) >= {cls.__name__ for cls in get_args(Message)}
    for cls, value in EXAMPLES_OF.items():
        hints = get_type_hints(type(value))
        numbers = {field.name for field in fields(value) if hints[field.name] in (int, float)}
        assert numbers == set(RANGES.get(cls, {})), cls


@pytest.mark.parametrize(("cls", "field"), named(RANGES))
def test_a_number_may_lie_on_its_limits_and_not_beyond(cls: str, field: str) -> None:
    low, high = RANGES[cls][field]
    whole = isinstance(getattr(EXAMPLES_OF[cls], field), int)
    for limit in (low, high):
        assert getattr(changed(cls, field, limit), field) == limit
    below, above = (
        (low - 1, high + 1) if whole else (math.nextafter(low, -math.inf), math.nextafter(high, math.inf))
    )
    for value in (below, above):
        assert_refused(cls, field, value, r" is .*, outside ")


@pytest.mark.parametrize(
    ("cls", "field"),
    [("Settings", "deadline_seconds"), ("Settings", "fraction"), ("RoundExtended", "fraction")],
)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.0, -0.5])
def test_fractions_and_deadlines_are_finite_and_positive(cls: str, field: str, value: float) -> None:
    assert_refused(cls, field, value, " is ")


def test_the_most_clients_are_no_fewer_than_the_fewest() -> None:
    settings = EXAMPLES_OF["Settings"]
    assert isinstance(settings, Settings)
    assert replace(settings, min_clients=5, max_clients=5)
    with pytest.raises(ValueError, match="max_clients is 4, outside 5 to 100000"):
        replace(settings, min_clients=5, max_clients=4)


# Lists


@pytest.mark.parametrize(("cls", "field"), named(OFFSET_LISTS))
@pytest.mark.parametrize("value", [-1, MAX_OFFSET + 1])
def test_lists_hold_offsets_alone(cls: str, field: str, value: int) -> None:
    assert changed(cls, field, (0, MAX_OFFSET))
    assert_refused(cls, field, (0, value), f" is {value}, outside ")


@pytest.mark.parametrize("field", ["updates_start", "shards_start"])
@pytest.mark.parametrize("offsets", [(), (0,), (0, 0, 0)])
def test_a_round_has_a_start_for_every_shard(field: str, offsets: tuple[int, ...]) -> None:
    assert_refused("RoundOpened", field, offsets, f"has {len(offsets)} entries, expected 2")


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_federation_names_a_model_for_every_shard(count: int) -> None:
    assert_refused("FederationOpened", "model", MODEL[:1] * count, f"names {count} shards, expected 2")


@pytest.mark.parametrize("accepted", [(1, 0), (0, 0), (0, 2, 1), (3, 3, 4)])
def test_accepted_reports_are_named_once_and_in_order(accepted: tuple[int, ...]) -> None:
    assert_refused("RoundClosing", "accepted", accepted, "not in ascending order")
    closing = EXAMPLES_OF["RoundClosing"]
    assert isinstance(closing, RoundClosing)
    assert replace(closing, accepted=tuple(sorted(set(accepted))))


def test_a_report_has_at_most_a_digest_for_every_possible_shard() -> None:
    assert changed("Report", "digests", (bytes(16),) * MAX_SHARDS)
    count = MAX_SHARDS + 1
    assert_refused("Report", "digests", (bytes(16),) * count, f"has {count} entries, more than 1024")


def test_keys_and_refusals_are_bounded() -> None:
    assert changed("FederationOpened", "server_keys", (bytes(32),) * MAX_SERVER_KEYS)
    assert_refused("FederationOpened", "server_keys", (bytes(32),) * 65, "has 65 entries, more than 64")
    refused = tuple(Exclusion(offset, "not signed") for offset in range(MAX_REFUSED + 1))
    assert changed("RoundClosing", "refused", refused[:-1])
    assert_refused("RoundClosing", "refused", refused, "has 1001 entries, more than 1000")


# Texts


@pytest.mark.parametrize(("cls", "field"), named(TEXTS))
def test_texts_have_a_length_and_may_be_empty(cls: str, field: str) -> None:
    for text in ("", "ž" * MAX_TEXT_LENGTH, "two\nlines\x00"):
        assert getattr(changed(cls, field, text), field) == text
    assert_refused(cls, field, "x" * (MAX_TEXT_LENGTH + 1), "has 2001 characters, more than 2000")


@pytest.mark.parametrize(("cls", "field"), named(IDENTIFIERS))
def test_names_are_printable_and_neither_empty_nor_long(cls: str, field: str) -> None:
    for name in ("x", "Zürich 7", "ž" * MAX_NAME_LENGTH):
        assert getattr(changed(cls, field, name), field) == name
    for name in ("", "a\nb", "a\x00", "a\u200bb", "\ud800", "a\u00a0b", "\ue000"):
        assert_refused(cls, field, name, "must be printable and not empty")
    assert_refused(cls, field, "x" * (MAX_NAME_LENGTH + 1), "has 257 characters, more than 256")


# Maps


@pytest.mark.parametrize(("cls", "field"), named(METRICS))
def test_metrics_are_finite_and_of_a_size_that_can_be_averaged(cls: str, field: str) -> None:
    for value in (0.0, -MAX_METRIC, MAX_METRIC, 5e-324):
        assert changed(cls, field, {"loss": value})
    for value in (math.nan, math.inf, -math.inf):
        assert_refused(cls, field, {"ok": 1.0, "loss": value}, r"\['loss'\] is .*, not a finite number")
    for value in (math.nextafter(MAX_METRIC, math.inf), -1e101):
        assert_refused(
            cls, field, {"ok": 1.0, "loss": value}, r"\['loss'\] is .*, outside -1e\+100 to 1e\+100"
        )


@pytest.mark.parametrize(("cls", "field"), named(METRICS))
def test_metrics_are_few_and_their_names_are_names(cls: str, field: str) -> None:
    many = {f"m{number}": 0.0 for number in range(MAX_METRICS)}
    assert changed(cls, field, many)
    assert changed(cls, field, {})
    assert_refused(cls, field, many | {"more": 0.0}, "has 65 entries, more than 64")
    for name in ("", "a\tb"):
        assert_refused(cls, field, {name: 0.0}, "a name in .* must be printable and not empty")


def test_config_has_names_and_short_texts() -> None:
    many = {f"c{number}": number for number in range(MAX_CONFIG)}
    for config in (many, {}, {"x": "y" * MAX_TEXT_LENGTH}, {"x": math.nan}, {"x": -(1 << 63)}, {"x": True}):
        assert changed("FederationOpened", "config", config)
    assert_refused("FederationOpened", "config", many | {"more": 0}, "has 257 entries, more than 256")
    assert_refused("FederationOpened", "config", {"x": "y" * 2001}, "has 2001 characters, more than 2000")
    assert_refused("FederationOpened", "config", {"": 1}, "a name in config must be printable")


def test_a_profile_has_names_and_short_texts() -> None:
    many = {f"p{number}": "" for number in range(MAX_METRICS)}
    for profile in (many, {}, {"host": "y" * MAX_TEXT_LENGTH}):
        assert changed("Heartbeat", "profile", profile)
    assert_refused("Heartbeat", "profile", many | {"more": ""}, "has 65 entries, more than 64")
    assert_refused("Heartbeat", "profile", {"host": "y" * 2001}, "has 2001 characters, more than 2000")
    assert_refused("Heartbeat", "profile", {"a\nb": ""}, "a name in profile must be printable")


@pytest.mark.parametrize("role", ["", "Client", "coordinator"])
def test_a_member_is_a_client_or_a_server(role: str) -> None:
    assert [changed("Heartbeat", "role", known).role for known in Heartbeat.ROLES] == ["client", "server"]
    assert_refused("Heartbeat", "role", role, "not one of client, server")


# All of them


@pytest.mark.parametrize("cls", EXAMPLES_OF)
def test_records_are_values_that_do_not_change(cls: str) -> None:
    value = EXAMPLES_OF[cls]
    name = fields(value)[0].name
    assert replace(value) == value
    with pytest.raises(FrozenInstanceError):
        setattr(value, name, getattr(value, name))


def test_what_has_no_failure_did_not_fail() -> None:
    report = EXAMPLES_OF["Report"]
    assert isinstance(report, Report)
    assert report.failure is None
    assert Heartbeat("a", "client", "waiting", 0).profile == {}
