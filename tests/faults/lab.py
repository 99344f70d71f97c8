"""The process in which cases are played, one after another, with its brokers. `python -m tests.faults.lab FOLDER`.

It reads a case and a seed as a line of JSON, plays it, and answers with a line. The one who starts it
(`ISOLATED`) gives it network, process and mount namespaces of its own: whatever a case makes there is gone when
the lab ends, however it ends, and no packet of it leaves the machine.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from contextlib import ExitStack, redirect_stdout
from pathlib import Path
from typing import Any

from kafka_cluster import Cluster
from tests.faults.case import Case, all_cases

ISOLATED = (
    *("setpriv", "--pdeathsig", "KILL"),  # it ends with the thread that starts it
    "unshare",
    *(("--map-root-user",) if os.geteuid() != 0 else ()),
    "--net",
    "--pid",
    "--mount",
    "--fork",
    "--kill-child",
    "--mount-proc",
)
LONGEST_DETAIL = 2000


class Lab:
    """Brokers for cases: one alone, three together, each started when first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._clusters: dict[int, Cluster] = {}

    def cluster(self, nodes: int) -> Cluster:
        """A cluster that all cases share; nodes that one killed are started again."""
        if nodes not in self._clusters:
            cluster = Cluster(nodes=nodes, data_dir=self.folder / f"kafka-{nodes}")
            cluster.start()
            self._clusters[nodes] = cluster
        self._clusters[nodes].restart_killed()
        return self._clusters[nodes]

    def discard(self, nodes: int) -> None:
        """A case has left this cluster in a state that is none for others."""
        cluster = self._clusters.pop(nodes, None)
        if cluster is not None:
            cluster.stop()
            shutil.rmtree(self.folder / f"kafka-{nodes}", ignore_errors=True)


def play(lab: Lab, case: Case, seed: int) -> dict[str, Any]:
    """One run of a case, as a line of the record."""
    from tests.faults.scene import Scene

    folder = lab.folder / f"{case.name.replace(' ', '-').replace('/', '-')}-{seed}"
    folder.mkdir(parents=True)
    began, said, scene = time.monotonic(), io.StringIO(), None
    found: dict[str, Any] = {"case": case.name, "seed": seed, "outcome": "passed", "detail": ""}
    try:
        with redirect_stdout(said), ExitStack() as stack:
            bootstrap = lab.cluster(case.brokers).bootstrap if case.brokers else ""
            began = time.monotonic()
            scene = stack.enter_context(Scene(lab, bootstrap, folder, seed))
            case.play(scene)
    except Exception as error:  # noqa: BLE001 - whatever a case comes upon is its outcome
        (folder / "failure").write_text(traceback.format_exc() + said.getvalue())
        detail = f"{type(error).__name__}: {error}"[:LONGEST_DETAIL]
        found |= {"outcome": "failed", "detail": f"{detail} (see {folder / 'failure'})"}
    else:
        shutil.rmtree(folder, ignore_errors=True)
    reports, facts = (dict(scene.reports), scene.facts) if scene is not None else ({}, {})
    seconds = round(time.monotonic() - began, 1)
    return found | {"seconds": seconds, "reports": reports, "facts": facts}


def main() -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    lab, cases = Lab(Path(sys.argv[1])), all_cases()
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(play(lab, cases[asked["case"]], asked["seed"])), flush=True)
    for nodes in (1, 3):
        lab.discard(nodes)


if __name__ == "__main__":
    main()
