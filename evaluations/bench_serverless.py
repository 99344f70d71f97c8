"""What does a function cost beside its training: in a new process, and in one that has served before?

    python evaluations/bench_serverless.py [--sizes 40KB,1MB] [--cold 10] [--warm 30]

One broker, one server, one client, whose training hands the model back. Every invocation measured reports a round:
it connects, reads the history, finds that it has not reported, receives the model, uploads an update of the same size
and its report, and waits for all acknowledgements. Cold: from the start of a Python process to its end. Warm: a call
of `lambda_handler` in a process that keeps its connections.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from machine import report

from fdstream.client.serverless import lambda_handler
from kafka_cluster import Cluster

UNITS = {"KB": 10**3, "MB": 10**6}
CLIENT = {"client_id": "bench"}
COLD = f"""
import json
from fdstream.client.serverless import lambda_handler
print(json.dumps(lambda_handler({CLIENT}, None)))
"""
IMPORT = "import fdstream.client.serverless"
COLD_TARGET_SECONDS, WARM_TARGET_SECONDS = 1.5, 0.3
FOLDER = Path(__file__).parent


def cold() -> tuple[float, dict[str, Any]]:
    """A new process that invokes the function once; seconds until it has ended, and the answer."""
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", COLD], cwd=FOLDER, check=True, stdout=subprocess.PIPE)
    return time.perf_counter() - began, json.loads(done.stdout)


def warm() -> tuple[float, dict[str, Any]]:
    """The same in this process."""
    began = time.perf_counter()
    answer = lambda_handler(CLIENT, None)
    return time.perf_counter() - began, answer


def imported() -> float:
    """Seconds of a new process that only imports the handler."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
    return time.perf_counter() - began


def reports(
    invoke: Callable[[], tuple[float, dict[str, Any]]], count: int
) -> list[tuple[float, dict[str, Any]]]:
    """So many invocations that reported; in between the next round opens."""
    found: list[tuple[float, dict[str, Any]]] = []
    while len(found) < count:
        seconds, answer = invoke()
        assert answer["status"] == 200, answer
        if answer["outcome"] == "reported":
            found.append((seconds, answer))
        time.sleep(0.2)  # a round of one client closes within a few hundredths
    return found


@contextmanager
def serving(bootstrap: str, size: str, rounds: int) -> Iterator[None]:
    """A server with this federation, and an environment for functions."""
    os.environ |= {
        "FDSTREAM_BROKER": bootstrap,
        "FDSTREAM_FEDERATION": f"bench-{size}",
        "FDSTREAM_APP": "echo_app:app",
        "FDSTREAM_LOG_LEVEL": "warning",
        "BENCH_BYTES": str(int(size[:-2]) * UNITS[size[-2:]]),
    }
    command = [sys.executable, "-m", "fdstream", "server", "--minclients", "1", "--numrounds", str(rounds)]
    server = subprocess.Popen(command, cwd=FOLDER)
    try:
        yield
    finally:
        server.terminate()
        server.wait()


def spread(seconds: Sequence[float]) -> list[str]:
    """Median and largest, in seconds."""
    return [f"{statistics.median(seconds):.2f}", f"{max(seconds):.2f}"]


def phases(answers: Sequence[dict[str, Any]]) -> str:
    """The median milliseconds of each phase."""
    names = [name for name in answers[0]["milliseconds"] if name != "total"]
    medians = {
        name: statistics.median(answer["milliseconds"].get(name, 0.0) for answer in answers) for name in names
    }
    return ", ".join(f"{name} {value:.0f}" for name, value in medians.items())


def rows(bootstrap: str, size: str, num_cold: int, num_warm: int) -> Iterator[list[str]]:
    with serving(bootstrap, size, rounds=num_cold + num_warm + 100):
        for kind, invoke, count, target in (
            ("cold", cold, num_cold, COLD_TARGET_SECONDS),
            ("warm", warm, num_warm, WARM_TARGET_SECONDS),
        ):
            found = reports(invoke, count + 1)[1:]  # the first awaits the server, or connects
            seconds, answers = zip(*found, strict=True)
            yield [size, kind, str(count), *spread(seconds), f"{target}", phases(answers)]


def main() -> None:
    """Measure and print the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="40KB,1MB")
    parser.add_argument("--cold", type=int, default=10)
    parser.add_argument("--warm", type=int, default=30)
    options = parser.parse_args()
    table = [["none", "import alone", "5", *spread([imported() for _ in range(5)]), "", ""]]
    with tempfile.TemporaryDirectory() as folder, Cluster(data_dir=Path(folder)) as cluster:
        for size in options.sizes.split(","):
            table += rows(cluster.bootstrap, size, options.cold, options.warm)
    head = [
        "model",
        "invocation",
        "measured",
        "median s",
        "largest s",
        "aim, s",
        "median milliseconds by phase",
    ]
    text = __doc__.split("\n\n", 2)[2].replace("\n", " ")
    print(
        report("A function's overhead", f"Written by `evaluations/bench_serverless.py`. {text}", head, table)
    )


if __name__ == "__main__":
    main()
