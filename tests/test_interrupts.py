from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from fdstream import interrupts
from fdstream.topics.kafka_log import KafkaLog


class _Interrupted:
    """Gets the signal in its destructor, which no exception leaves."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self._number)


@pytest.fixture
def lost(monkeypatch: pytest.MonkeyPatch) -> list[type[BaseException] | None]:
    """The exceptions that went nowhere."""
    found: list[type[BaseException] | None] = []

    def keep(unraisable: SimpleNamespace) -> None:
        found.append(unraisable.exc_type)

    monkeypatch.setattr(sys, "unraisablehook", keep)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts(number: int) -> None:
    with interrupts.remembered(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_that_got_lost_comes_with_the_next_check(
    number: int, lost: list[type[BaseException] | None]
) -> None:
    with interrupts.remembered():
        _Interrupted(number)
        assert lost == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
        interrupts.check()


def test_whoever_waits_for_records_hears_of_a_lost_interrupt(
    lost: list[type[BaseException] | None],
) -> None:
    log = KafkaLog("127.0.0.1:1", "nobody", client_id="test", settings={})
    with interrupts.remembered():
        _Interrupted(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            log.poll(60.0)
    assert lost == [KeyboardInterrupt]
    log.close()


def test_other_threads_are_not_interrupted(lost: list[type[BaseException] | None]) -> None:
    with interrupts.remembered():
        _Interrupted(signal.SIGINT)
        thread = threading.Thread(target=interrupts.check)
        thread.start()
        thread.join()
        assert lost == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()


def test_a_thread_hears_of_the_event_that_it_heeds_and_no_other_does() -> None:
    stop, other = threading.Event(), threading.Event()

    def wait() -> str:
        with interrupts.heeding(stop):
            while not other.is_set():
                interrupts.check()
        return "went on"

    with ThreadPoolExecutor(1) as pool:
        thread = pool.submit(wait)
        stop.set()
        with pytest.raises(interrupts.Stopped):
            thread.result()
        pool.submit(interrupts.check).result()  # the same thread, after its block
    interrupts.check()


def test_whoever_heeds_an_event_goes_on_until_it_is_set() -> None:
    stop = threading.Event()
    with interrupts.heeding(stop):
        interrupts.check()
        stop.set()
        with pytest.raises(interrupts.Stopped):
            interrupts.check()


def test_an_ignored_sigint_stays_ignored_and_the_handlers_of_before_come_back() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        with interrupts.remembered():
            os.kill(os.getpid(), signal.SIGINT)
            interrupts.check()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGINT, before[0])


def test_what_is_over_leaves_no_interrupt_behind(lost: list[type[BaseException] | None]) -> None:
    with interrupts.remembered():
        _Interrupted(signal.SIGINT)
    assert lost == [KeyboardInterrupt]
    interrupts.check()
