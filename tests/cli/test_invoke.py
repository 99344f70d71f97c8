"""`fdstream invoke`: ends with the federation, survives what fails, and says what it did."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

import fdstream.scheduling
from fdstream.cli import main
from fdstream.scheduling import Plan, Reply
from tests.test_scheduling import answer

URL = ("--url", "http://functions.invalid/", "--clients", "2", "--every", "10ms")


class Script:
    """Calls are answered in this order, whoever is invoked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.plans: list[Plan] = []

    def __call__(self, plan: Plan) -> Any:
        self.plans.append(plan)
        for index, each in enumerate(self.answers):
            client = plan.names[index % plan.clients]
            yield Reply(client, 0.1, error=each) if isinstance(each, str) else Reply(client, 0.1, each)


def run(monkeypatch: pytest.MonkeyPatch, script: Script, *options: str) -> Any:
    monkeypatch.setattr(fdstream.scheduling, "replies", script)
    return CliRunner().invoke(main, ["invoke", *URL, *options])


def finished(*, failed: bool = False) -> dict[str, Any]:
    return answer("finished", reason="all 1 rounds are done", failed=failed)


def test_it_ends_with_the_federation_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(
        answer("no round open", 0), "503: no broker", answer("reported"), answer("reported"), finished()
    )
    done = run(monkeypatch, script)
    assert done.exit_code == 0
    first, second, third = done.stdout.splitlines()
    assert first == "function-1: 503: no broker"
    assert second.startswith("round 1: 2 reported, 10 B up")
    assert third.startswith(
        "the federation has finished: all 1 rounds are done, 2 reports by 2 functions in "
    )
    assert third.endswith("; 1 invocations failed")


def test_json_is_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Script(answer("reported"), finished()), "--json", "--federation", "mine")
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["functions"], result["reported"], result["failed_invocations"]) == (2, 1, 0)


def test_a_federation_that_gave_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Script(finished(failed=True)))
    assert done.exit_code == 5
    assert done.stderr == "Error: the federation ended early: all 1 rounds are done\n"


def test_where_nothing_works_it_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, Script("Connection refused", "Connection refused", finished()))
    assert done.exit_code == 4
    assert (
        done.stderr
        == "Error: no function at http://functions.invalid/ could be invoked: Connection refused\n"
    )


def test_a_request_names_the_federation_only_where_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    script = Script(finished())
    run(monkeypatch, script)
    run(monkeypatch, script, "--federation", "mine", "--header", "Authorization=Bearer abc")
    assert [plan.fields for plan in script.plans] == [{}, {"federation": "mine"}]
    assert script.plans[1].headers == {"Authorization": "Bearer abc"}
    assert script.plans[0].every_seconds == 0.01


@pytest.mark.parametrize("url", ["functions.invalid", "file:///etc/passwd", "http://"])
def test_only_http_is_invoked(url: str) -> None:
    done = CliRunner().invoke(main, ["invoke", "--url", url])
    assert done.exit_code == 2
    assert "not an address that begins with http:// or https://" in done.stderr
