"""What functions take from requests and events, what they answer, and what they never say."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from fdstream.app import UserFunctionError
from fdstream.cli.function import FunctionSettings
from fdstream.client import serverless
from fdstream.client.invocation import GivenUpError, Invocation
from fdstream.client.serverless import handler, lambda_handler
from fdstream.client.visitor import FINISHED, NO_ROUND_OPEN, REPORTED, Visit, Watch
from fdstream.errors import RemoteError, TransportError, UsageError
from fdstream.keys import new_pair

SECRET = "hunter2-hunter2"


class Invoker:
    """Notes what it is asked for, and does as it is told."""

    def __init__(self) -> None:
        self.asked: list[FunctionSettings] = []
        self.comes: Visit | Exception = Visit(REPORTED, 3, num_examples=5, metrics={"loss": 0.5})

    def invoke(self, settings: FunctionSettings) -> Invocation:
        self.asked.append(settings)
        if isinstance(self.comes, Exception):
            raise self.comes
        return Invocation(settings, self.comes, True, Watch())


@pytest.fixture
def invoker(monkeypatch: pytest.MonkeyPatch) -> Invoker:
    made = Invoker()
    monkeypatch.setattr(serverless, "_invoker", lambda: made)
    return made


def http(method: str = "POST", body: Any = None, **query: str) -> tuple[int, dict[str, Any]]:
    """The answer to a request; a body that is no text becomes JSON."""
    data = body if isinstance(body, str | bytes) or body is None else json.dumps(body)
    builder = EnvironBuilder(method=method, query_string=query, data=data)
    text, status, headers = handler(Request(builder.get_environ()))
    assert headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return status, json.loads(text)


def refused(answer: tuple[int, dict[str, Any]], status: int) -> str:
    """The sentence of an error."""
    assert answer[0] == status, answer
    assert list(answer[1]) == ["error"]
    sentence = answer[1]["error"]
    assert isinstance(sentence, str)
    return sentence


# HTTP


def test_an_answer_says_what_came_of_it(invoker: Invoker) -> None:
    status, answer = http(
        body={"client_id": "ada", "federation": "mine", "broker": "a:1", "channel": "kafka"}
    )
    assert status == 200
    assert answer == {
        "federation": "mine",
        "client_id": "ada",
        "round": 3,
        "outcome": "reported",
        "reason": "",
        "num_examples": 5,
        "metrics": {"loss": 0.5},
        "evaluated_examples": 0,
        "evaluate_metrics": {},
        "bytes": {"received": 0, "sent": 0},
        "milliseconds": {"total": 0.0},
        "warm": True,
        "warnings": [],
    }
    (asked,) = invoker.asked
    assert (asked.grpc, asked.address, asked.federation, asked.client_id) == (False, "a:1", "mine", "ada")


def test_a_query_does_as_well(invoker: Invoker) -> None:
    assert http("GET", client_id="ada", channel="grpc", broker="b:2")[0] == 200
    (asked,) = invoker.asked
    assert (asked.grpc, asked.address, asked.client_id) == (True, "b:2", "ada")


def test_the_environment_is_the_default(invoker: Invoker, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "BROKER": "kafka:9092",
        "FEDERATION": "ours",
        "CLIENT_ID": "ward-7",
        "APP": "mine:app",
        "SET": "rate=0.5;deep=true",
        "DATA_INDEX": "4",
        "KAFKA": f"sasl.password={SECRET}",
        "TIMEOUT": "20",
    }
    for name, value in environment.items():
        monkeypatch.setenv(f"FDSTREAM_{name}", value)
    assert http()[0] == 200
    (asked,) = invoker.asked
    assert asked.config == {"rate": 0.5, "deep": True, "data_index": 4}
    assert asked.kafka == {"sasl.password": SECRET}
    assert (asked.address, asked.federation, asked.client_id) == ("kafka:9092", "ours", "ward-7")
    assert (asked.app, asked.timeout_seconds) == ("mine:app", 20.0)


@pytest.mark.parametrize(
    ("variable", "value", "fields"),
    [
        ("BROKER", "kafka:9092", {"broker": "evil:9092"}),
        ("FEDERATION", "ours", {"federation": "theirs"}),
        ("CLIENT_ID", "ward-7", {"client_id": "ward-8"}),
        ("GRPC", "true", {"channel": "kafka"}),
        ("KAFKA", f"sasl.password={SECRET}", {"broker": "evil:9092"}),
    ],
)
def test_what_is_fixed_where_it_is_deployed_no_request_changes(
    invoker: Invoker, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, fields: dict[str, str]
) -> None:
    monkeypatch.setenv(f"FDSTREAM_{variable}", value)
    refused(http(body={"client_id": "ada", **fields}), 403)
    assert invoker.asked == []


def test_a_key_is_a_file_a_file_for_each_client_or_a_text(
    invoker: Invoker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    private, public = new_pair("ada", tmp_path / "ada")
    text = private.read_text()
    monkeypatch.setenv("FDSTREAM_SERVER_KEY", public.read_text())
    for source in (str(private), str(tmp_path), text):
        monkeypatch.setenv("FDSTREAM_KEY", source)
        assert http(body={"client_id": "ada"})[0] == 200
    first, second, third = invoker.asked
    assert (first.key, second.key, third.key) == (private, private, text)
    assert first.server_key == public.read_text()
    assert text not in repr(third)
    assert first.place == third.place


@pytest.mark.parametrize("client", ["bob", "../private/ada", "ada.key", ""])
def test_a_client_without_a_key_of_its_own_is_refused_whatever_its_name(
    invoker: Invoker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, client: str
) -> None:
    (tmp_path / "private").mkdir()
    new_pair("ada", tmp_path / "private" / "ada")
    monkeypatch.setenv("FDSTREAM_KEY", str(tmp_path / "private"))
    sentence = refused(http(body={"client_id": client}), 403 if client else 400)
    assert str(tmp_path) not in sentence
    assert invoker.asked == []


def test_a_key_that_is_none_is_told_of_in_the_log_and_never_shown(
    invoker: Invoker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FDSTREAM_KEY", SECRET)
    assert "not set up as it must be" in refused(http(body={"client_id": "ada"}), 500)
    assert "FDSTREAM_KEY" in str([vars(record) for record in caplog.records])
    assert SECRET not in str([vars(record) for record in caplog.records])
    assert invoker.asked == []


def test_a_request_may_repeat_what_is_fixed(invoker: Invoker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FDSTREAM_BROKER", "kafka:9092")
    monkeypatch.setenv("FDSTREAM_KAFKA", f"sasl.password={SECRET}")
    assert http(body={"client_id": "ada", "broker": "kafka:9092"})[0] == 200
    assert invoker.asked[0].address == "kafka:9092"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"client_id": "ada", "app": "os:system"}, "not 'app'"),
        ({"client_id": "ada", "set": "x=1"}, "not 'set'"),
        ({}, "the request names no client"),
        ({"client_id": ""}, "client_id has to be a text"),
        ({"client_id": 7}, "client_id has to be a text"),
        ({"client_id": "a\nb"}, "printable"),
        ({"client_id": "ada", "broker": "nowhere"}, "is not HOST:PORT"),
        ({"client_id": "ada", "federation": "a.b"}, "letters, digits"),
        ({"client_id": "ada", "channel": "smoke signals"}, "kafka or grpc"),
        ({"client_id": "--debug"}, None),
        ("[1]", "one JSON object"),
        ("{", "one JSON object"),
        ("[" * 30_000, "one JSON object"),
        (b"\xff\xfe", "one JSON object"),
    ],
)
def test_requests_that_cannot_be_used_are_refused_with_a_sentence(
    invoker: Invoker, body: Any, said: str | None
) -> None:
    if said is None:  # a name is a name, whatever it looks like
        assert http(body=body)[0] == 200
        assert invoker.asked[0].client_id == "--debug"
        return
    assert said in refused(http(body=body), 400)
    assert invoker.asked == []


def test_other_methods_and_long_bodies_are_refused(invoker: Invoker) -> None:
    refused(http("PUT", {"client_id": "ada"}), 405)
    refused(http(body={"client_id": "a" * 70_000}), 413)
    assert invoker.asked == []


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (TransportError(f"no broker answered at a:1 ({SECRET})"), 503, "no broker answered at a:1 (...)"),
        (RemoteError("control is damaged"), 502, "control is damaged"),
        (GivenUpError("the 50 s were over"), 504, "the 50 s were over"),
        (UsageError(f"app path: {SECRET}"), 500, "this function is not set up as it must be"),
        (RuntimeError(SECRET), 500, "this function has failed"),
    ],
)
def test_errors_are_a_status_and_a_sentence_without_secrets(
    invoker: Invoker, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, said: str
) -> None:
    monkeypatch.setenv("FDSTREAM_KAFKA", f"sasl.password={SECRET}")
    invoker.comes = error
    sentence = refused(http(body={"client_id": "ada"}), status)
    assert said in sentence
    assert SECRET not in sentence


def test_a_wrong_environment_is_not_shown_to_the_caller(
    invoker: Invoker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FDSTREAM_BROKER", f"user:{SECRET}@kafka")
    assert SECRET not in refused(http(body={"client_id": "ada"}), 500)
    assert "FDSTREAM_BROKER" in caplog.text
    assert invoker.asked == []


def test_what_the_users_function_raised_is_not_shown_either(
    invoker: Invoker, caplog: pytest.LogCaptureFixture
) -> None:
    invoker.comes = Visit(REPORTED, 3, failure=UserFunctionError(f"train raised {SECRET}"))
    sentence = refused(http(body={"client_id": "ada"}), 500)
    assert sentence == "the app's functions failed in round 3; the function's log says more"
    assert any(SECRET in str(vars(record)) for record in caplog.records)


def test_the_end_says_whether_the_federation_failed(invoker: Invoker) -> None:
    invoker.comes = Visit(FINISHED, 4, "too few reported", failed=True)
    assert http(body={"client_id": "ada"})[1]["failed"] is True


# AWS Lambda

CONTEXT = SimpleNamespace(get_remaining_time_in_millis=lambda: 9_000)


def test_an_event_of_ones_own_is_the_fields(invoker: Invoker) -> None:
    answer = lambda_handler({"client_id": "ada"}, CONTEXT)
    assert (answer["status"], answer["outcome"]) == (200, "reported")
    assert invoker.asked[0].timeout_seconds == 8.0
    assert lambda_handler({"client_id": "ada", "app": "os:system"}, CONTEXT)["status"] == 400
    assert lambda_handler("ada", CONTEXT)["status"] == 400


def test_without_a_context_the_setting_holds(invoker: Invoker) -> None:
    lambda_handler({"client_id": "ada"}, None)
    assert invoker.asked[0].timeout_seconds == 50.0


V1 = {
    "resource": "/",
    "path": "/",
    "httpMethod": "POST",
    "headers": {"Content-Type": "application/json"},
    "queryStringParameters": None,
    "requestContext": {"httpMethod": "POST", "stage": "prod"},
    "body": '{"client_id": "ada"}',
    "isBase64Encoded": False,
}
V2 = {
    "version": "2.0",
    "routeKey": "$default",
    "rawPath": "/",
    "rawQueryString": "client_id=ada",
    "queryStringParameters": {"client_id": "ada"},
    "requestContext": {"http": {"method": "GET", "path": "/"}},
    "isBase64Encoded": False,
}


@pytest.mark.parametrize(
    "event",
    [
        V1,
        V1 | {"body": base64.b64encode(b'{"client_id": "ada"}').decode(), "isBase64Encoded": True},
        V1 | {"httpMethod": "GET", "body": None, "queryStringParameters": {"client_id": "ada"}},
        V2,
    ],
)
def test_api_gateway_gets_a_response(invoker: Invoker, event: dict[str, Any]) -> None:
    answer = lambda_handler(event, CONTEXT)
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["outcome"] == "reported"
    assert answer["headers"]["Content-Type"] == "application/json"
    assert invoker.asked[0].client_id == "ada"


@pytest.mark.parametrize(
    ("event", "status"),
    [
        (V1 | {"httpMethod": "DELETE"}, 405),
        (V1 | {"body": "?", "isBase64Encoded": True}, 400),
        (V1 | {"body": "x" * 70_000}, 413),
        (V2 | {"requestContext": {"http": {"method": "PATCH"}}}, 405),
        (V2 | {"requestContext": "?"}, 500),
    ],
)
def test_api_gateway_gets_errors_as_responses(invoker: Invoker, event: dict[str, Any], status: int) -> None:
    answer = lambda_handler(event, CONTEXT)
    assert answer["statusCode"] == status
    assert list(json.loads(answer["body"])) == ["error"]
    assert invoker.asked == []


EVENTBRIDGE = {
    "version": "0",
    "id": "53dc4d37",
    "detail-type": "Scheduled Event",
    "source": "aws.events",
    "detail": {"client_id": "ada"},
}


def test_eventbridge_events_bring_the_fields_as_their_detail(invoker: Invoker) -> None:
    assert lambda_handler(EVENTBRIDGE, CONTEXT)["outcome"] == "reported"
    assert invoker.asked[0].client_id == "ada"


def test_eventbridge_counts_and_repeats_what_raises(
    invoker: Invoker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FDSTREAM_CLIENT_ID", "ada")
    invoker.comes = TransportError("no broker answered")
    with pytest.raises(RuntimeError, match="no broker answered"):
        lambda_handler(EVENTBRIDGE | {"detail": {}}, CONTEXT)
    invoker.comes = Visit(NO_ROUND_OPEN)
    assert lambda_handler(EVENTBRIDGE | {"detail": {}}, CONTEXT)["outcome"] == NO_ROUND_OPEN
