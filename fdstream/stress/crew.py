"""The processes on the hosts: started through a nursery each, watched, and what they used."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from fdstream.demo.children import Children
from fdstream.demo.surroundings import environment
from fdstream.stress.network import Host
from fdstream.stress.observation import Cost

RESET_PEAK = "5"  # see proc(5), clear_refs


class Crew:
    """All processes of a run, by the host they are on. A context manager: none outlives it."""

    def __init__(self, folder: Path, hosts: list[Host]) -> None:
        self._folder = folder
        self.hosts = {host.name: host for host in hosts}
        self._stack = ExitStack()
        self._children: dict[str, Children] = {}

    def __enter__(self) -> Self:
        for name, host in self.hosts.items():
            surroundings = environment(self._folder)
            nursery = f"{name}-nursery"
            children = Children(
                self._folder,
                method="spawn",
                modules=(),
                environment=surroundings,
                name=nursery,
                prefix=host.prefix,
            )
            self._children[name] = self._stack.enter_context(children)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def start(self, host: str, name: str, module: str, *arguments: object) -> None:
        """Start `python -m module arguments…` there. Names are unique over all hosts."""
        self._children[host].start(name, module, *arguments)

    def check(self) -> None:
        """Hear what has happened. Raises `ChildFailedError`."""
        for children in self._children.values():
            children.check()

    def said(self, host: str, name: str) -> str:
        """What the process has written to stdout so far."""
        out = self._children[host].out(name)
        return out.read_text("utf-8") if out.exists() else ""

    def has_ended(self, host: str, name: str) -> bool:
        return name in self._children[host].statuses

    def pids(self, host: str, names: list[str]) -> list[int]:
        """Of those that have been started there."""
        pids = self._children[host].pids
        return [pids[name] for name in names if name in pids]

    def cost(self, host: str, names: list[str]) -> Cost:
        """Of processes that have ended."""
        usages = [self._children[host].usages[name] for name in names]
        return Cost(
            sum(usage.cpu_seconds for usage in usages),
            sum(usage.peak_bytes for usage in usages),
            len(usages),
        )

    def meter(self, host: str, name: str) -> Meter:
        """For a process that goes on, and its descendants."""
        return Meter(self._children[host].pids[name])


class Meter:
    """What a process and its descendants use from now on."""

    def __init__(self, pid: int) -> None:
        parent = psutil.Process(pid)
        self._processes = [parent, *parent.children(recursive=True)]
        self._began_seconds = self._cpu_seconds()
        for process in self._processes:
            _reset_peak(process.pid)

    def read(self) -> Cost:
        return Cost(
            self._cpu_seconds() - self._began_seconds,
            sum(_peak_bytes(process) for process in self._processes),
            len(self._processes),
        )

    def _cpu_seconds(self) -> float:
        times = [process.cpu_times() for process in self._processes]
        return float(sum(time.user + time.system for time in times))


def _reset_peak(pid: int) -> None:
    if psutil.LINUX:
        Path(f"/proc/{pid}/clear_refs").write_text(RESET_PEAK)


def _peak_bytes(process: psutil.Process) -> int:
    """The largest resident size since the reset; elsewhere than on Linux the present one."""
    if not psutil.LINUX:
        return int(process.memory_info().rss)
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) * 1024
