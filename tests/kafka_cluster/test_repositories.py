"""Whose word counts on where jars come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from jgo.constants import MAVEN_CENTRAL_URL

from fdstream.errors import UsageError
from kafka_cluster.repositories import repositories

MIRROR = "https://mirror.example.org/maven"
SETTINGS = """<?xml version="1.0" encoding="UTF-8"?>
<settings{namespace}>
  <mirrors>
    <mirror><id>other</id><mirrorOf>snapshots</mirrorOf><url>https://other.example.org</url></mirror>
    <mirror><id>ours</id><mirrorOf>{mirror_of}</mirrorOf><url> {url} </url></mirror>
  </mirrors>
</settings>
"""


@pytest.fixture(autouse=True)
def jgo_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "jgo.conf"
    monkeypatch.setenv("JGO_CONFIG_FILE", str(path))
    return path


def with_mirror(tmp_path: Path, mirror_of: str, namespace: str = "") -> list[str]:
    path = tmp_path / "settings.xml"
    path.write_text(SETTINGS.format(namespace=namespace, mirror_of=mirror_of, url=MIRROR))
    return repositories(path)


def test_without_settings_it_is_central(tmp_path: Path) -> None:
    assert repositories(tmp_path / "none.xml") == [MAVEN_CENTRAL_URL]


@pytest.mark.parametrize("mirror_of", ["central", "*", "external:*", "*, !internal", "a,central"])
@pytest.mark.parametrize("namespace", ["", ' xmlns="urn:settings"'])
def test_a_maven_mirror_of_central_takes_its_place(tmp_path: Path, mirror_of: str, namespace: str) -> None:
    assert with_mirror(tmp_path, mirror_of, namespace) == [MIRROR]


@pytest.mark.parametrize("mirror_of", ["internal", "*,!central", "external:http:*", ""])
def test_a_mirror_of_something_else_changes_nothing(tmp_path: Path, mirror_of: str) -> None:
    assert with_mirror(tmp_path, mirror_of) == [MAVEN_CENTRAL_URL]


def test_jgo_repositories_are_tried_too(tmp_path: Path, jgo_config: Path) -> None:
    jgo_config.write_text("[repositories]\ncompany = https://company.example.org/maven\n")
    assert repositories(tmp_path / "none.xml") == [MAVEN_CENTRAL_URL, "https://company.example.org/maven"]


def test_unreadable_settings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "settings.xml"
    path.write_text("<settings>")
    with pytest.raises(UsageError, match=r"settings\.xml"):
        repositories(path)
