"""Stands for the module `time` where a test moves the clock itself."""

from __future__ import annotations


class Clock:
    def __init__(self) -> None:
        self.now_seconds = 1000.0

    def monotonic(self) -> float:
        return self.now_seconds
