"""Calls that can be given up."""

from __future__ import annotations

import threading

import pytest
from rdzv_torchrun._bounded import Call, bounded


def test_call_runs_on_a_thread_that_ends_with_the_process() -> None:
    """Nothing waits at exit for a call that was given up; the thread's name tells what it is."""
    thread = bounded(10, "late", threading.current_thread)
    assert (thread.name, thread.daemon) == ("rdzv-bounded", True)


def test_late_call_is_given_up() -> None:
    """The caller goes on, and may look again later."""
    enough = threading.Event()
    with pytest.raises(TimeoutError, match="^late$"):
        bounded(0, "late", enough.wait)
    call = Call(enough.wait)
    assert not call.wait(-1)
    enough.set()
    assert call.wait(10)
    assert call.result() is True


def test_error_is_the_callers() -> None:
    """It is raised where the result is asked for."""
    with pytest.raises(ZeroDivisionError):
        bounded(10, "late", lambda: 1 / 0)
