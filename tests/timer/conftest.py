"""What the tests of the timer share; each of them leaves as many threads as it found."""

from __future__ import annotations

import gc
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rdzv_timer import PeriodicTimer


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail where a thread outlives its test."""
    before = set(threading.enumerate())
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), f"{thread} is still running"


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> list[threading.ExceptHookArgs]:
    """Everything that `threading.excepthook` is given."""
    reported: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", reported.append)
    return reported


@pytest.fixture
def run_to_end() -> Callable[[PeriodicTimer], None]:
    """Start a timer that ends by itself, and wait until it has."""

    def run(timer: PeriodicTimer) -> None:
        before = set(threading.enumerate())
        timer.start()
        for thread in set(threading.enumerate()) - before:
            thread.join(60)
        assert timer.cancel(timeout=0)

    return run


@pytest.fixture
def program(tmp_path: Path) -> Callable[[str], list[str]]:
    """Run a script in an interpreter of its own; its output, once it has ended well, without a word on stderr."""

    def run(script: str) -> list[str]:
        # From 3.12 on, Python warns of every fork in a process with threads, which is what these tests are about.
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)]
        # Free-threaded CPython 3.13 alone takes seconds to exit beside a busy thread.
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return run
