"""Work that has a time: done, raised, stopped where it waits, or left behind."""

from __future__ import annotations

import threading
import time

import pytest

from fdstream import interrupts
from fdstream.client.budget import OutOfTimeError, within


def test_what_is_done_in_time_is_returned_or_raised() -> None:
    def fail() -> None:
        raise TimeoutError("mine")

    assert within(10, lambda: 7) == 7
    with pytest.raises(TimeoutError, match="mine"):
        within(10, fail)


def test_what_waits_is_stopped_and_can_clean_up() -> None:
    cleaned = threading.Event()

    def wait() -> None:
        try:
            while True:
                interrupts.check()
                time.sleep(0.01)
        finally:
            cleaned.set()

    with pytest.raises(OutOfTimeError):
        within(0.2, wait)
    assert cleaned.wait(10)


def test_what_cannot_be_stopped_is_left_behind_in_time() -> None:
    release, noticed = threading.Event(), threading.Event()

    def user_code() -> None:
        release.wait(60)
        try:
            interrupts.check()
        except interrupts.Stopped:
            noticed.set()
            raise

    began = time.monotonic()
    with pytest.raises(OutOfTimeError):
        within(0.2, user_code)
    assert time.monotonic() - began < 10
    release.set()
    assert noticed.wait(10)


def test_what_ends_while_it_is_told_to_stop_counts() -> None:
    def work() -> int:
        while True:
            try:
                interrupts.check()
            except interrupts.Stopped:
                return 7

    assert within(0.2, work) == 7
