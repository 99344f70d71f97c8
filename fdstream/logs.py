"""Logging to stderr, for people or as JSON lines, and the JSON that fdstream prints.

Modules log to `logging.getLogger(__name__)` with facts in `extra`:
`logger.info("round closed", extra={"round": 3})` becomes `12:03:04 info    round closed round=3`, or one JSON
object with the keys ts, level, logger, event, then the extra ones, then traceback if there is one. Stdout
belongs to results. Standard library only: it must not slow down `fdstream --help`.
"""

from __future__ import annotations

import json
import logging
import math
import sys
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

Format = Literal["human", "json"]

_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}


def setup(log_format: Format, level: str) -> None:
    """Send what `fdstream.*` loggers say from `level` up, and other libraries' warnings, to stderr.

    Repeating it replaces the format and the level. In JSON Python's own warnings become lines too.
    """
    handler = _Stderr()
    handler.setFormatter(JsonFormatter() if log_format == "json" else HumanFormatter())
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Stderr)]:
        root.removeHandler(old)
    root.addHandler(handler)
    logging.getLogger("fdstream").setLevel(level.upper())
    logging.captureWarnings(log_format == "json")


class HumanFormatter(logging.Formatter):
    """Local time, level, message, extra fields as key=value. Text from others cannot move the cursor."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created).strftime("%H:%M:%S")
        fields = "".join(f" {plain(key)}={_field(value)}" for key, value in _extra(record).items())
        line = f"{time} {record.levelname.lower():<7} {plain(record.getMessage())}{fields}"
        return "\n".join([line, *_traceback(record)])


class JsonFormatter(logging.Formatter):
    """One object a line; see the module's docstring. An extra field named like a standard one gets a `_`."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        for key, value in _extra(record).items():
            fields[f"{key}_" if key in fields else key] = value
        if lines := _traceback(record):
            fields["traceback"] = "\n".join(lines)
        return to_json(fields)


def to_json(value: object) -> str:
    """Compact JSON in insertion order, one line, ASCII. NaN and infinities, which JSON has not, become null.

    Scalars of numpy become numbers or booleans, bytes hexadecimal, anything else its `str`.
    """
    return json.dumps(_jsonable(value), separators=(",", ":"), allow_nan=False)


def plain(text: str) -> str:
    """The text on one line, with control and escape characters spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what `sys.stderr` is at that moment: a progress display may stand there for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _field(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = value if isinstance(value, str) else to_json(value).strip('"')
    return text if text.isprintable() and text and " " not in text else json.dumps(text)


def _traceback(record: logging.LogRecord) -> list[str]:
    if not record.exc_info or record.exc_info[0] is None:
        return []
    return "".join(traceback.format_exception(*record.exc_info)).rstrip().split("\n")


def _jsonable(value: object) -> object:
    match value:
        case None | bool() | str():
            return value
        case Mapping():
            return {str(key): _jsonable(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_jsonable(inner) for inner in value]
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else None
        case bytes() | bytearray() | memoryview():
            return value.hex()
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return _jsonable(value.item())
    return str(value)
