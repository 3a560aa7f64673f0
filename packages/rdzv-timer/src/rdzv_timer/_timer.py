"""The timer that its user holds: it configures a job, starts and ends the run, and shows the counters."""

from __future__ import annotations

import sys
from _thread import TIMEOUT_MAX
from types import FunctionType, MethodType

from ._schedule import MissedTick

TYPE_CHECKING = False
if TYPE_CHECKING:  # pragma: no cover - only type checkers go here
    from collections.abc import Callable
    from datetime import timedelta
    from typing import Any, NoReturn, ParamSpec, TypeVar

    from ._run import Job, Process, Run

    P = ParamSpec("P")
    Self = TypeVar("Self", bound="PeriodicTimer")

_STARTED = "The timer has already started."

# `_thread.TIMEOUT_MAX` in nanoseconds, cut to whole seconds: the longest wait that the system can do.
_LONGEST = int(TIMEOUT_MAX) * 1_000_000_000

# CO_GENERATOR, CO_COROUTINE and CO_ASYNC_GENERATOR of `inspect`, whose import costs more than this package.
_RUNS_NOTHING = 0x20 | 0x80 | 0x200


def _runs_nothing(function: Any) -> bool:
    """Whether calling it only makes a coroutine or a generator, which somebody else would have to run."""
    # Without functools in sys.modules this is not a partial. From Python 3.13 on nothing else here imports it, which is slow.
    partial = getattr(sys.modules.get("functools"), "partial", ())
    if isinstance(function, partial):
        function = function.func
    if isinstance(function, MethodType):
        function = function.__func__
    if not isinstance(function, FunctionType):
        function = type(function).__call__
    return isinstance(function, FunctionType) and function.__code__.co_flags & _RUNS_NOTHING != 0


class PeriodicTimer:
    """Call ``function(*args, **kwargs)`` every ``interval``, on a daemon thread, until cancelled.

    The first call comes one interval after `start`, calls never overlap, and by default the next one starts one
    interval after the end of the last (`set_missed_tick`). The class takes the place of ``_PeriodicTimer`` of
    ``torch.distributed.elastic.rendezvous.utils``: same names, same defaults.

    An exception does not end the timer (`set_error_handler`). `SystemExit` ends it quietly. Anything else that is no
    `Exception`, such as `KeyboardInterrupt`, ends it and goes to `threading.excepthook`.

    Dropping the last reference ends the thread and waits for it, unless the function is running: then it ends after
    that call. A timer that is kept alive by its own function is never dropped: where an object owns the timer, pass a
    function of a weak reference to it, and not a bound method.

    In a forked child the timer is one that has not started, with counters at zero, and can be started; the parent's
    goes on. Where the function itself forks, the thread ends in the child after that call. An interpreter that exits
    does not wait for the timer. Any thread may call any method, at any time. A timer cannot be copied or pickled.

    The function must do its work when it is called. A call that returns a coroutine, or another awaitable that is no
    future and no task, counts as one that raises a TypeError, since nobody awaits it.

    Args:
        interval: More than zero and at most `threading.TIMEOUT_MAX` seconds.
        function: What to call; what it returns is ignored.
        *args: The arguments of ``function``.
        **kwargs: The keyword arguments of ``function``.

    Raises:
        TypeError: ``interval`` is no `datetime.timedelta`, or ``function`` cannot be called, or is a coroutine function
            or a generator function.
        ValueError: ``interval`` is out of range.
        OSError: At the first timer of a process, where no file descriptor is left to load the modules that it needs.

    Example:
        >>> from datetime import timedelta
        >>> from threading import Event
        >>> beat = Event()
        >>> with PeriodicTimer(timedelta(milliseconds=10), beat.set):
        ...     beat.wait()
        True
    """

    # While the interpreter shuts down, daemon threads are frozen, nothing can be imported, and the names of this module
    # may be gone. What finalizers may call asks this first, and then leaves everything as it is.
    _is_finalizing = staticmethod(sys.is_finalizing)

    def __init__(self, interval: timedelta, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        # Whoever has an interval to pass has imported datetime, and others need to pay for neither of them. No finalizer
        # comes here, where nothing can be imported any more.
        from datetime import timedelta

        from ._run import Job, Run, current_process

        if not isinstance(interval, timedelta):
            raise TypeError(f"The interval must be a datetime.timedelta, not {type(interval).__name__}.")
        # Without operators and methods, to which subclasses give a meaning of their own.
        period = (interval.days * 86_400 + interval.seconds) * 1_000_000_000 + interval.microseconds * 1000
        if not 0 < period <= _LONGEST:
            raise ValueError(f"The interval must be more than zero and at most {TIMEOUT_MAX} seconds, not {interval}.")
        if not callable(function):
            raise TypeError(f"The function must be callable, not {type(function).__name__}.")
        if _runs_nothing(function):
            raise TypeError("The function must do its work when it is called; this is a coroutine or generator function.")
        # Not functools.partial, for the sake of the import.
        self._job = Job(period, lambda: function(*args, **kwargs))
        self._run_class = Run
        self._current_process = current_process
        # The run whose thread has begun, of each process: a forked child never touches its parent's locks and thread.
        self._runs: dict[Process, Run] = {}
        # All runs that may ever call the function, whether or not their threads have begun.
        self._attempts: list[Run] = []

    def __del__(self) -> None:
        """End the thread, and wait for it unless the function is running."""
        # Where the constructor has raised there is nothing to end.
        if not self._is_finalizing() and hasattr(self, "_attempts"):
            self._end(0)

    def __reduce__(self) -> NoReturn:
        """Refuse to be copied or pickled: a copy would share the thread, and dropping it would end that."""
        raise TypeError("A timer can be neither copied nor pickled.")

    def __enter__(self: Self) -> Self:  # noqa: PYI019 - typing.Self came with Python 3.11
        """Start the timer."""
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Cancel the timer and wait for a call that is under way."""
        self.cancel()

    @property
    def name(self) -> str | None:
        """The name given with `set_name`, or None.

        >>> from datetime import timedelta
        >>> timer = PeriodicTimer(timedelta(seconds=5), print, "alive")
        >>> timer.name is None
        True
        """
        return self._job.name

    @property
    def is_running(self) -> bool:
        """Whether a thread of the timer runs in this process.

        It does from `start` until the timer has been cancelled, and the call under way then is over, or has ended by
        itself: by `SystemExit` or the like, or by the error handler. In a forked child it is False until `start`.

        >>> from datetime import timedelta
        >>> from threading import Event
        >>> beat = Event()
        >>> with PeriodicTimer(timedelta(milliseconds=10), beat.set) as timer:
        ...     timer.is_running
        True
        >>> timer.is_running
        False
        """
        run = self._current_run
        return run is not None and run.is_running

    @property
    def ticks(self) -> int:
        """How many calls have begun.

        >>> from datetime import timedelta
        >>> from threading import Event
        >>> beat = Event()
        >>> with PeriodicTimer(timedelta(milliseconds=10), beat.set) as timer:
        ...     _ = beat.wait()
        >>> timer.ticks >= 1
        True
        """
        return self._counters.ticks

    @property
    def missed(self) -> int:
        """How many points of the grid have passed without a call, under `MissedTick.SKIP`; otherwise 0.

        It is brought up to date after each call, and when the timer ends.

        >>> from datetime import timedelta
        >>> from time import sleep
        >>> timer = PeriodicTimer(timedelta(milliseconds=10), sleep, 0.035)
        >>> timer.set_missed_tick(MissedTick.SKIP)
        >>> with timer:
        ...     while not timer.missed:
        ...         sleep(0.01)
        >>> timer.missed >= 3
        True
        """
        return self._counters.missed

    @property
    def consecutive_failures(self) -> int:
        """How many calls in a row, up to now, have raised an exception.

        >>> from datetime import timedelta
        >>> from time import sleep
        >>> timer = PeriodicTimer(timedelta(milliseconds=10), int, "no number")
        >>> timer.set_error_handler(lambda error, failures: failures < 2)
        >>> with timer:
        ...     while timer.consecutive_failures < 2:
        ...         sleep(0.01)
        >>> timer.consecutive_failures
        2
        """
        return self._counters.consecutive_failures

    @property
    def lateness(self) -> float:
        """How late the newest call began, in seconds: load, or a thread that held the GIL for so long.

        >>> from datetime import timedelta
        >>> PeriodicTimer(timedelta(seconds=5), print, "alive").lateness  # no call yet
        0.0
        """
        return self._counters.lateness

    def set_name(self, name: str) -> None:
        """Name the thread, "PeriodicTimer" by default.

        Args:
            name: Any `str`, for debuggers and logs.

        Raises:
            RuntimeError: The timer has already started.
            TypeError: ``name`` is no `str`.

        Example:
            >>> from datetime import timedelta
            >>> timer = PeriodicTimer(timedelta(seconds=5), print, "alive")
            >>> timer.set_name("heartbeat")
            >>> timer.name
            'heartbeat'
        """
        job = self._unstarted_job()
        if not isinstance(name, str):
            raise TypeError(f"The name must be a str, not {type(name).__name__}.")
        job.name = name

    def set_missed_tick(self, policy: MissedTick) -> None:
        """Choose what becomes of the ticks that are missed during an overlong call; see `MissedTick` for timelines.

        With `MissedTick.DELAY`, the default, the next call starts one interval after the end of the last. With
        `MissedTick.SKIP` calls start on a grid of monotonic time, and the points that pass during a call, or while the
        machine is overloaded, are counted in `missed`; no burst of calls makes up for them.

        Args:
            policy: `MissedTick.DELAY` or `MissedTick.SKIP`.

        Raises:
            RuntimeError: The timer has already started.
            TypeError: ``policy`` is no `MissedTick`.

        Example:
            >>> from datetime import timedelta
            >>> timer = PeriodicTimer(timedelta(seconds=5), print, "alive")
            >>> timer.set_missed_tick(MissedTick.SKIP)
        """
        job = self._unstarted_job()
        if not isinstance(policy, MissedTick):
            raise TypeError(f"The policy must be MissedTick.DELAY or MissedTick.SKIP, not {policy!r}.")
        job.policy = policy

    def set_error_handler(self, handler: Callable[[Exception, int], object]) -> None:
        """Have ``handler(error, failures)`` called on the timer's thread after each call that raises an `Exception`.

        ``failures`` counts those in a row, this one included. The timer ends if the handler returns False, and goes on
        if it returns anything else. Without a handler the failures 1, 2, 4, 8 and so on in a row go to
        `threading.excepthook`; where the handler raises, both errors go there, for the same counts.

        Args:
            handler: What to call with the exception and the count, a whole number from 1 on.

        Raises:
            RuntimeError: The timer has already started.
            TypeError: ``handler`` cannot be called.

        Example:
            >>> from datetime import timedelta
            >>> timer = PeriodicTimer(timedelta(seconds=5), print, "alive")
            >>> timer.set_error_handler(lambda error, failures: failures < 3)
        """
        job = self._unstarted_job()
        if not callable(handler):
            raise TypeError(f"The handler must be callable as handler(error, failures), not {type(handler).__name__}.")
        job.error_handler = handler

    def set_jitter(self, fraction: float) -> None:
        """Delay each tick by a random part of up to ``fraction`` of the interval, lest many nodes tick at once.

        The grid of `MissedTick.SKIP` stays where it is; where delay and call together take more than the interval, the
        next point is missed. The generator of `random` is neither used nor disturbed.

        Args:
            fraction: From 0, the default, to 1, which is a whole interval.

        Raises:
            RuntimeError: The timer has already started.
            TypeError: ``fraction`` is no number.
            ValueError: ``fraction`` is not between 0 and 1.

        Example:
            >>> from datetime import timedelta
            >>> timer = PeriodicTimer(timedelta(seconds=5), print, "alive")
            >>> timer.set_jitter(0.1)  # up to half a second late
        """
        job = self._unstarted_job()
        if not isinstance(fraction, (int, float)):
            raise TypeError(f"The jitter must be a number between 0 and 1, not {type(fraction).__name__}.")
        if not 0 <= fraction <= 1:
            raise ValueError(f"The jitter must be between 0 and 1, as a fraction of the interval, not {fraction}.")
        job.jitter = min(int(fraction * job.period), _LONGEST - job.period)

    def start(self) -> None:
        """Start the timer. A timer starts once; cancelled, it stays so.

        An exception that interrupts this, such as Ctrl-C, leaves a timer that has started or one that has not: `cancel`
        ends it in both cases.

        Raises:
            RuntimeError: The timer has already started, or its thread cannot be: the interpreter is shutting down, the
                system has no room for another thread, or this is a sub-interpreter in which Python refuses daemon
                threads. Then it can be tried again.

        Example:
            >>> from datetime import timedelta
            >>> timer = PeriodicTimer(timedelta(seconds=5), print, "alive")
            >>> timer.start()
            >>> timer.start()
            Traceback (most recent call last):
            RuntimeError: The timer has already started.
            >>> timer.cancel()
            True
        """
        if self._is_finalizing():
            # Some Pythons would wait for ever for a thread that never gets to run.
            raise RuntimeError("The timer cannot be started: the interpreter is shutting down.")
        if self._current_run is not None:
            raise RuntimeError(_STARTED)
        # Ctrl-C, or a signal handler that raises, may interrupt this anywhere, so no step needs to be undone. `cancel`
        # knows of the run before its thread can begin. The timer counts as started once a thread has begun and has
        # entered its run; what never begins does not count.
        handled = sys.exc_info()[1]
        run = self._run_class(self._job)
        self._attempts.append(run)
        try:
            run.start(self._runs)
        except RuntimeError as error:
            interrupt = error.__context__
            if interrupt is not None and interrupt is not handled:
                # It has interrupted `threading`, which then could not release a lock.
                raise interrupt from None
            run.stop()
            if self._current_run is not run:
                self._attempts.remove(run)
            raise RuntimeError(f"The timer cannot be started: {error}.") from error
        # The thread takes the same step; of several runs the first one wins.
        if self._runs.setdefault(run.process, run) is not run:
            run.join(0)
            raise RuntimeError(_STARTED)

    def cancel(self, timeout: float | None = None) -> bool:
        """Stop the timer, and wait for a call that is under way; no other begins.

        Before `start` this does nothing, and the timer can still be started. It may be called again, and by many
        threads at once. In a signal handler give a timeout: the call may need the thread that the signal interrupted.

        Args:
            timeout: How long to wait for the call, in seconds; less than 0 is 0, and None is as long as it takes. A thread
                that only waits for its next tick ends at once.

        Returns:
            True when no thread of the timer runs any more; so too while the interpreter shuts down, where all daemon
            threads are frozen. False when that is still to come: the time was over before the call was, or this is the
            timer's own function or handler, which is never waited for, or a signal handler that has interrupted
            `cancel` of the same timer, or a thread that has nothing left to do does not get to end within seconds.

        Raises:
            TypeError: ``timeout`` is neither a number nor None. The timer goes on.
            ValueError: ``timeout`` is not a number, NaN. The timer goes on.

        Example:
            >>> from datetime import timedelta
            >>> from threading import Event
            >>> begun, stop = Event(), Event()
            >>> timer = PeriodicTimer(timedelta(milliseconds=10), lambda: begun.set() or stop.wait())
            >>> timer.start()
            >>> _ = begun.wait()
            >>> timer.cancel(timeout=0)  # the call is still under way
            False
            >>> stop.set()
            >>> timer.cancel()
            True
        """
        if self._is_finalizing():
            return True
        if timeout is not None:
            if not isinstance(timeout, (int, float)):
                raise TypeError(f"The timeout must be a number of seconds or None, not {type(timeout).__name__}.")
            if timeout != timeout:  # which is true of NaN only
                raise ValueError("The timeout must be a number of seconds or None, not nan.")
            timeout = min(max(timeout, 0), TIMEOUT_MAX)
        return self._end(timeout)

    def _end(self, timeout: float | None) -> bool:
        process = self._current_process()
        runs = [run for run in tuple(self._attempts) if run.process == process]
        for run in runs:
            run.stop()
        return all(run.join(timeout) for run in runs)

    @property
    def _current_run(self) -> Run | None:
        return self._runs.get(self._current_process())

    @property
    def _counters(self) -> Run | type[Run]:
        return self._current_run or self._run_class

    def _unstarted_job(self) -> Job:
        if self._current_run is not None:
            raise RuntimeError(_STARTED)
        return self._job
