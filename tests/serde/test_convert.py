"""Dataclasses become plain values and come back; kinds of field outside the protocol are refused at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given

from fdstream.messages import FederationOpened, Message, Settings
from fdstream.serde.convert import conversion_of
from tests.strategies import MESSAGES, messages, settings


@given(settings())
def test_flat_classes_become_their_fields_and_come_back(value: Settings) -> None:
    conversion = conversion_of(Settings)
    plain = conversion.to_plain(value)
    assert plain == {name: getattr(value, name) for name in Settings.__slots__}
    assert conversion.from_plain(plain) == value


@given(messages())
def test_plain_values_hold_no_dataclasses(message: Message) -> None:
    def check(value: Any) -> None:
        assert isinstance(value, str | int | float | bool | bytes | None | tuple | list | dict)
        for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            check(part)

    check(conversion_of(type(message)).to_plain(message))


@given(MESSAGES[FederationOpened])
def test_config_values_name_their_branch(opened: FederationOpened) -> None:
    branches = {str: "string", int: "long", float: "double", bool: "boolean"}
    plain = conversion_of(FederationOpened).to_plain(opened)
    assert plain["config"] == {name: (branches[type(v)], v) for name, v in opened.config.items()}


@dataclass
class _Odd:
    value: set[int]


@dataclass
class _OddMapping:
    value: Mapping[int, str]


@dataclass
class _OddUnion:
    value: int | None


@pytest.mark.parametrize("cls", [_Odd, _OddMapping, _OddUnion])
def test_other_kinds_of_field_are_refused(cls: type) -> None:
    with pytest.raises(TypeError, match="not part of the protocol"):
        conversion_of(cls)
