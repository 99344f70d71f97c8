from __future__ import annotations

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream.cli.param_types import Addresses, ByteSize, Duration, KeyValue, as_scalar

SIZE = ByteSize(0, 10**15)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("921600", 921_600),
        ("12B", 12),
        ("900KiB", 921_600),
        ("900kib", 921_600),
        ("900 KiB", 921_600),
        ("1KB", 1000),
        ("1MB", 10**6),
        ("1MiB", 2**20),
        ("1.5GB", 1_500_000_000),
        ("0.5KiB", 512),
        ("2GiB", 2**31),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize(
    "text", ["", "KB", "1K", "1iB", "1.5", "1.0001KB", "1,5MB", "0x10", "१", "1e3", "-1", "1 000"]
)
def test_sizes_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        SIZE.convert(text, None, None)


@given(st.integers(0, 10**15))
def test_a_size_in_bytes_is_itself(size: int) -> None:
    assert SIZE.convert(str(size), None, None) == SIZE.convert(size, None, None) == size


def test_spaces_around_addresses_go() -> None:
    assert Addresses().convert("a:1, b:2", None, None) == "a:1,b:2"


KEYS = st.text("abcdefghij._", min_size=1)
VALUES = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))


@given(st.dictionaries(KEYS, VALUES))
def test_one_setting_a_line_carries_any_value_through_the_environment(settings: dict[str, str]) -> None:
    kind = KeyValue(typed=False)
    lines = kind.split_envvar_value("".join(f"{key}={value}\n" for key, value in settings.items()))
    assert dict(kind.convert(line, None, None) for line in lines) == settings


def test_semicolons_separate_where_there_is_no_line_break() -> None:
    assert KeyValue(typed=False).split_envvar_value("a=b,c; d=e ;") == ["a=b,c", " d=e "]
    assert KeyValue(typed=False).split_envvar_value("a=b;c\n") == ["a=b;c"]


@given(st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_numbers_and_booleans_come_back_as_such(value: bool | int | float) -> None:
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    found = as_scalar(text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-inf", "1e999", "1_000", "0x1", "True", "1 ", "\u0661", "fedavg"]
)
def test_anything_else_stays_text(text: str) -> None:
    assert as_scalar(text) == text


@pytest.mark.parametrize("content", [2**63, float("nan"), float("inf")])
def test_what_no_record_can_carry_is_refused(content: float) -> None:
    with pytest.raises(click.BadParameter, match="'x' is"):
        KeyValue(typed=True).convert(("x", content), None, None)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2s", 2.0), ("2", 2.0), ("500ms", 0.5), ("1.5 m", 90.0), ("1h", 3600.0)]
)
def test_times(text: str, seconds: float) -> None:
    assert Duration(0.1, 4000).convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "2 days", "-1s", "1e3", "50ms", "2h", "nan"])
def test_times_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration(0.1, 4000).convert(text, None, None)
