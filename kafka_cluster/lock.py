"""Writes `artifacts.lock`: every jar of the pinned broker with its size and SHA-256.

Run by a maintainer who changes a version below, `python -m kafka_cluster.lock`; the diff is then reviewed
like code. Nothing is resolved at run time: what is not in the lock is never downloaded.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from jgo.maven import MavenContext

from kafka_cluster.jars import LOCK_FILE, Artifact

KAFKA_VERSION = "4.4.0"
BROKER = f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}"
LOGGING = ("org.apache.logging.log4j", "log4j-slf4j-impl")
LOGGING_CORE = ("org.apache.logging.log4j", "log4j-core")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        context = MavenContext(repo_cache=Path(folder), timeout=60)
        lines = [_locked(context, *coordinates).line() for coordinates in sorted(_coordinates(context))]
    LOCK_FILE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _coordinates(context: MavenContext) -> set[tuple[str, str, str]]:
    """Group, name and version of the broker, what it needs, and the SLF4J binding it leaves to packagers."""
    direct, transitive = context.resolver.resolve([context.create_dependency(BROKER)])
    versions = {(found.groupId, found.artifactId): found.version for found in (*direct, *transitive)}
    # Resolved together with Kafka the binding's BOM would drag kafka-clients down to 3.9: add it afterwards.
    versions[LOGGING] = versions[LOGGING_CORE]
    return {(group, name, version) for (group, name), version in versions.items()}


def _locked(context: MavenContext, group: str, name: str, version: str) -> Artifact:
    content: bytes = context.project(group, name).at_version(version).artifact().resolve().read_bytes()
    return Artifact(group, name, version, hashlib.sha256(content).hexdigest(), len(content))


if __name__ == "__main__":
    main()
