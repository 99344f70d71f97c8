"""What the dashboard answers, to whom, and how viewers follow it. Real HTTP on loopback."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from fdstream.dashboard import page
from fdstream.dashboard.web import is_loopback, listen
from fdstream.errors import UsageError
from tests.dashboard.stage import HOST, Stage, served

PATIENCE_SECONDS = 30


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage("ada", "bob") as stage:
        yield stage


class Viewer:
    """Reads the stream as a browser does."""

    def __init__(self, url: str, last_event_id: str = "") -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_SECONDS)
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        self._connection.request("GET", "/events", headers=headers)
        self._response = self._connection.getresponse()
        assert self._response.headers["content-type"].startswith("text/event-stream")

    def next(self) -> tuple[str, str, dict[str, Any]]:
        """Id, event and document of the next message."""
        fields: dict[str, str] = {}
        while True:
            line = self._response.readline().decode().rstrip("\n")
            if not line and "data" in fields:
                return fields["id"], fields["event"], json.loads(fields["data"])
            name, colon, value = line.partition(": ")
            if colon:
                fields[name] = value

    def close(self) -> None:
        self._response.close()
        self._connection.close()


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


def get(url: str, path: str, **headers: str) -> Answer:
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("GET", path, headers=headers)
        with connection.getresponse() as response:
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())


def test_a_viewer_gets_all_and_then_what_changes_also_after_a_break(stage: Stage) -> None:
    with served(stage.broker) as url:
        one, other = Viewer(url), Viewer(url)
        _, event, document = one.next()
        assert event == "whole"
        assert {party["name"] for party in document["parties"]} == {"ada", "bob"}
        assert other.next()[2]["parties"] == document["parties"]
        stage.report(2)
        kept, event, change = one.next()
        assert event == "change"
        assert [each["number"] for each in change["rounds"]] == [1]
        one.close()
        stage.report(1)  # round 2, while it is away
        late = Viewer(url, kept)
        _, event, change = late.next()
        assert event == "change"
        assert {each["number"] for each in change["rounds"]} == {1, 2}
        for viewer in (other, late):
            viewer.close()


@pytest.mark.parametrize("had", ["another-1", "nonsense", "-", "x-99999999999999999999"])
def test_who_comes_from_another_run_of_the_dashboard_gets_all(stage: Stage, had: str) -> None:
    with served(stage.broker) as url:
        viewer = Viewer(url, had)
        assert viewer.next()[1] == "whole"
        viewer.close()


def test_the_end_of_the_dashboard_ends_its_streams(stage: Stage) -> None:
    with served(stage.broker) as url:
        viewer = Viewer(url)
        viewer.next()
    assert viewer._response.read() is not None  # ends instead of hanging
    viewer.close()


def test_the_page_comes_with_a_policy_that_allows_no_foreign_code(stage: Stage) -> None:
    with served(stage.broker) as url:
        for path in ("/", "/static/main.js", "/static/style.css"):
            answer = get(url, path)
            assert answer.status == 200
            assert answer.headers["content-security-policy"] == page.LIVE_POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert "unsafe" not in page.LIVE_POLICY
        for path in ("/static/nothing.js", "/static/..%2f__init__.py", "/etc/passwd"):
            assert get(url, path).status == 404
        report = get(url, "/report.html")
        assert report.headers["content-disposition"] == 'attachment; filename="report.html"'
        assert b'id="document">{' in report.body


def test_names_that_a_stranger_points_here_are_refused(stage: Stage) -> None:
    with served(stage.broker) as url:
        port = urlsplit(url).port
        assert get(url, "/", Host=f"localhost:{port}").status == 200
        assert get(url, "/", Host="evil.example").status == 400


def test_a_port_that_is_taken_is_a_sentence() -> None:
    refusal = pytest.raises(UsageError, match=f"cannot listen on {HOST}:.*--port 0")
    with socket.create_server((HOST, 0)) as taken, refusal:
        listen(HOST, taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "only_here"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("10.0.0.7", False)],
)
def test_what_only_this_machine_can_reach(host: str, only_here: bool) -> None:
    assert is_loopback(host) is only_here
