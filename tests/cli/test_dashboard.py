"""`fdstream dashboard` and `fdstream report`: what they refuse. What they show is in tests/dashboard."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fdstream.cli.dashboard import url
from fdstream.dashboard import needs
from fdstream.messages import Heartbeat
from fdstream.topics import table
from tests.cli.finished import CLIENTS, Finished, fdstream, finished_federation, place, refused
from tests.cluster.topics import Topics


@pytest.fixture
def finished(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished_federation(kafka, tmp_path_factory)


def test_a_report_of_a_finished_federation(finished: Finished, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    result = fdstream("report", *place(finished.federation), "--out", str(out))
    assert result.exit_code == 0
    name = finished.federation.name
    said = rf"wrote the report of federation '{name}', with 5 rounds and (\d+) clients, to (.*)\n"
    found = re.fullmatch(said, result.stdout)
    assert found is not None, result.stdout
    assert (int(found[1]), found[2]) == (len(clients_of(finished)), str(out))
    text = out.read_text()
    for closed in finished.closed.values():
        assert closed.model_sha256.hex() in text


def clients_of(finished: Finished) -> set[str]:
    """Whoever has reported or beaten: other tests meet the federation as late clients."""
    with Topics(finished.federation) as topics:
        topics.all_entries(table.MEMBERS)
        beats = topics.messages(table.MEMBERS, Heartbeat)
        return {*CLIENTS, *(beat.member for beat in beats if beat.role == "client")}


def test_a_federation_that_is_not_there_has_no_report_and_no_dashboard(kafka: str, tmp_path: Path) -> None:
    where = ("--broker", kafka, "--federation", "absent")
    out = tmp_path / "report.html"
    assert "there is no federation 'absent'" in refused(2, "report", *where, "--out", str(out))
    assert not out.exists()
    assert "there is no federation 'absent'" in refused(2, "dashboard", *where, "--port", "0")


def test_missing_packages_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needs, "PACKAGES", ("starlette", "no_such_server"))
    sentence = refused(2, "dashboard")
    assert sentence == "Error: the dashboard needs no_such_server: pip install 'fdstream[dashboard]'"


def test_addresses() -> None:
    assert url("127.0.0.1", 8080) == "http://127.0.0.1:8080/"
    assert url("::1", 80) == "http://[::1]:80/"
