"""How a timer starts and how it ends: cancelled, dropped, forked, at exit, and all of it at once."""

from __future__ import annotations

import copy
import functools
import gc
import itertools
import os
import pickle
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from fractions import Fraction
from typing import Any

import pytest
from rdzv_timer import MissedTick, PeriodicTimer, _run

HOUR = timedelta(hours=1)
SOON = timedelta(milliseconds=1)

ALREADY_STARTED = r"^The timer has already started\.$"

IS_PYPY = sys.implementation.name == "pypy"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


class Blocking:
    """A function that says when it has begun, and then runs until it may end."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.may_end = threading.Event()
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        self.begun.set()
        assert self.may_end.wait(60)


@pytest.fixture
def joins(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the threads that anything waits for, unless it takes no time."""
    joined: list[str] = []
    join = threading.Thread.join

    def record(thread: threading.Thread, timeout: float | None = None) -> None:
        if timeout != 0:
            joined.append(thread.name)
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", record)
    return joined


@contextmanager
def impatient() -> Iterator[None]:
    """Nothing is waited for any longer than a moment; only for what must not end, since what may end has to get its turn."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "_PATIENCE", 0.01)
        yield


# What PyTorch's own tests ask


def test_start_can_be_called_only_once() -> None:
    """The second start is refused, while the timer runs and after it has been cancelled."""
    timer = PeriodicTimer(HOUR, print)
    timer.start()
    with pytest.raises(RuntimeError, match=ALREADY_STARTED):
        timer.start()
    timer.cancel()
    with pytest.raises(RuntimeError, match=ALREADY_STARTED):
        timer.start()


def test_cancel_stops_the_thread() -> None:
    """Right after cancel the thread is gone; cancelling again changes nothing."""
    timer = PeriodicTimer(HOUR, print)
    timer.start()
    assert "PeriodicTimer" in names()
    for _ in range(3):
        assert timer.cancel() is True
        assert "PeriodicTimer" not in names()


def test_dropping_the_timer_stops_the_thread() -> None:
    """Right after the last reference is gone, so is the thread; where there is no counting, after a collection."""
    timer = PeriodicTimer(HOUR, print)
    timer.start()
    assert "PeriodicTimer" in names()
    del timer
    if IS_PYPY:
        gc.collect()
    assert "PeriodicTimer" not in names()


def test_calls_begin_a_whole_interval_after_the_last_has_ended() -> None:
    """By default `time.monotonic` shows at least the interval between the end of a call and the next one's begin."""
    intervals: list[float] = []
    done = threading.Event()
    ended = 0.0

    def log_call() -> None:
        nonlocal ended
        intervals.append(time.monotonic() - ended)
        if len(intervals) == 5:
            done.set()
        ended = time.monotonic()

    ended = time.monotonic()
    with PeriodicTimer(timedelta(milliseconds=20), log_call):
        assert done.wait(60)
    assert len(intervals) >= 5
    assert min(intervals) >= 0.02


# Cancel


def test_a_timer_can_be_cancelled_before_it_starts() -> None:
    """Cancel before start is True at once, and start still works."""
    beat = threading.Event()
    timer = PeriodicTimer(SOON, beat.set)
    assert timer.cancel() is True
    timer.start()
    assert beat.wait(60)
    assert timer.cancel() is True


def test_no_call_begins_after_cancel() -> None:
    """Once cancel is True, the function is never called again."""
    calls: list[int] = []
    beat = threading.Event()

    def function() -> None:
        calls.append(1)
        beat.set()

    timer = PeriodicTimer(SOON, function)
    timer.start()
    assert beat.wait(60)
    assert timer.cancel() is True
    assert timer.ticks == len(calls)
    beat.clear()
    assert not beat.wait(0.02)


def test_the_context_manager_starts_and_waits() -> None:
    """Entering starts the timer; leaving, also by an exception, waits for the call that is under way."""
    function = Blocking()
    timer = PeriodicTimer(SOON, function)

    def fail_within() -> None:
        with timer as entered:
            assert entered is timer
            assert function.begun.wait(60)
            threading.Timer(0.01, function.may_end.set).start()
            raise KeyError

    with pytest.raises(KeyError):
        fail_within()
    assert function.may_end.is_set()
    assert "PeriodicTimer" not in names()


def test_cancel_from_the_function_is_false_at_once_and_stops_after_the_call(
    run_to_end: Callable[[PeriodicTimer], None], hook: list[threading.ExceptHookArgs]
) -> None:
    """A function that cancels its own timer goes on to its end, and is not called again."""
    answers: list[bool] = []

    def function() -> None:
        answers.append(timer.cancel())
        answers.append(timer.cancel(timeout=60))

    timer = PeriodicTimer(SOON, function)
    run_to_end(timer)
    assert answers == [False, False]
    assert hook == []


def test_cancel_from_the_error_handler_is_false_at_once(run_to_end: Callable[[PeriodicTimer], None]) -> None:
    """A handler that cancels the timer is not waited for either."""
    answers: list[bool] = []
    timer = PeriodicTimer(SOON, int, "not a number")
    timer.set_error_handler(lambda error, failures: answers.append(timer.cancel()))
    run_to_end(timer)
    assert answers == [False]


def test_cancel_waits_for_a_blocking_function_as_long_as_it_is_told_to() -> None:
    """With a timeout cancel is False while the function blocks, and True once it has ended; it stops in any case."""
    function = Blocking()
    timer = PeriodicTimer(SOON, function)
    timer.start()
    assert function.begun.wait(60)
    assert timer.cancel(timeout=0) is False
    assert timer.cancel(timeout=0.01) is False
    assert timer.cancel(timeout=-1) is False
    assert timer.cancel(timeout=-0.5) is False
    function.may_end.set()
    assert timer.cancel(timeout=float("inf")) is True
    assert function.calls == 1


@pytest.mark.parametrize("timeout", [0, -1])
def test_cancel_with_no_time_does_not_wait_at_all(joins: list[str], timeout: int) -> None:
    """Zero is zero."""
    function = Blocking()
    timer = PeriodicTimer(SOON, function)
    timer.start()
    assert function.begun.wait(60)
    assert timer.cancel(timeout=timeout) is False
    assert joins == []
    function.may_end.set()
    assert timer.cancel() is True


def test_two_threads_that_cancel_both_wait_for_the_end(joins: list[str]) -> None:
    """No cancel returns before the thread has ended, the second no earlier than the first."""
    function, answers = Blocking(), list[object]()
    timer = PeriodicTimer(SOON, function)
    timer.start()
    assert function.begun.wait(60)
    threads = [threading.Thread(target=lambda: answers.append((timer.cancel(), "PeriodicTimer" in names()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    while joins.count("PeriodicTimer") < 2:
        assert answers == []
        time.sleep(0)
    function.may_end.set()
    for thread in threads:
        thread.join(60)
    assert answers == [(True, False), (True, False)]


def test_a_start_that_another_one_overtakes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two starts at once the later one can win: then the other's thread ends without a call."""
    start = threading.Thread.start
    timer = PeriodicTimer(HOUR, print)

    def overtaken(thread: threading.Thread) -> None:
        patch.undo()
        timer.start()
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", overtaken)
        with pytest.raises(RuntimeError, match=ALREADY_STARTED):
            timer.start()
    assert names().count("PeriodicTimer") == 1
    assert timer.cancel() is True
    assert "PeriodicTimer" not in names()


def test_two_threads_that_start_make_one_thread() -> None:
    """Of threads that start the same timer at once one succeeds, the others are told that it has started."""
    for _ in range(50):
        timer, barrier, refused = PeriodicTimer(HOUR, print), threading.Barrier(4), list[str]()

        def start(timer: PeriodicTimer = timer, barrier: Any = barrier, refused: list[str] = refused) -> None:
            barrier.wait(60)
            try:
                timer.start()
            except RuntimeError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert names().count("PeriodicTimer") == 1
        assert refused == ["The timer has already started."] * 3
        assert timer.cancel() is True


def test_cancel_while_another_thread_starts_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel that meets a start half done is True, does not wait, and the function is never called."""
    answers: list[bool] = []
    start = threading.Thread.start

    def interrupted(thread: threading.Thread) -> None:
        # What a signal handler would do that runs at this moment, on this thread.
        answers.append(timer.cancel())
        start(thread)

    timer = PeriodicTimer(SOON, print)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        timer.start()
    assert answers == [True]
    assert timer.cancel() is True
    assert timer.ticks == 0
    with pytest.raises(RuntimeError, match=ALREADY_STARTED):
        timer.start()


def test_a_cancel_just_before_the_call_prevents_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cancel that comes when the thread has done waiting, and has not called yet, prevents the call."""
    done_waiting, may_go_on = threading.Event(), threading.Event()

    def wait(wake: threading.Lock, seconds: float) -> bool:
        done_waiting.set()
        assert may_go_on.wait(60)
        return False

    monkeypatch.setattr(_run, "wait", wait)
    monkeypatch.setattr(_run, "monotonic_ns", lambda: may_go_on.is_set() * 3601 * 10**9)
    timer = PeriodicTimer(HOUR, print)
    timer.start()
    assert done_waiting.wait(60)
    with impatient():
        assert timer.cancel(timeout=0) is False
    may_go_on.set()
    assert timer.cancel() is True
    assert timer.ticks == 0


@pytest.mark.parametrize("timeout", [None, 60])
@pytest.mark.parametrize("asked", [1, 2, 3])
def test_a_tick_that_comes_during_a_cancel_is_no_call(monkeypatch: pytest.MonkeyPatch, asked: int, timeout: int | None) -> None:
    """The thread may take the lock, only to find out that it has to end, whenever cancel has just found it free."""
    is_due, taken, may_find_out = threading.Event(), threading.Event(), threading.Event()

    class Calling:
        """The lock around calls, which the thread takes after so many questions whether it is taken, and keeps."""

        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.questions = 0

        def locked(self) -> bool:
            is_locked = self.lock.locked()
            self.questions += 1
            if self.questions == asked:
                is_due.set()
                assert taken.wait(60)
            return is_locked

        def __enter__(self) -> None:
            self.lock.acquire()
            taken.set()
            assert may_find_out.wait(60)

        def __exit__(self, *exc_info: object) -> None:
            self.lock.release()

    join = threading.Thread.join

    def let_it_end(thread: threading.Thread, timeout: float | None = None) -> None:
        is_due.set()
        may_find_out.set()
        join(thread, timeout)

    monkeypatch.setattr(_run, "wait", lambda wake, seconds: not is_due.wait(60))
    monkeypatch.setattr(_run, "monotonic_ns", lambda: is_due.is_set() * 3601 * 10**9)
    timer = PeriodicTimer(HOUR, print)
    timer.start()
    [run] = timer._runs.values()
    monkeypatch.setattr(run, "calling", Calling())
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", let_it_end)
        assert timer.cancel(timeout) is True
    assert timer.ticks == 0


def test_a_cancel_that_interrupts_a_cancel_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that cancels, where it has interrupted a cancel of the same timer, gets False at once."""
    answers: list[bool] = []
    join = threading.Thread.join

    def interrupted(thread: threading.Thread, timeout: float | None = None) -> None:
        answers.append(timer.cancel())
        function.may_end.set()
        join(thread, timeout)

    function = Blocking()
    timer = PeriodicTimer(SOON, function)
    timer.start()
    assert function.begun.wait(60)
    # Undone before the timer goes: CPython 3.11 crashes if a finalizer calls the method that is just being replaced.
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        assert timer.cancel() is True
    assert set(answers) == {False}


@pytest.mark.parametrize("timeout", [None, 60])
def test_one_attempt_that_was_in_vain_is_not_the_last(monkeypatch: pytest.MonkeyPatch, timeout: int | None) -> None:
    """A C call that holds the GIL, or a process that is stopped, may cost one; the thread gets its turn after it."""
    attempts: list[float | None] = []
    join = threading.Thread.join

    def first_in_vain(thread: threading.Thread, timeout: float | None = None) -> None:
        attempts.append(timeout)
        if len(attempts) > 1:
            join(thread, timeout)

    timer = PeriodicTimer(HOUR, print)
    timer.start()
    [run] = timer._runs.values()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", first_in_vain)
        # It has ended meanwhile, or it has not: what counts is that it is asked again.
        patch.setattr(run.thread, "is_alive", lambda: len(attempts) < 2)
        assert timer.cancel(timeout) is True
    assert attempts == [0.1, 0.1]


def test_a_thread_that_cannot_end_is_not_waited_for_without_end() -> None:
    """A cancel that interrupts code of `threading`, which the thread needs to end, is False after some patience."""
    timer = PeriodicTimer(HOUR, print)
    timer.start()
    # What `threading.enumerate`, for one, holds while it runs, and a thread needs to take itself off the list.
    with threading._active_limbo_lock, impatient():  # type: ignore[attr-defined]
        assert timer.cancel() is False
    assert timer.cancel() is True


def test_a_thread_that_cannot_end_after_its_call_is_not_waited_for_without_end(joins: list[str]) -> None:
    """The same holds where the call was still under way: cancel waits for that as long as it takes, then with patience."""
    function = Blocking()
    timer = PeriodicTimer(SOON, function)
    timer.start()
    assert function.begun.wait(60)
    helping = threading.Event()

    def end_the_call() -> None:
        helping.set()
        while "PeriodicTimer" not in joins:
            time.sleep(0)
        function.may_end.set()

    helper = threading.Thread(target=end_the_call)
    helper.start()
    # Thread.start returns before the new thread has put itself on the list, for which it needs the lock taken here.
    assert helping.wait(60)
    with threading._active_limbo_lock, impatient():  # type: ignore[attr-defined]
        assert timer.cancel() is False
        assert function.may_end.is_set()
    assert timer.cancel() is True
    helper.join(60)


def test_a_timer_that_ended_by_itself_is_cancelled(run_to_end: Callable[[PeriodicTimer], None]) -> None:
    """Where the function has ended the timer, cancel is True and start is refused."""
    timer = PeriodicTimer(SOON, sys.exit)
    run_to_end(timer)
    assert timer.cancel() is True
    with pytest.raises(RuntimeError, match=ALREADY_STARTED):
        timer.start()


def test_a_thread_that_came_by_the_identifier_of_the_ended_one_is_not_taken_for_it(
    run_to_end: Callable[[PeriodicTimer], None],
) -> None:
    """Systems give the identifiers of ended threads to new ones, and cancel is True there too."""
    answers: list[bool] = []
    timer = PeriodicTimer(SOON, sys.exit)
    run_to_end(timer)
    for _ in range(3):
        thread = threading.Thread(target=lambda: answers.append(timer.cancel()))
        thread.start()
        thread.join(60)
    assert answers == [True] * 3


def test_a_bad_timeout_is_an_error_and_does_not_cancel() -> None:
    """What is no time is refused before anything happens."""
    timer = PeriodicTimer(HOUR, print)
    timer.start()
    number = "The timeout must be a number of seconds or None, not "
    with pytest.raises(TypeError, match=f"^{number}str.$"):
        timer.cancel("soon")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=f"^{number}Fraction.$"):
        timer.cancel(Fraction(1, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"^{number}nan.$"):
        timer.cancel(float("nan"))
    assert timer.is_running
    timer.cancel()


@pytest.mark.parametrize("copy", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_timer_is_not_copied(copy: Callable[[PeriodicTimer], object]) -> None:
    """Of two timers with one thread, dropping one would end the other: copying and pickling are refused."""
    with PeriodicTimer(HOUR, print) as timer:
        with pytest.raises(TypeError, match=r"^A timer can be neither copied nor pickled\.$"):
            copy(timer)
        assert timer.is_running


# Whether it runs


def test_a_timer_runs_from_start_until_its_last_call_is_over() -> None:
    """It does while the call is under way during which it was cancelled."""
    function = Blocking()
    timer = PeriodicTimer(SOON, function)
    assert not timer.is_running
    timer.start()
    assert timer.is_running
    assert function.begun.wait(60)
    assert timer.cancel(timeout=0) is False
    assert timer.is_running
    function.may_end.set()
    assert timer.cancel() is True
    assert not timer.is_running


def test_a_timer_that_ended_by_itself_does_not_run(run_to_end: Callable[[PeriodicTimer], None]) -> None:
    """Where the function has ended it, or the error handler."""
    ended, given_up = PeriodicTimer(SOON, sys.exit), PeriodicTimer(SOON, int, "no number")
    given_up.set_error_handler(lambda error, failures: False)
    for timer in (ended, given_up):
        run_to_end(timer)
        assert not timer.is_running


# Dropped


def test_dropping_the_timer_while_its_function_runs_does_not_wait(joins: list[str]) -> None:
    """The last reference can go while the function blocks; the call ends, and no other comes."""
    function = Blocking()
    timer = PeriodicTimer(SOON, function)
    timer.start()
    assert function.begun.wait(60)
    thread = next(thread for thread in threading.enumerate() if thread.name == "PeriodicTimer")
    del timer
    gc.collect()
    assert joins == []
    assert thread.is_alive()
    function.may_end.set()
    thread.join(60)
    assert not thread.is_alive()
    assert function.calls == 1


def test_the_function_may_drop_the_last_reference(hook: list[threading.ExceptHookArgs]) -> None:
    """A timer that its own function drops ends after the call, without an error."""
    calls: list[int] = []
    started = threading.Event()

    def function() -> None:
        calls.append(1)
        assert started.wait(60)
        timers.clear()
        gc.collect()

    timers = [PeriodicTimer(SOON, function)]
    timers[0].start()
    thread = next(thread for thread in threading.enumerate() if thread.name == "PeriodicTimer")
    started.set()
    thread.join(60)
    assert not thread.is_alive()
    assert calls == [1]
    assert hook == []


def test_the_timer_and_its_thread_are_no_cycle() -> None:
    """A running timer that is dropped needs no garbage collector, nor does what it was to call."""

    class Owned:
        def beat(self) -> None:
            pass

    gc.disable()
    try:
        owned = Owned()
        gone = weakref.ref(owned)
        timer = PeriodicTimer(HOUR, owned.beat)
        timer.set_error_handler(lambda error, failures: None)
        timer.start()
        del timer, owned
        if IS_PYPY:
            for _ in range(3):
                gc.collect()
        assert "PeriodicTimer" not in names()
        assert gone() is None
    finally:
        gc.enable()


def test_a_failing_function_leaves_no_garbage(
    run_to_end: Callable[[PeriodicTimer], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Errors, from the function and from the handler, are gone once they have been dealt with."""
    errors: list[weakref.ref[BaseException]] = []

    class BeatError(Exception):
        def __init__(self) -> None:
            errors.append(weakref.ref(self))

    def fail(*_: object) -> None:
        if len(errors) == 8:
            raise SystemExit
        raise BeatError

    monkeypatch.setattr(threading, "excepthook", lambda args: None)
    gc.disable()
    try:
        timer = PeriodicTimer(SOON, fail)
        timer.set_error_handler(fail)
        run_to_end(timer)
        if IS_PYPY:
            gc.collect()
        assert [error() for error in errors] == [None] * 8
    finally:
        gc.enable()


def test_a_collection_may_find_the_timer_at_any_moment() -> None:
    """A timer in a cycle is ended by the garbage collector, also on another timer's thread."""

    class Cycle:
        def __init__(self) -> None:
            self.myself = self
            self.timer = PeriodicTimer(HOUR, print)
            self.timer.set_name("in a cycle")
            self.timer.start()

    collected = threading.Event()

    def collect() -> None:
        gc.collect()
        collected.set()

    Cycle()
    with PeriodicTimer(SOON, collect):
        assert collected.wait(60)
    gc.collect()
    assert "in a cycle" not in names()


def test_a_collection_on_the_timers_own_thread_does_not_wait_for_itself(
    monkeypatch: pytest.MonkeyPatch, hook: list[threading.ExceptHookArgs]
) -> None:
    """The collector may run the finalizer on the very thread that it is to end, between two calls."""
    collected = threading.Event()

    class Cycle:
        def __init__(self) -> None:
            self.myself = self
            self.timer = PeriodicTimer(HOUR, print)
            self.timer.start()

    def wait(wake: threading.Lock, seconds: float) -> bool:
        assert dropped.wait(60)
        while not wake.acquire(blocking=False):
            gc.collect()
        collected.set()
        return True

    dropped = threading.Event()
    monkeypatch.setattr(_run, "wait", wait)
    gc.disable()
    try:
        Cycle()
        dropped.set()
        assert collected.wait(60)
    finally:
        gc.enable()
    assert hook == []


def test_a_timer_that_was_refused_or_never_started_can_be_dropped(capsys: pytest.CaptureFixture[str]) -> None:
    """The finalizer has nothing to say about a timer whose constructor has raised, and about one that never ran."""
    with pytest.raises(TypeError):
        PeriodicTimer(1, print)  # type: ignore[arg-type]
    PeriodicTimer(HOUR, print)
    gc.collect()
    assert capsys.readouterr().err == ""


# The interpreter's end


def test_a_thread_that_cannot_be_started_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python refuses the thread, start says why, and can be called again."""
    timer = PeriodicTimer(HOUR, print)

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        try:
            raise OSError("no connection, so start a timer")
        except OSError:
            with pytest.raises(
                RuntimeError, match=r"^The timer cannot be started: can't create new thread at interpreter shutdown\.$"
            ):
                timer.start()
    assert timer.cancel() is True
    with timer:
        assert "PeriodicTimer" in names()


def is_interrupted(call: Callable[[], object], at: int, before: Callable[[], object] = int) -> bool:
    """Raise KeyboardInterrupt at so many instructions of the timer's into the call; False where it is over before."""
    folder, left = os.path.dirname(_run.__file__), at

    def trace(frame: Any, event: str, arg: object) -> Any:
        nonlocal left
        if os.path.dirname(frame.f_code.co_filename) != folder:
            return None
        frame.f_trace_opcodes = True
        left -= 1
        if left < 0:
            sys.settrace(None)
            before()
            raise KeyboardInterrupt
        return trace

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(outer)
    return False


# With coverage's tracer beside it 3.12 dies of a segmentation fault now and then: CPython changes the instructions of code that
# another thread runs. The environments without coverage run these tests.
traces_instructions = pytest.mark.skipif(
    sys.version_info >= (3, 12) and sys.gettrace() is not None,
    reason="another tracer is active, beside which CPython may crash",
)


@traces_instructions
@pytest.mark.parametrize("then", ["start", "cancel"])
def test_a_start_may_be_interrupted_at_any_instruction(then: str) -> None:
    """Ctrl-C during a start: where the thread has begun, cancel waits for its call; otherwise start works again."""

    def let_a_call_begin(function: Blocking) -> None:
        if "PeriodicTimer" in names():
            assert function.begun.wait(60)

    for at in itertools.count():
        function = Blocking()
        timer = PeriodicTimer(SOON, function)
        if not is_interrupted(timer.start, at, before=functools.partial(let_a_call_begin, function)):
            function.may_end.set()
            assert at > 20
            break
        has_begun = function.begun.is_set()
        if then == "start":
            with pytest.raises(RuntimeError, match=ALREADY_STARTED) if has_begun else nullcontext():
                timer.start()
            has_begun = function.begun.wait(60)
        assert timer.cancel(timeout=0) is not has_begun
        function.may_end.set()
        assert timer.cancel() is True
        assert "PeriodicTimer" not in names()
        assert function.calls == has_begun


@traces_instructions
def test_a_cancel_may_be_interrupted_at_any_instruction() -> None:
    """Ctrl-C during a cancel: the next one ends the timer."""
    for at in itertools.count():
        timer = PeriodicTimer(HOUR, print)
        timer.start()
        interrupted = is_interrupted(timer.cancel, at)
        assert timer.cancel() is True
        assert "PeriodicTimer" not in names()
        if not interrupted:
            assert at > 20
            break


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, RuntimeError])
def test_a_thread_that_begins_after_a_cancel_calls_nothing(
    monkeypatch: pytest.MonkeyPatch, run_to_end: Callable[[PeriodicTimer], None], interrupt: type[BaseException]
) -> None:
    """Where an interrupt has left a thread that is yet to begin, cancel is True, and the timer can still be started."""
    begins = list[Callable[[], None]]()

    def start(thread: threading.Thread) -> None:
        begins.append(thread.run)
        raise interrupt

    timer = PeriodicTimer(SOON, sys.exit)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(interrupt):
            timer.start()
    assert timer.cancel() is True
    begins[0]()
    assert timer.ticks == 0
    run_to_end(timer)
    assert timer.ticks == 1


def test_an_interrupt_that_strikes_the_locks_of_threading_comes_out_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C where a lock of `threading` is then released twice is Ctrl-C, and the thread that has begun is known."""
    start = threading.Thread.start

    def interrupt(thread: threading.Thread) -> None:
        start(thread)
        try:
            raise KeyboardInterrupt
        finally:
            threading.Lock().release()

    timer = PeriodicTimer(HOUR, print)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            timer.start()
    assert timer.cancel() is True
    assert "PeriodicTimer" not in names()


@pytest.mark.skipif(sys.version_info < (3, 12) or IS_PYPY, reason="no interpreter of this version refuses daemon threads")
def test_a_sub_interpreter_that_refuses_daemon_threads_is_a_clear_error(program: Callable[[str], list[str]]) -> None:
    """There start says why it cannot, and cancel has nothing to do."""
    output = program("""
        try:
            import _interpreters as interpreters
        except ImportError:
            import _xxsubinterpreters as interpreters

        interpreter = interpreters.create()
        error = interpreters.run_string(interpreter, '''if True:
            from datetime import timedelta
            from rdzv_timer import PeriodicTimer

            timer = PeriodicTimer(timedelta(hours=1), print)
            try:
                timer.start()
            except RuntimeError as error:
                print(str(error).replace(" ", "_"), timer.cancel(), timer.is_running)
        ''')
        interpreters.destroy(interpreter)
        if error is not None:
            print(error)
    """)
    assert output == ["The_timer_cannot_be_started:_daemon_threads_are_disabled_in_this_(sub)interpreter.", "True", "False"]


def test_a_start_may_be_interrupted_by_what_looks_like_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler that raises a RuntimeError when the thread has begun ends the timer; cancel waits for the call."""
    function, start = Blocking(), threading.Thread.start

    def interrupt(thread: threading.Thread) -> None:
        start(thread)
        assert function.begun.wait(60)
        raise RuntimeError("from a signal handler")

    timer = PeriodicTimer(SOON, function)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(RuntimeError, match="from a signal handler"):
            timer.start()
    assert timer.cancel(timeout=0) is False
    function.may_end.set()
    assert timer.cancel() is True
    assert function.calls == 1


def test_nothing_is_started_or_waited_for_once_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch, joins: list[str]) -> None:
    """While the interpreter shuts down start is a clear error, and cancel does not wait for a frozen thread."""
    function = Blocking()
    timer, late = PeriodicTimer(SOON, function), PeriodicTimer(SOON, print)
    timer.start()
    assert function.begun.wait(60)
    with monkeypatch.context() as patch:
        patch.setattr(PeriodicTimer, "_is_finalizing", lambda self: True)
        with pytest.raises(RuntimeError, match=r"^The timer cannot be started: the interpreter is shutting down\.$"):
            late.start()
        assert timer.cancel() is True
    assert joins == []
    function.may_end.set()
    assert timer.cancel() is True


@pytest.mark.parametrize("kept", ["timer", "[timer]", "globals()"])
def test_the_program_ends_while_the_function_sleeps(program: Callable[[str], list[str]], kept: str) -> None:
    """A program does not wait for its timers at exit, whatever holds them, and prints nothing about them."""
    output = program(f"""
        import threading, time
        from datetime import timedelta
        from rdzv_timer import PeriodicTimer

        begun = threading.Event()

        def function():
            begun.set()
            time.sleep(3600)

        timer = PeriodicTimer(timedelta(milliseconds=1), function)
        timer.kept = {kept}
        timer.start()
        idle = PeriodicTimer(timedelta(hours=1), function)
        idle.start()
        begun.wait()
        print("end")
    """)
    assert output == ["end"]


def test_the_program_ends_while_timers_tick(program: Callable[[str], list[str]]) -> None:
    """A program ends in silence also where its timers are busy, fail and are dropped at that moment."""
    output = program("""
        import sys, threading
        from datetime import timedelta
        from rdzv_timer import MissedTick, PeriodicTimer

        sys.setswitchinterval(1e-5)
        begun = threading.Semaphore(0)
        timers = []
        for n in range(20):
            timer = PeriodicTimer(timedelta(microseconds=100), begun.release)
            timer.set_missed_tick(MissedTick.SKIP)
            timer.start()
            timers.append(timer)
        for n in range(100):
            begun.acquire()
        print("end")
    """)
    assert output == ["end"]


@pytest.mark.skipif(IS_PYPY, reason="PyPy runs no finalizers at exit")
def test_a_finalizer_may_use_timers_while_the_interpreter_ends(program: Callable[[str], list[str]]) -> None:
    """In a finalizer at exit start is a clear error, and cancel neither hangs nor raises."""
    output = program("""
        import os, time
        from datetime import timedelta
        from rdzv_timer import PeriodicTimer

        class Owner:
            def __init__(self):
                # A function of this script would keep the script, and so this owner, from being finalized.
                self.running = PeriodicTimer(timedelta(milliseconds=1), time.sleep, 3600)
                self.late = PeriodicTimer(timedelta(milliseconds=1), time.sleep, 0)
                self.running.start()

            # Bound now, as in every finalizer that runs so late.
            def __del__(self, write=os.write):
                self.running.cancel()
                write(1, b"cancelled ")
                try:
                    self.late.start()
                except RuntimeError as error:
                    write(1, str(error).replace(" ", "_").encode())

        owner = Owner()
        while not owner.running.ticks:
            time.sleep(0.001)
    """)
    assert output == ["cancelled", "The_timer_cannot_be_started:_the_interpreter_is_shutting_down."]


def test_an_exit_handler_may_use_timers(program: Callable[[str], list[str]]) -> None:
    """In an exit handler start works or is a clear error, by the version of Python, and cancel waits for the thread."""
    output = program("""
        import atexit, threading
        from datetime import timedelta
        from rdzv_timer import PeriodicTimer

        def function():
            pass

        def at_exit():
            print(running.cancel())
            try:
                late.start()
            except RuntimeError as error:
                print(str(error).startswith("The timer cannot be started: "))
            else:
                print(late.cancel())

        running = PeriodicTimer(timedelta(milliseconds=1), function)
        late = PeriodicTimer(timedelta(milliseconds=1), function)
        running.start()
        atexit.register(at_exit)
    """)
    assert output == ["True", "True"]


def test_a_signal_handler_may_cancel(program: Callable[[str], list[str]]) -> None:
    """A signal that arrives while the main thread starts, cancels or drops timers can cancel them all."""
    output = program("""
        import signal, sys, threading
        from datetime import timedelta
        from rdzv_timer import PeriodicTimer, _run

        # A signal that interrupts the locks of `threading` costs as much, and the test would take as long.
        _run._PATIENCE = 0.1
        signals = 0

        def cancel_all(number, frame):
            global signals
            signals += 1
            for timer in list(timers):
                timer.cancel()

        def function():
            signal.raise_signal(signal.SIGTERM)

        timers = []
        signal.signal(signal.SIGTERM, cancel_all)
        sys.setswitchinterval(1e-5)
        while signals < 50:
            timers = [PeriodicTimer(timedelta(microseconds=50), function) for n in range(3)]
            for timer in timers:
                timer.start()
            for timer in timers:
                timer.cancel()
        print("end")
    """)
    assert output == ["end"]


# Fork


FORK = """
    import os, sys, threading, time
    from datetime import timedelta
    from rdzv_timer import MissedTick, PeriodicTimer

    def in_child(function):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                function()
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""


# What a child sees that is number 1 of its PID namespace, as its parent is of its own.
SAME_PID = """
    import os
    os.getpid = lambda: 1
"""


@needs_fork
@pytest.mark.parametrize("pids", [pytest.param("", id="own pid"), pytest.param(SAME_PID, id="same pid")])
def test_a_forked_child_can_start_the_timer_again(program: Callable[[str], list[str]], pids: str) -> None:
    """In a child the timer is one that has not started; the parent's goes on. No fork of many deadlocks."""
    output = program(
        pids
        + FORK
        + """
    sys.setswitchinterval(1e-5)
    beat = threading.Event()
    timer = PeriodicTimer(timedelta(microseconds=100), lambda: beat.set())
    timer.set_missed_tick(MissedTick.SKIP)
    timer.start()
    beat.wait()

    def child():
        assert timer.cancel() is True
        assert not timer.is_running
        assert (timer.ticks, timer.missed, timer.lateness) == (0, 0, 0.0)
        timer.set_jitter(0.5)
        # The parent's timer may have held a lock of the old one when it was forked.
        global beat
        beat = threading.Event()
        timer.start()
        assert beat.wait(30)
        assert timer.ticks > 0
        try:
            timer.start()
        except RuntimeError as error:
            assert str(error) == "The timer has already started."
        else:
            raise AssertionError
        assert timer.cancel() is True

    print([in_child(child) for n in range(40)] == [0] * 40)
    beat.clear()
    print(beat.wait(30), timer.cancel())
    """
    )
    assert output == ["True", "True", "True"]


@needs_fork
def test_a_hook_at_fork_can_start_the_timer_again(program: Callable[[str], list[str]]) -> None:
    """In the child it can, also where it runs before every hook of the timer's own."""
    output = program(
        """
    import os
    os.register_at_fork(after_in_child=lambda: timer.start())
    """
        + FORK
        + """
    timer = PeriodicTimer(timedelta(hours=1), print)
    timer.start()
    print(in_child(lambda: None), timer.cancel())
    """
    )
    assert output == ["0", "True"]


@needs_fork
def test_a_forked_child_can_drop_the_timer(program: Callable[[str], list[str]]) -> None:
    """A child that drops the timer, idle or in its function, waits for nobody, and ends as it would have."""
    output = program(
        FORK
        + """
    import gc
    begun = threading.Event()

    def function():
        begun.set()
        time.sleep(3600)

    timers = [PeriodicTimer(timedelta(hours=1), function), PeriodicTimer(timedelta(milliseconds=1), function)]
    for timer in timers:
        timer.start()
    begun.wait()

    def child():
        global timer
        del timer
        timers.clear()
        gc.collect()

    print(in_child(child), len(timers), timers[0].cancel())
    """
    )
    assert output == ["0", "2", "True"]


@needs_fork
def test_a_signal_handler_that_interrupts_a_cancel_may_fork(program: Callable[[str], list[str]]) -> None:
    """In the child there is no thread to wait for, whatever the state it was in."""
    output = program(
        FORK
        + """
    begun = threading.Event()
    may_end = threading.Event()

    def function():
        begun.set()
        may_end.wait()

    join = threading.Thread.join
    pids = []

    def interrupted(thread, timeout=None):
        # What a signal handler would do that runs at this moment: it returns in both.
        if not pids:
            pids.append(os.fork())
            if pids[0]:
                may_end.set()
        join(thread, timeout)

    timer = PeriodicTimer(timedelta(milliseconds=1), function)
    timer.start()
    begun.wait()
    threading.Thread.join = interrupted
    answer = timer.cancel()
    if pids[0] == 0:
        os._exit(0 if answer else 1)
    print(answer, os.waitstatus_to_exitcode(os.waitpid(pids[0], 0)[1]))
    """
    )
    assert output == ["True", "0"]


@needs_fork
@pytest.mark.parametrize("pids", [pytest.param("", id="own pid"), pytest.param(SAME_PID, id="same pid")])
def test_the_function_may_fork(program: Callable[[str], list[str]], pids: str) -> None:
    """Of a function that forks, the child is called no more: its thread, and so the child, ends with that call."""
    output = program(
        pids
        + FORK
        + """
    statuses, calls = [], []
    done = threading.Event()
    is_child = False

    def function():
        global is_child
        calls.append(None)
        if is_child:
            os._exit(99)
        pid = os.fork()
        if pid == 0:
            is_child = True
            return
        statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        if len(statuses) == 3:
            done.set()
            timer.cancel()

    timer = PeriodicTimer(timedelta(milliseconds=1), function)
    timer.start()
    done.wait()
    timer.cancel()
    print(*statuses, len(calls), timer.ticks)
    """
    )
    assert output == ["0", "0", "0", "3", "3"]


@needs_fork
def test_a_child_that_the_function_forks_can_start_the_timer_again(program: Callable[[str], list[str]]) -> None:
    """A child forked inside the function starts a thread of its own for the same timer."""
    output = program(
        FORK
        + """
    results = []
    done = threading.Event()

    def function():
        if os.getpid() != parent:
            done.set()
            return

        def child():
            # The parent's main thread may have held a lock of the old one when it was forked.
            global done
            done = threading.Event()
            timer.start()
            assert done.wait(30)
            assert timer.cancel() is True

        results.append(in_child(child))
        timer.cancel()
        done.set()

    parent = os.getpid()
    timer = PeriodicTimer(timedelta(milliseconds=1), function)
    timer.start()
    done.wait()
    timer.cancel()
    print(*results)
    """
    )
    assert output == ["0"]


# All of it at once


def test_timers_started_and_cancelled_from_many_threads_at_once() -> None:
    """Timers that many threads start, cancel and drop in any order end, and account for each point of their grids."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failures: list[BaseException] = []

    def use(seed: int) -> None:
        try:
            for n in range(20):
                timer = PeriodicTimer(timedelta(microseconds=50 + seed), int, "no" if n % 3 else "1")
                timer.set_missed_tick(MissedTick.SKIP)
                timer.set_error_handler(lambda error, failures: failures < 20)
                timer.start()
                if n % 2:
                    assert timer.cancel() is True
                    assert timer.ticks >= 0 <= timer.missed
        except BaseException as error:  # noqa: BLE001 - a failed assertion too, for the main thread
            failures.append(error)

    try:
        threads = [threading.Thread(target=use, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    finally:
        sys.setswitchinterval(interval)
    assert failures == []
