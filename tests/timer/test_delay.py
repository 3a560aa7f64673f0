"""`delay` pauses the calling thread, and an event cuts it short."""

from __future__ import annotations

import random
import threading
import time

import pytest
from rdzv_timer import delay


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The sleeps asked of `time.sleep`, as gevent replaces it after the import; none of them slept."""
    asked: list[float] = []
    monkeypatch.setattr(time, "sleep", asked.append)
    return asked


@pytest.mark.parametrize("seconds", [0.01, 1, 3600.0])
def test_it_sleeps_so_many_seconds(slept: list[float], seconds: float) -> None:
    """A delay is one sleep of the given seconds."""
    assert delay(seconds) is False
    assert slept == [seconds]


def test_an_event_is_waited_for_as_long() -> None:
    """From 10 milliseconds on, as without one."""
    waited: list[float] = []

    class Never(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            waited.append(timeout)
            return False

    assert delay(0.01, stop=Never()) is False
    assert waited == [0.01]


@pytest.mark.parametrize("seconds", [0.0099, 0, -1, float("nan")])
def test_less_than_ten_milliseconds_is_no_delay(slept: list[float], monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Delays under 10 milliseconds are ignored, as in PyTorch, with and without an event."""
    stop = threading.Event()

    def wait(timeout: float) -> bool:
        slept.append(timeout)
        return stop.is_set()

    monkeypatch.setattr(stop, "wait", wait)
    assert delay(seconds) is False
    assert slept == []
    assert delay(seconds, stop=stop) is False
    assert slept == [0]


def test_two_bounds_give_a_random_delay_between_them(slept: list[float]) -> None:
    """Of a pair of bounds the delay is what `random.uniform` picks."""
    random.seed(1)
    expected = random.uniform(2, 3)
    random.seed(1)
    delay((2, 3))
    assert slept == [expected]
    assert 2 <= expected <= 3


def test_it_is_true_when_stop_is_set_already() -> None:
    """A set event ends the longest delay before it begins."""
    stop = threading.Event()
    stop.set()
    assert delay(3600, stop=stop) is True
    assert delay((3600, 7200), stop=stop) is True
    assert delay(0, stop=stop) is True


def test_stop_ends_a_delay_that_has_begun() -> None:
    """Setting the event from another thread ends the delay."""
    stop, answers = threading.Event(), list[bool]()
    thread = threading.Thread(target=lambda: answers.append(delay(3600, stop=stop)))
    thread.start()
    stop.set()
    thread.join(60)
    assert answers == [True]


def test_it_is_false_when_the_time_is_over() -> None:
    """Where nobody sets the event, the delay ends with its time."""
    assert delay(0.01, stop=threading.Event()) is False


@pytest.mark.parametrize("seconds", [None, "1", ("1", "2"), (1,)])
def test_what_is_no_time_is_a_type_error(seconds: object) -> None:
    """What is neither a number nor two of them is refused."""
    with pytest.raises(TypeError):
        delay(seconds)  # type: ignore[arg-type]
