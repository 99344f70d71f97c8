from __future__ import annotations

import io
import json
import logging
import sys
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdstream import logs

logger = logging.getLogger("fdstream.test")


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_json_line_has_the_standard_keys_then_the_extra_ones(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("json", "info")
    logger.info("round %d closed", 3, extra={"round": 3, "loss": 0.5, "clients": ["a", "b"]})
    [line] = lines(capsys)
    time = datetime.fromisoformat(line.pop("ts"))
    assert time.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - time) < timedelta(minutes=1)
    assert line == {
        "level": "info",
        "logger": "fdstream.test",
        "event": "round 3 closed",
        "round": 3,
        "loss": 0.5,
        "clients": ["a", "b"],
    }


def test_extra_fields_do_not_replace_standard_ones(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("json", "info")
    logger.info("x", extra={"level": 9, "event": "y"})
    [line] = lines(capsys)
    assert (line["level"], line["level_"], line["event"], line["event_"]) == ("info", 9, "x", "y")


def test_a_traceback_is_a_field_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("json", "info")
    try:
        raise LookupError("gone")
    except LookupError:
        logger.exception("failed")
    [line] = lines(capsys)
    assert line["level"] == "error"
    assert line["traceback"].startswith("Traceback")
    assert line["traceback"].endswith("LookupError: gone")


def test_other_libraries_and_python_warn_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("json", "info")
    logging.getLogger("other.library").warning("careful")
    logging.getLogger("other.library").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert [line["logger"] for line in lines(capsys)] == ["other.library", "py.warnings"]


def test_level_and_repetition(capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("human", "debug")
    logs.setup("json", "warning")
    logger.info("not shown")
    logger.warning("shown once")
    assert [line["event"] for line in lines(capsys)] == ["shown once"]


def human(message: str, **extra: object) -> str:
    record = logging.makeLogRecord({"msg": message, "levelname": "INFO", "created": 0.0} | extra)
    return logs.HumanFormatter().format(record)


def test_a_human_line_has_time_level_message_and_fields() -> None:
    time = datetime.fromtimestamp(0).strftime("%H:%M:%S")
    line = human("round closed", round=3, loss=0.123456789, who="a b", note="", ok=True)
    assert line == f'{time} info    round closed round=3 loss=0.123457 who="a b" note="" ok=true'


@given(st.text(), st.text(), st.lists(st.text()))
def test_foreign_text_stays_on_one_printable_line(message: str, text: str, texts: list[str]) -> None:
    assert human(message, text=text, texts=texts).isprintable()


def test_lines_go_to_the_stderr_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    logs.setup("human", "info")
    later = io.StringIO()
    monkeypatch.setattr(sys, "stderr", later)
    logger.info("hello")
    assert later.getvalue().endswith("hello\n")


JSON_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
)
JSON_VALUES = st.recursive(JSON_LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


@given(JSON_VALUES)
def test_json_values_come_back_from_one_ascii_line(value: object) -> None:
    text = logs.to_json(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert text.isprintable()


def test_what_json_has_not() -> None:
    value = {
        "z": np.float32(0.5),
        "a": np.int64(3),
        "nan": float("nan"),
        "infinite": [np.float64("inf")],
        "path": Path("x"),
        "bytes": b"\x01\xff",
        "true": np.bool_(True),
        1: (),
    }
    assert logs.to_json(value) == (
        '{"z":0.5,"a":3,"nan":null,"infinite":[null],"path":"x","bytes":"01ff","true":true,"1":[]}'
    )
