"""What is true of PyTorch's timer and delay, and must be of ours."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from types import ModuleType

import pytest

SOON = timedelta(milliseconds=10)
NEVER = timedelta(hours=1)


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_a_timer_starts_once(utils: ModuleType) -> None:
    """A second start, and a name after the start, are refused with one text."""
    timer = utils._PeriodicTimer(NEVER, lambda: None)
    assert timer.name is None
    timer.set_name("heartbeat")
    timer.start()
    assert timer.name == "heartbeat"
    assert "heartbeat" in names()
    for refused in (timer.start, lambda: timer.set_name("other")):
        with pytest.raises(RuntimeError, match=r"^The timer has already started\.$"):
            refused()
    timer.cancel()
    with pytest.raises(RuntimeError, match=r"^The timer has already started\.$"):
        timer.start()


def test_cancel_ends_the_thread_and_may_be_repeated(utils: ModuleType) -> None:
    """The thread has the default name, and is gone when cancel returns; before the start there is none."""
    timer = utils._PeriodicTimer(NEVER, lambda: None)
    timer.cancel()
    timer.start()
    assert "PeriodicTimer" in names()
    timer.cancel()
    assert "PeriodicTimer" not in names()
    timer.cancel()


def test_dropping_the_last_reference_ends_the_thread(utils: ModuleType) -> None:
    """It is gone right after the del."""
    timer = utils._PeriodicTimer(NEVER, lambda: None)
    timer.start()
    assert "PeriodicTimer" in names()
    del timer
    assert "PeriodicTimer" not in names()


def test_calls_are_an_interval_apart_from_end_to_start(utils: ModuleType) -> None:
    """The arguments are passed on, and no interval is shorter than asked."""
    gaps: list[float] = []
    enough = threading.Event()
    ended = time.monotonic()

    def work(first: int, *, second: int) -> None:
        nonlocal ended
        assert (first, second) == (1, 2)
        gaps.append(time.monotonic() - ended)
        if len(gaps) == 4:
            enough.set()
        ended = time.monotonic()

    timer = utils._PeriodicTimer(SOON, work, 1, second=2)
    timer.start()
    assert enough.wait(60)
    timer.cancel()
    assert all(gap >= SOON.total_seconds() for gap in gaps)


def test_the_timer_s_thread_is_a_daemon(utils: ModuleType) -> None:
    """It holds up no exit."""
    timer = utils._PeriodicTimer(NEVER, lambda: None)
    timer.start()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "PeriodicTimer")
    timer.cancel()


@pytest.mark.parametrize(
    ("seconds", "slept"), [(0, False), (0.009, False), (-1, False), (0.01, True), (0.02, True), ((0.01, 0.02), True)]
)
def test_a_delay_under_ten_milliseconds_is_none(utils: ModuleType, seconds: object, slept: bool) -> None:
    """A pair is a range to choose from; what is too short is passed over."""
    started = time.monotonic()
    utils._delay(seconds)
    assert (time.monotonic() - started >= 0.01) is slept or not slept
