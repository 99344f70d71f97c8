"""What a measurement was made on, for the head of what is written about it."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "confluent-kafka", "grpcio")


def about() -> dict[str, str]:
    """Date, machine, software, and how busy the machine is."""
    lock = "with" if getattr(sys, "_is_gil_enabled", lambda: True)() else "without"
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{_processor()}, {_cores()} cores, {_memory()}{platform.system()}",
        "software": f"Python {platform.python_version()} {lock} GIL, {packages}",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cores() -> str:
    """As many as this process may use, of as many as there are."""
    there = os.cpu_count() or 1
    return str(there) if cores() == there else f"{cores()} of {there}"


def _memory() -> str:
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return ""
    size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{size / 2**30:.0f} GiB, "


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return model or platform.machine()
