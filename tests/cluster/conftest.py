"""Federations of real processes on the real broker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.processes import Federation


@pytest.fixture
def federation(kafka: str, tmp_path: Path) -> Iterator[Federation]:
    """A federation with a name of its own on the shared broker, and nothing running yet."""
    with Federation(kafka, tmp_path) as made:
        yield made
