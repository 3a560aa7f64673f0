"""The thread of a timer: it waits, calls the function, counts, and ends when told.

A job says what to call and when. A run is one thread of a job: it never knows the timer, so that the last reference to
the timer can end it. The two tell each other things through two bare locks, and through counters that only the thread
writes. Only the thread blocks on `wake`, and nobody blocks on `calling`, so that signal handlers, finalizers and the
function itself may call anything at any moment.

`monotonic_ns`, `wait` and `urandom` are this module's clock, patience and chance: tests replace them.
"""

from __future__ import annotations

import os
import sys
import threading
from os import urandom
from time import monotonic_ns
from types import CoroutineType

from ._schedule import MissedTick, grid_points_passed, next_deadline

TYPE_CHECKING = False
if TYPE_CHECKING:  # pragma: no cover - only type checkers go here
    from collections.abc import Callable

    Process = tuple[int, int]


# How long, in seconds, to wait for a thread that has nothing left to do but to end, for which it needs microseconds.
# There is a bound because signal handlers and finalizers may have us wait on a thread that they interrupted while it
# held one of the locks of `threading`, which the other thread needs to end. In many attempts, since one alone may be
# over before the other thread has had its turn, where some C call holds the GIL or the process was stopped.
_PATIENCE = 5.0
_ATTEMPTS = 50


# One entry for each fork since this module was imported. This is module state because a hook cannot be taken back: hooks
# of the timers would keep them alive.
_forks: list[None] = []
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(after_in_child=lambda: _forks.append(None))


def current_process() -> Process:
    """What tells this process from its parent.

    The process id alone does not: parent and child may both be number 1, each of its own PID namespace. The number of
    forks alone does not either: another hook may use a timer before ours has run, and a fork in C runs no hooks.
    """
    return os.getpid(), len(_forks)


def wait(wake: threading.Lock, seconds: float) -> bool:
    """Wait for ``wake`` to be released, for so many seconds at most: was it?"""
    return wake.acquire(timeout=seconds)


def _random_up_to(limit: int) -> int:
    # The generator of `random` is the user's: training scripts seed it alike on every node, which would have all nodes
    # tick at once, and drawing from it on another thread would make their own numbers irreproducible.
    return limit * int.from_bytes(urandom(4), "big") >> 32


def _report(error: Exception) -> None:
    thread = threading.current_thread()
    try:
        threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
    except BaseException as hook_error:  # noqa: BLE001 - whatever the user's hook may raise
        # A broken hook must not end the timer either. This one is where `threading` itself ends up, and never raises.
        sys.__excepthook__(type(hook_error), hook_error, hook_error.__traceback__)


class Job:
    """What to call and when: settled before the start, only read from then on."""

    def __init__(self, period: int, call: Callable[[], object]) -> None:
        self.period = period
        self.call = call
        self.name: str | None = None
        self.policy = MissedTick.DELAY
        self.jitter = 0
        self.error_handler: Callable[[Exception, int], object] | None = None

    def call_once(self) -> None:
        """Call the function; TypeError where it has only made a coroutine, or the like, which nobody will await."""
        result = self.call()
        # Futures and tasks are awaitable too, but make progress by themselves.
        if hasattr(type(result), "__await__") and not hasattr(result, "add_done_callback"):
            if isinstance(result, CoroutineType):
                # Or Python would warn that it was never awaited.
                result.close()
            raise TypeError(f"The function has returned an awaitable, which nobody awaits: {type(result).__name__}.")

    def goes_on_after(self, error: Exception, failures: int) -> bool:
        """Tell the user of the newest of so many failures in a row; False when the user wants no more of them."""
        # A function that fails for hours is worth a few reports, not one for each tick.
        is_due = failures & (failures - 1) == 0
        if self.error_handler is not None:
            try:
                return self.error_handler(error, failures) is not False
            except Exception as handler_error:  # noqa: BLE001 - whatever the user's handler may raise
                if is_due:
                    _report(handler_error)
        if is_due:
            _report(error)
        return True


class Run:
    """One thread of a job. Its counters are written by that thread only; on the class, they are those of no run."""

    ticks = 0
    missed = 0
    consecutive_failures = 0
    lateness = 0.0
    thread: threading.Thread | None = None

    def __init__(self, job: Job) -> None:
        self.job = job
        self.process = current_process()
        # Held until the thread is to end: it waits for its next tick by waiting for this.
        self.wake = threading.Lock()
        self.wake.acquire()
        # Held by the thread, and never waited for, while the function runs.
        self.calling = threading.Lock()

    def start(self, runs: dict[Process, Run]) -> None:
        """Start the thread, which enters the run in ``runs`` as it begins."""
        name = self.job.name or "PeriodicTimer"
        self.thread = threading.Thread(target=self.loop, args=(runs,), name=name, daemon=True)
        self.thread.start()

    @property
    def is_running(self) -> bool:
        """Whether the thread has begun and not ended."""
        return self.thread is not None and self.thread.is_alive()

    def loop(self, runs: dict[Process, Run]) -> None:
        """Tick until told to end, unless another run of the timer has begun before; what the thread runs."""
        if not self.wake.locked() or runs.setdefault(self.process, self) is not self:
            return
        job = self.job
        # The clock is read on this thread only: libraries that freeze it for tests do so for some threads and not for others.
        self.start_ns = self.now = monotonic_ns()
        goes_on = True
        while goes_on:
            deadline = next_deadline(self.now, self.start_ns, job.period, job.policy)
            if job.jitter:
                deadline += _random_up_to(job.jitter)
            goes_on = self.tick(deadline)

    def tick(self, deadline: int) -> bool:
        """Wait for the deadline and call the function once; False when the thread has to end."""
        try:
            now = self.now
            while now < deadline:
                if wait(self.wake, (deadline - now) / 1e9):
                    return False
                before, now = now, monotonic_ns()
                if now <= before:
                    # Somebody has frozen the clock, or set it back. The wait has still taken its time.
                    now = deadline
            with self.calling:
                # Asked again under the lock: who has cancelled, and then finds it free, may rely on no call to follow.
                if not self.wake.locked():
                    return False
                self.ticks += 1
                self.lateness = (now - deadline) / 1e9
                try:
                    self.job.call_once()
                    self.consecutive_failures = 0
                except Exception as error:  # noqa: BLE001 - whatever the user's function may raise
                    self.consecutive_failures += 1
                    if not self.job.goes_on_after(error, self.consecutive_failures):
                        return False
                # In a child that the function has forked this thread is the only one, and not the timer's any more.
                return current_process() == self.process
        except SystemExit:
            # Not for `threading`, which reports whatever else is no Exception: only its default hook ignores this one.
            return False
        finally:
            self.now = monotonic_ns()
            if self.job.policy is MissedTick.SKIP:
                # Under a frozen clock there are more ticks than points of the grid.
                missed = grid_points_passed(self.now, self.start_ns, self.job.period) - self.ticks
                self.missed = max(missed, self.missed)

    def stop(self) -> None:
        """Have the thread end at the next opportunity."""
        try:  # noqa: SIM105 - importing contextlib costs more
            self.wake.release()
        except RuntimeError:
            # It has been released before.
            pass

    def join(self, timeout: float | None) -> bool:
        """Wait ``timeout`` seconds at most for a call that is under way, then for the thread: is it gone?

        Neither the thread itself waits, nor a signal handler that has interrupted this very method.
        """
        if self._is_joined_further_up():
            return False
        thread = self.thread
        if thread is None or not thread.is_alive():
            # A thread that has not begun yet will end before it calls anything.
            return True
        if thread.ident == threading.get_ident():
            return False
        # In a child that was forked from here, by a signal handler, the lock stays locked and the thread is gone.
        while timeout is None and self.calling.locked() and thread.is_alive():
            thread.join(_PATIENCE)
        if timeout is not None and self.calling.locked():
            thread.join(timeout)
            if self.calling.locked():
                return not thread.is_alive()
        # No call follows any more. If the thread holds the lock now, it only finds out that it is to end: do not look again.
        for _ in range(_ATTEMPTS):
            thread.join(_PATIENCE / _ATTEMPTS)
            if not thread.is_alive():
                break
        return not thread.is_alive()

    def _is_joined_further_up(self) -> bool:
        """Whether a signal handler has interrupted `join` of this run, and now calls it again.

        Before Python 3.13 a thread cannot join another one twice at once. Look at the stack, which is always right: a
        flag that `join` clears at its end would stay set for ever if an exception interrupted just that.
        """
        frame = sys._getframe(1).f_back
        while frame is not None:
            if frame.f_code is Run.join.__code__ and frame.f_locals["self"] is self:
                return True
            frame = frame.f_back
        return False
