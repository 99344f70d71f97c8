"""`fdstream swarm` and `fdstream server --model-size`, as processes against a real broker."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fdstream.cli import main
from fdstream.cli.swarm import make_swarm, over_kafka
from fdstream.client.connect import wait_for_federation
from fdstream.client.swarm import Swarm, Work
from fdstream.instruments import UNMEASURED
from fdstream.log import Record
from fdstream.messages import Heartbeat
from fdstream.serde.avro import decode
from fdstream.topics import table
from fdstream.topics.kafka_log import KafkaLog

FDSTREAM = [sys.executable, "-m", "fdstream"]
ROOT = Path(__file__).parents[2]
PROMPT_SECONDS = 10.0


def start(*args: str) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([*FDSTREAM, *args], stdout=pipe, stderr=pipe, text=True, cwd=ROOT)


def refused(*args: str) -> Result:
    result = CliRunner().invoke(main, list(args))
    assert result.exit_code == 2
    return result


@pytest.mark.parametrize("work", ["ech", "sleep", "sleep:", "sleep:-1", "sleep:nan", "synthetic:", ""])
def test_unknown_work_is_refused(work: str) -> None:
    assert "is not echo, synthetic or sleep:SECONDS" in refused("swarm", "--work", work).stderr


@pytest.mark.parametrize(
    ("text", "work"),
    [
        ("echo", Work()),
        ("synthetic", Work(synthetic=True)),
        ("sleep:0.2", Work(seconds=0.2)),
        ("sleep:3", Work(seconds=3.0)),
        ("synthetic:1.5", Work(synthetic=True, seconds=1.5)),
    ],
)
def test_work(text: str, work: Work) -> None:
    assert make_swarm({"clients": 3, "seed": 1, "work": text, "app": None}) == Swarm(
        clients=3, seed=1, work=work
    )


def test_a_server_has_an_app_or_a_size() -> None:
    result = refused("server", "--model-size", "1MB", "--app", "fdstream.examples.linear:app")
    assert "leave one of --app and --model-size out" in result.stderr


def test_a_swarm_runs_a_federation_to_its_end(kafka: str) -> None:
    where = ["--broker", kafka, "--federation", "swarm-cli", "--model-size", "40KB", "--seed", "7", "--json"]
    server = start("server", *where, "--numrounds", "2", "--minclients", "5")
    swarm = start("swarm", *where, "--clients", "5", "--work", "synthetic", "--heartbeat-period", "1")
    lines = [process.communicate(timeout=120)[0].splitlines()[-1] for process in (server, swarm)]
    assert (server.returncode, swarm.returncode) == (0, 0)
    ended, totals = map(json.loads, lines)
    assert (ended["rounds"], ended["clients"]) == (2, 5)
    assert list(totals) == ["clients", "reported", "failed", "seconds"]
    assert (totals["clients"], totals["reported"], totals["failed"]) == (5, 15, 0)


def test_ctrl_c_stops_a_swarm_that_works(kafka: str) -> None:
    where = ["--broker", kafka, "--federation", "swarm-ctrl-c"]
    server = start("server", *where, "--model-size", "1KB", "--minclients", "5")
    swarm = start("swarm", *where, "--clients", "5", "--work", "sleep:600", "--heartbeat-period", "0.1")
    wait_until_training(kafka, "swarm-ctrl-c")
    pressed = time.monotonic()
    swarm.send_signal(signal.SIGINT)
    _, stderr = swarm.communicate(timeout=60)
    assert (swarm.returncode, stderr.splitlines()[-1]) == (130, "stopped by Ctrl-C")
    assert time.monotonic() - pressed < PROMPT_SECONDS
    server.terminate()
    server.communicate(timeout=60)


def wait_until_training(kafka: str, federation: str) -> None:
    wait_for_federation(kafka, federation, {})
    log = KafkaLog(kafka, federation, client_id="test", settings={})
    log.follow(table.MEMBERS, 0, 0)
    states: set[str] = set()
    while "training" not in states:
        beats = [decode(item.value) for item in log.poll(0.5) if isinstance(item, Record)]
        states |= {beat.state for beat in beats if isinstance(beat, Heartbeat)}
    log.close()


def test_no_broker_is_exit_code_4(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdstream.client.connect.REACHABLE_SECONDS", 0.1)
    result = CliRunner().invoke(main, ["swarm", "--broker", "127.0.0.1:1", "--clients", "3"])
    assert result.exit_code == 4
    assert "no broker answered at 127.0.0.1:1" in result.stderr


def test_the_records_of_several_clients_share_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr("fdstream.client.connect.wait_for_federation", lambda *_: None)
    monkeypatch.setattr(
        "fdstream.topics.kafka_log.KafkaLog",
        lambda *_, client_id, shared, **__: asked.append((client_id, shared)),
    )
    open_log = over_kafka({"broker": "nowhere:1", "kafka": {}}, "default", UNMEASURED)
    open_log(["ada"])
    open_log(["bob", "cleo"])
    assert asked == [("ada", False), ("bob", True)]
