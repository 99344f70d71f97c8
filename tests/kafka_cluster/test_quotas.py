"""Setting quotas: what goes to the broker, and the sentence where it does not do it. `test_secure` has a real one."""

from __future__ import annotations

import ssl
import struct
from typing import Any

import pytest

from fdstream.errors import TransportError
from kafka_cluster import quotas

PLACE = ("127.0.0.1", 1)
DONE = struct.pack(">iihh", 0, 1, 0, -1)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The answer, to be put in by the test, then what was asked."""
    asked: list[Any] = []

    def ask(*question: Any) -> Any:
        asked.append(question)
        return asked[0]

    monkeypatch.setattr(quotas, "ask", ask)
    return asked


def limit(values: dict[str, float]) -> None:
    quotas.limit_each_client_id(PLACE, ssl.create_default_context(), "clïent", values)


def test_the_request_is_that_of_the_protocol_guide(asked: list[Any]) -> None:
    asked.append(DONE)
    limit({"producer_byte_rate": 5.5})
    _, (place, _, key, version, body) = asked
    assert (place, key, version) == (PLACE, 49, 0)
    name = "clïent".encode()
    entity = b"\0\0\0\2" + b"\0\4user" + bytes([0, len(name)]) + name + b"\0\x09client-id" + b"\xff\xff"
    operation = b"\0\0\0\1" + b"\0\x12producer_byte_rate" + struct.pack(">d", 5.5) + b"\0"
    assert body == b"\0\0\0\1" + entity + operation + b"\0"


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (None, "the broker at 127.0.0.1:1 did not answer when asked to set quotas"),
        (struct.pack(">iihh", 0, 1, 31, 3) + b"no!\0", "refused to set quotas of 'clïent': error 31 no!"),
        (struct.pack(">iihh", 0, 1, 42, -1), "refused to set quotas of 'clïent': error 42"),
    ],
)
def test_a_refusal_is_one_sentence(asked: list[Any], answer: bytes | None, sentence: str) -> None:
    asked.append(answer)
    with pytest.raises(TransportError) as error:
        limit({"producer_byte_rate": 5.5})
    assert str(error.value).endswith(sentence)
