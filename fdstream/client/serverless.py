"""Functions as clients: `handler` for HTTP (Google Cloud Functions), `lambda_handler` for AWS Lambda.

One invocation is one round: it reads which round is open, takes part if that is due, and answers with JSON what came
of it. Settings come from the environment, see `fdstream.cli.function`; nothing that a request says names code.
Imports no machine learning library, and no framework: what a request is, its platform says.
"""

from __future__ import annotations

import base64
import functools
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from fdstream import logs
from fdstream.cli.function import FunctionSettings, RefusedError, read_settings
from fdstream.client.invocation import GivenUpError, Invocation, Invoker
from fdstream.client.visitor import FINISHED
from fdstream.errors import FdstreamError, RemoteError, TransportError
from fdstream.instruments import UNMEASURED, Instruments

logger = logging.getLogger("fdstream.function")
Answer = tuple[int, dict[str, Any]]  # a status of HTTP, and what becomes JSON

LONGEST_BODY_BYTES = 64 * 1024
LAMBDA_MARGIN_SECONDS = 1.0  # between giving up and being killed
_SHORTEST_SECRET = 4
instruments: Instruments = UNMEASURED
"""What looks on; to be set before the first invocation."""

_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store"}
_SEE_LOG = "the function's log says more"


def handler(request: Any) -> tuple[str, int, dict[str, str]]:
    """For HTTP functions; `request` is Flask's. GET with a query or POST with JSON; body, status, headers."""
    status, answer = _answered(functools.partial(_http_fields, request))
    return logs.to_json(answer), status, _HEADERS


def lambda_handler(event: Any, context: Any) -> dict[str, Any]:
    """For AWS Lambda: an event of one's own, of API Gateway (1.0 or 2.0), a function URL or EventBridge.

    To EventBridge, whose answers nobody reads, an error is raised: so that it is counted and tried again.
    """
    kind = _kind_of(event)
    status, answer = _answered(functools.partial(_EVENTS[kind], event), _remaining_seconds(context))
    if kind == "gateway":
        return {"statusCode": status, "headers": _HEADERS, "body": logs.to_json(answer)}
    if kind == "eventbridge" and status >= 400:
        raise RuntimeError(answer["error"])
    return {"status": status, **json.loads(logs.to_json(answer))}


@functools.cache
def _invoker() -> Invoker:
    return Invoker(instruments)


# From a request to an answer


def _answered(fields: Callable[[], Mapping[str, object]], remaining_seconds: float | None = None) -> Answer:
    settings = None
    try:
        settings = read_settings(fields())
        _set_up_logging(settings.log_format, settings.log_level)
        if remaining_seconds is not None:
            settings = replace(settings, timeout_seconds=min(settings.timeout_seconds, remaining_seconds))
        return _told(_invoker().invoke(settings))
    except Exception as error:
        status, sentence = _explained(error)
        if status >= 500:
            trace = error if status == 500 else None
            logger.error(
                "an invocation failed", extra={"status": status, "reason": str(error)}, exc_info=trace
            )
        return status, {"error": _without_secrets(sentence, settings)}


def _explained(error: Exception) -> tuple[int, str]:
    """A status of HTTP and the sentence about it; what may hold secrets is in the log alone."""
    match error:
        case RefusedError():
            return error.status, str(error)
        case GivenUpError():
            return 504, str(error)
        case TransportError():
            return 503, str(error)
        case RemoteError():
            return 502, str(error)
        case FdstreamError():
            return 500, f"this function is not set up as it must be; {_SEE_LOG}"
    return 500, f"this function has failed; {_SEE_LOG}"


def _without_secrets(sentence: str, settings: FunctionSettings | None) -> str:
    """A librdkafka error may repeat a setting."""
    for value in {} if settings is None else settings.kafka.values():
        if len(value) >= _SHORTEST_SECRET:
            sentence = sentence.replace(value, "...")
    return logs.plain(sentence)


def _told(made: Invocation) -> Answer:
    settings, visit = made.settings, made.visit
    if visit.failure is not None:
        logger.error("the app's functions failed", extra={"reason": str(visit.failure)})
        return 500, {"error": f"the app's functions failed in round {visit.round}; {_SEE_LOG}"}
    answer: dict[str, Any] = {
        "federation": settings.federation,
        "client_id": settings.client_id,
        "round": visit.round,
        "outcome": visit.outcome,
        "reason": visit.reason,
        "num_examples": visit.num_examples,
        "metrics": visit.metrics,
        "evaluated_examples": visit.evaluated_examples,
        "evaluate_metrics": visit.evaluate_metrics,
        "bytes": {"received": visit.received_bytes, "sent": visit.sent_bytes},
        "milliseconds": made.watch.milliseconds,
        "warm": made.warm,
        "warnings": visit.warnings,
    }
    logger.info(visit.outcome, extra={"client": settings.client_id, "round": visit.round})
    return 200, answer | ({"failed": visit.failed} if visit.outcome == FINISHED else {})


@functools.cache
def _set_up_logging(log_format: logs.Format, log_level: str) -> None:
    """Once; a platform that has its own handlers, as AWS Lambda has, keeps them."""
    if logging.getLogger().handlers:
        logging.getLogger("fdstream").setLevel(log_level.upper())
    else:
        logs.setup(log_format, log_level)


# What a request says


def _http_fields(request: Any) -> Mapping[str, object]:
    _check_method(request.method)
    if (request.content_length or 0) > LONGEST_BODY_BYTES:
        raise RefusedError(413, f"a request has at most {LONGEST_BODY_BYTES} bytes")
    return {**request.args.to_dict(), **_from_json(request.get_data(cache=True))}


def _check_method(method: object) -> None:
    if method not in ("GET", "POST"):
        raise RefusedError(405, "a function is invoked with GET or POST")


def _from_json(body: str | bytes | None) -> Mapping[str, object]:
    if not body or not body.strip():
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RefusedError(400, "the request's body has to be one JSON object")
    return found


def _kind_of(event: object) -> str:
    if not isinstance(event, dict):
        return "direct"
    if "requestContext" in event or "httpMethod" in event:
        return "gateway"
    return "eventbridge" if "detail-type" in event and "source" in event else "direct"


def _direct_fields(event: object) -> Mapping[str, object]:
    if event is not None and not isinstance(event, dict):
        raise RefusedError(400, "the event has to be one JSON object")
    return event or {}


def _eventbridge_fields(event: Mapping[str, Any]) -> Mapping[str, object]:
    return _direct_fields(event.get("detail"))


def _gateway_fields(event: Mapping[str, Any]) -> Mapping[str, object]:
    http = (event.get("requestContext") or {}).get("http") or {}
    _check_method(http.get("method", event.get("httpMethod")))
    body = event.get("body") or ""
    if len(body) > LONGEST_BODY_BYTES:
        raise RefusedError(413, f"a request has at most {LONGEST_BODY_BYTES} bytes")
    return {
        **(event.get("queryStringParameters") or {}),
        **_from_json(_unpacked(body) if event.get("isBase64Encoded") else body),
    }


def _unpacked(body: str) -> bytes:
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:
        raise RefusedError(400, "the request's body is not in Base64, though it says so") from None


def _remaining_seconds(context: Any) -> float | None:
    """Until Lambda kills this invocation, but for a margin; None outside of Lambda."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return None if remaining is None else max(1.0, remaining() / 1000 - LAMBDA_MARGIN_SECONDS)


_EVENTS: dict[str, Callable[[Any], Mapping[str, object]]] = {
    "direct": _direct_fields,
    "eventbridge": _eventbridge_fields,
    "gateway": _gateway_fields,
}
