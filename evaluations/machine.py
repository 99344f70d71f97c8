"""What a measurement was made on, for the head of what an evaluation writes."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

import confluent_kafka
import numpy as np


def about() -> dict[str, str]:
    """Date, machine, software, and how busy the machine is."""
    lock = "with" if getattr(sys, "_is_gil_enabled", lambda: True)() else "without"
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{_processor()}, {_cores()} cores, {platform.system()}",
        "software": f"Python {platform.python_version()} {lock} GIL, numpy {np.__version__}, "
        f"librdkafka {confluent_kafka.libversion()[0]}",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def report(title: str, text: str, head: list[str], rows: list[list[str]]) -> str:
    """A page of Markdown: what was asked, on which machine, and a table."""
    facts = "\n".join(f"- {name}: {value}" for name, value in about().items())
    table = [head, ["---:"] * len(head), *rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    return f"# {title}\n\n{text}\n\n{facts}\n\n{lines}\n"


def _cores() -> str:
    """As many as this process may use, of as many as there are."""
    there = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else there
    return str(there) if usable == there else f"{usable} of {there}"


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.machine()
