"""Functions as clients: the real functions-framework server, real HTTP, the real broker."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdstream.keys import new_pair
from kafka_cluster.ports import free_ports
from tests.cluster.expected import expected_hash
from tests.cluster.processes import APP, Federation, Process, hash_of, wait_until
from tests.cluster.starting import ROOT

CLIENTS = 10
ROUNDS = 2
MAIN = ROOT / "examples" / "serverless" / "main.py"


def ask(url: str, **fields: str) -> tuple[int, dict[str, Any]]:
    """One request; the status, 0 where nobody answers, and the JSON."""
    request = urllib.request.Request(url, data=json.dumps(fields).encode(), method="POST")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
    except urllib.error.URLError:
        return 0, {}


@contextmanager
def functions(folder: Path, **environment: str) -> Iterator[str]:
    """The example's handler, served as on Google Cloud; its address."""
    (port,) = free_ports(1)
    command = ["functions_framework", "--target", "handler", "--source", str(MAIN), "--host", "127.0.0.1"]
    clean = {"PATH": "", "PYTHONPATH": str(ROOT), "THREADS": str(CLIENTS)}
    settings = {f"FDSTREAM_{name}": value for name, value in environment.items()}
    with (folder / "functions.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, "--port", str(port)],
            env=clean | settings,
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    try:
        url = f"http://127.0.0.1:{port}/"
        wait_until("the functions' server", lambda: ask(url, nonsense="x")[0] == 400)
        yield url
    finally:
        server.terminate()
        server.wait(30)
        print((folder / "functions.log").read_text())


def test_functions_train_to_the_oracles_bytes_one_invocation_a_round(
    federation: Federation, tmp_path: Path
) -> None:
    names = [f"function-{index}" for index in range(CLIENTS)]
    private, public = tmp_path / "private", tmp_path / "public"
    for folder in (private, public):
        folder.mkdir()
    for name in (*names, "server"):
        new_pair(name, private / name)
        (private / f"{name}.pub").rename(public / f"{name}.pub")
    environment = {"APP": APP, "BROKER": federation.bootstrap, "FEDERATION": federation.name}
    environment |= {"KEY": str(private), "SERVER_KEY": (public / "server.pub").read_text()}
    with functions(federation.folder, **environment) as url:
        # Before anybody has opened the federation
        status, answer = ask(url, client_id=names[0])
        assert (status, answer["outcome"]) == (200, "no round open")
        assert answer["reason"] == "no server has opened this federation"
        assert ask(url, client_id=names[0], broker="127.0.0.1:1")[0] == 403

        signing = ("--key", str(private / "server.key"), "--trust", str(public))
        server = federation.server("--numrounds", str(ROUNDS), "--minclients", str(CLIENTS), *signing)
        server.wait_for_line("the group gave this server its shards")

        # One client, twice
        first = wait_until("a report", lambda: reported(ask(url, client_id=names[0])))
        assert (first["round"], first["evaluated_examples"]) == (1, 1)
        assert first["num_examples"] > 0
        assert first["bytes"]["sent"] > 1000
        assert {"receive", "evaluate", "train", "report", "total"} <= first["milliseconds"].keys()
        status, again = ask(url, client_id=names[0])
        assert (status, again["outcome"], again["round"]) == (200, "already reported", 1)
        assert again["warm"]
        assert again["bytes"]["received"] < first["bytes"]["received"]

        # Everybody, all at once, to the end
        command = ["invoke", "--url", url, "--clients", str(CLIENTS), "--every", "500ms", "--json"]
        invoke = Process("invoke", command, federation.folder)
        federation.processes.append(invoke)
        assert hash_of(server) == expected_hash([tuple(names)] * ROUNDS)
        result = invoke.result()
        assert result["reported"] == CLIENTS * (ROUNDS + 1) - 1
        assert result["failed_invocations"] == 0
        assert result["reason"] == f"all {ROUNDS} rounds are done"
        assert ask(url, client_id=names[0])[1]["outcome"] == "finished"
        assert ask(url, client_id="somebody new")[0] == 403


def reported(reply: tuple[int, dict[str, Any]]) -> dict[str, Any] | None:
    status, answer = reply
    assert status == 200, answer
    return answer if answer["outcome"] == "reported" else None


def test_a_function_gives_up_before_its_time_is_over(federation: Federation, tmp_path: Path) -> None:
    (nobody,) = free_ports(1)
    gate = federation.gate()
    server = federation.server("--numrounds", "1", "--minclients", "1", *gate.options())
    server.wait_for_line("the group gave this server its shards")
    environment = {"APP": APP, "FEDERATION": federation.name, "TIMEOUT": "4"}
    with functions(tmp_path, **environment) as url:
        status, answer = ask(url, client_id="ada", broker=f"127.0.0.1:{nobody}")
        assert status == 503
        assert "no broker answered" in answer["error"]

        def given_up() -> str | None:
            status, answer = ask(url, client_id="ada", broker=federation.bootstrap)
            return answer["error"] if status == 504 else None

        assert "were over in the phase 'train'" in wait_until("a function that gives up", given_up)
        gate.open(1, 2)
        done = wait_until(
            "a report", lambda: reported(ask(url, client_id="ada", broker=federation.bootstrap))
        )
        assert done["round"] == 1
