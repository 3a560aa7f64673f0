"""What a timer calls, when, and what it does about failures, on a clock that the tests own."""

from __future__ import annotations

import functools
import inspect
import itertools
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rdzv_timer import MissedTick, PeriodicTimer, _run

SECOND = 1_000_000_000

RunToEnd = Callable[[PeriodicTimer], None]
Hook = list[threading.ExceptHookArgs]


class VirtualClock:
    """Time that passes only while a timer waits for it, at once, or its function works."""

    def __init__(self) -> None:
        self.epoch = self.now = 1_000 * SECOND
        self.waits: list[float] = []
        self.overshoot: Iterator[int] = itertools.repeat(0)

    def read(self) -> int:
        return self.now

    def wait(self, wake: threading.Lock, seconds: float) -> bool:
        if wake.acquire(blocking=False):
            return True
        self.waits.append(seconds)
        self.now += round(seconds * SECOND) + next(self.overshoot)
        return False

    def work(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    @property
    def seconds(self) -> float:
        return (self.now - self.epoch) / SECOND


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> VirtualClock:
    """The clock of every timer in the test."""
    virtual = VirtualClock()
    monkeypatch.setattr(_run, "monotonic_ns", virtual.read)
    monkeypatch.setattr(_run, "wait", virtual.wait)
    return virtual


class Work:
    """A function that takes the given seconds, call after call, raises what it is given, and ends with the list."""

    def __init__(self, clock: VirtualClock, steps: Sequence[float | BaseException]) -> None:
        self.clock = clock
        self.steps = steps
        self.begun: list[float] = []
        self.ended: list[float] = []

    def __call__(self) -> None:
        self.begun.append(self.clock.seconds)
        step = self.steps[len(self.begun) - 1]
        if isinstance(step, BaseException):
            raise step
        self.clock.work(step)
        self.ended.append(self.clock.seconds)
        if len(self.begun) == len(self.steps):
            raise SystemExit


# Names and signatures


def test_signatures_are_those_of_pytorch() -> None:
    """What PyTorch's class takes, this one takes, under the same names."""
    parameters = inspect.signature(PeriodicTimer).parameters
    assert [(name, p.kind.name) for name, p in parameters.items()] == [
        ("interval", "POSITIONAL_OR_KEYWORD"),
        ("function", "POSITIONAL_OR_KEYWORD"),
        ("args", "VAR_POSITIONAL"),
        ("kwargs", "VAR_KEYWORD"),
    ]
    assert list(inspect.signature(PeriodicTimer.set_name).parameters) == ["self", "name"]


def test_arguments_are_passed_on(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """The function gets the arguments and keyword arguments that the timer was given."""
    calls = []

    def function(*args: object, **kwargs: object) -> None:
        calls.append((args, kwargs))
        raise SystemExit

    run_to_end(PeriodicTimer(timedelta(seconds=1), function, 1, "two", three=3, func=4, timeout=5))
    assert calls == [((1, "two"), {"three": 3, "func": 4, "timeout": 5})]


@pytest.mark.parametrize(("given", "thread_name"), [(None, "PeriodicTimer"), ("", "PeriodicTimer"), ("beat", "beat")])
def test_the_thread_has_the_name_of_the_timer(given: str | None, thread_name: str) -> None:
    """The thread is a daemon, and called as `set_name` says, otherwise "PeriodicTimer"."""
    timer = PeriodicTimer(timedelta(hours=1), print)
    assert timer.name is None
    if given is not None:
        timer.set_name(given)
    assert timer.name == given
    before = set(threading.enumerate())
    with timer:
        assert [(t.name, t.daemon) for t in set(threading.enumerate()) - before] == [(thread_name, True)]
    assert timer.name == given


# Schedule


def test_delay_is_the_default_and_leaves_an_interval_between_calls(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """By default each call begins one interval after the end of the last; nothing is ever missed."""
    work = Work(clock, [0.5, 2.5, 0, 1])
    timer = PeriodicTimer(timedelta(seconds=1), work)
    run_to_end(timer)
    assert work.begun == [1, 2.5, 6, 7]
    assert (timer.ticks, timer.missed, timer.lateness) == (4, 0, 0)


def test_skip_begins_calls_on_the_grid_and_counts_what_it_missed(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """Under SKIP each call begins on the grid, and points that pass during a call are counted and not made up for."""
    work = Work(clock, [0.5, 2.5, 0, 1])
    timer = PeriodicTimer(timedelta(seconds=1), work)
    timer.set_missed_tick(MissedTick.SKIP)
    run_to_end(timer)
    assert work.begun == [1, 2, 5, 6]
    # The call of one second from 6 on has missed the point at 7, by ending on it.
    assert (timer.ticks, timer.missed) == (4, 3)


@pytest.mark.parametrize("policy", MissedTick)
def test_the_timelines_in_the_docstring_are_what_happens(clock: VirtualClock, run_to_end: RunToEnd, policy: MissedTick) -> None:
    """Calls of half an interval, one of two and a half, and halves again draw the line that the docstring shows."""
    work = Work(clock, [2, 10, 2, 2, 2])
    timer = PeriodicTimer(timedelta(seconds=4), work)
    timer.set_missed_tick(policy)
    run_to_end(timer)
    drawn = ["."] * 30
    for begin, end in zip(work.begun, work.ended, strict=True):
        for second in range(int(begin), min(int(end), len(drawn))):
            drawn[second] = "#"
    _, _, text = (MissedTick.__doc__ or "").partition(f"{policy.name}: ")
    assert text.split("calls  ")[1].split()[0] == "".join(drawn)


@pytest.mark.parametrize(("policy", "begun"), [(MissedTick.DELAY, [1, 3602.5, 3603.5]), (MissedTick.SKIP, [1, 3602, 3603])])
def test_a_jump_of_the_clock_brings_no_burst(
    clock: VirtualClock, run_to_end: RunToEnd, policy: MissedTick, begun: list[float]
) -> None:
    """After a clock that jumps by an hour, as after a suspend, one call comes at a time, under SKIP on the grid."""
    work = Work(clock, [3600.5, 0, 0])
    timer = PeriodicTimer(timedelta(seconds=1), work)
    timer.set_missed_tick(policy)
    run_to_end(timer)
    assert work.begun == begun


def test_a_jump_during_a_wait_makes_one_late_call(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """A clock that jumps while the timer waits makes one call, late, and the next on the grid."""
    clock.overshoot = itertools.chain([3600 * SECOND], itertools.repeat(0))
    work = Work(clock, [0, 0])
    timer = PeriodicTimer(timedelta(seconds=2), work)
    timer.set_missed_tick(MissedTick.SKIP)
    run_to_end(timer)
    assert work.begun == [3602, 3604]
    assert (timer.ticks, timer.missed) == (2, 1800)


def test_lateness_is_that_of_the_newest_call(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """Lateness is the time from a call's deadline to its begin, in seconds, seen by the function itself too."""
    clock.overshoot = itertools.chain([0, SECOND // 4], itertools.repeat(SECOND // 2))
    seen = []

    def look() -> None:
        seen.append((timer.ticks, timer.lateness))
        if timer.ticks == 3:
            timer.cancel()

    timer = PeriodicTimer(timedelta(seconds=1), look)
    timer.set_missed_tick(MissedTick.SKIP)
    run_to_end(timer)
    assert seen == [(1, 0.0), (2, 0.25), (3, 0.5)]
    assert timer.lateness == 0.5


def test_a_wait_that_ends_early_is_continued(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """No call begins before its deadline, even if the system wakes the thread too early."""
    clock.overshoot = itertools.chain([-SECOND // 4, -SECOND // 8], itertools.repeat(0))
    work = Work(clock, [0])
    run_to_end(PeriodicTimer(timedelta(seconds=1), work))
    assert work.begun == [1]
    assert clock.waits == [1, 0.25, 0.125]


def frozen() -> int:
    return SECOND


def frozen_for_others() -> int:
    return 10**20 if threading.current_thread() is threading.main_thread() else time.monotonic_ns()


@pytest.mark.parametrize("policy", MissedTick)
@pytest.mark.parametrize("read", [frozen, frozen_for_others, itertools.count(10**20, -SECOND).__next__])
def test_a_clock_that_does_not_advance_does_not_stop_the_timer(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[], int], policy: MissedTick
) -> None:
    """Libraries freeze the clock for tests, or set it, and not for each thread alike: ticks come all the same."""
    monkeypatch.setattr(_run, "monotonic_ns", read)
    third = threading.Event()

    def function() -> None:
        if timer.ticks == 3:
            third.set()

    timer = PeriodicTimer(timedelta(milliseconds=1), function)
    timer.set_missed_tick(policy)
    with timer:
        assert third.wait(60)
    assert timer.missed >= 0
    assert 0 <= timer.lateness < 3600


def test_the_longest_interval_can_be_waited_for(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """An interval of `threading.TIMEOUT_MAX` works, also where jitter adds to it."""
    work = Work(clock, [0])
    timer = PeriodicTimer(timedelta(seconds=threading.TIMEOUT_MAX), work)
    timer.set_jitter(1)
    run_to_end(timer)
    assert timer.ticks == 1
    assert max(clock.waits) <= threading.TIMEOUT_MAX


@given(
    st.lists(st.integers(0, 5 * SECOND), min_size=1, max_size=20),
    st.lists(st.integers(0, 3 * SECOND)),
    st.integers(1, 2 * 10**6),
    st.sampled_from([0.0, 0.1, 1.0]),
)
def test_every_grid_point_is_a_tick_or_missed(works: list[int], overshoots: list[int], interval: int, jitter: float) -> None:
    """Under SKIP ticks and missed add up to the grid points passed, for any work, load and jitter."""
    clock = VirtualClock()
    clock.overshoot = itertools.chain(overshoots, itertools.repeat(0))
    work = Work(clock, [nanoseconds / SECOND for nanoseconds in works])
    timer = PeriodicTimer(timedelta(microseconds=interval), work)
    timer.set_missed_tick(MissedTick.SKIP)
    timer.set_jitter(jitter)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_run, "monotonic_ns", clock.read)
        patch.setattr(_run, "wait", clock.wait)
        # What the thread would run, on this one.
        run = _run.Run(timer._job)
        run.loop({})
    assert run.ticks == len(works)
    assert run.ticks + run.missed == (clock.now - clock.epoch) // (interval * 1000)


# Jitter


@pytest.mark.parametrize(("drawn", "late"), [(b"\0\0\0\0", 0), (b"\x80\0\0\0", 0.25), (b"\xff\xff\xff\xff", 0.5)])
@pytest.mark.parametrize("policy", MissedTick)
def test_jitter_delays_each_tick_by_up_to_its_fraction(
    clock: VirtualClock,
    run_to_end: RunToEnd,
    monkeypatch: pytest.MonkeyPatch,
    policy: MissedTick,
    drawn: bytes,
    late: float,
) -> None:
    """Each tick is late by what is drawn, under SKIP from its place on the grid; nothing of that is lateness."""
    monkeypatch.setattr(_run, "urandom", {4: drawn}.__getitem__)
    work = Work(clock, [0.25, 0.25, 0.25])
    timer = PeriodicTimer(timedelta(seconds=1), work)
    timer.set_missed_tick(policy)
    timer.set_jitter(0.5)
    run_to_end(timer)
    grid = [1, 2, 3] if policy is MissedTick.SKIP else [1, 2.25 + late, 3.5 + 2 * late]
    assert work.begun == pytest.approx([point + late for point in grid])
    assert (timer.missed, timer.lateness) == (0, 0)


def test_missed_points_are_counted_in_whole_numbers(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """However long the interval, and though clocks are read as floats elsewhere."""
    timer = PeriodicTimer(timedelta(microseconds=1), Work(clock, [2.5e-6]))
    timer.set_missed_tick(MissedTick.SKIP)
    run_to_end(timer)
    assert (timer.ticks, timer.missed) == (1, 2)
    assert type(timer.missed) is int


def test_jitter_leaves_the_random_numbers_of_the_program_alone(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """A program that seeds `random` gets the same numbers with a timer as without."""
    random.seed(1)
    expected = [random.random() for _ in range(3)]
    random.seed(1)
    timer = PeriodicTimer(timedelta(seconds=1), Work(clock, [0, 0, 0]))
    timer.set_jitter(1)
    run_to_end(timer)
    assert [random.random() for _ in range(3)] == expected


# Functions that only make what somebody else would have to run


async def coroutine_function() -> None:
    pytest.fail("nobody runs this")


async def async_generator_function() -> AsyncIterator[None]:
    yield


def generator_function() -> Iterator[None]:
    yield


class Lazy:
    async def method(self) -> None:
        pytest.fail("nobody runs this")

    __call__ = method


@pytest.mark.parametrize(
    "function",
    [
        coroutine_function,
        async_generator_function,
        generator_function,
        Lazy().method,
        Lazy(),
        functools.partial(coroutine_function),
        functools.partial(Lazy()),
    ],
)
def test_a_function_whose_call_runs_nothing_is_refused(function: Callable[[], object]) -> None:
    """Coroutine and generator functions are a TypeError at construction, also as methods, in partials and as callables."""
    text = r"^The function must do its work when it is called; this is a coroutine or generator function\.$"
    with pytest.raises(TypeError, match=text):
        PeriodicTimer(timedelta(seconds=1), function)


def test_a_call_that_returns_an_awaitable_is_a_failure(clock: VirtualClock, run_to_end: RunToEnd) -> None:
    """Nobody awaits it, so it goes to the error handler, also where it is no coroutine; a future runs by itself."""

    class Awaitable:
        def __await__(self) -> Iterator[None]:
            yield

    class Future(Awaitable):
        def add_done_callback(self, callback: object) -> None:
            pytest.fail("not called")

    results = [coroutine_function(), Awaitable(), Future(), None]
    errors = []
    timer = PeriodicTimer(timedelta(seconds=1), lambda: results.pop(0) if results else sys.exit())
    timer.set_error_handler(lambda error, failures: errors.append((type(error), str(error), failures)))
    run_to_end(timer)
    text = "The function has returned an awaitable, which nobody awaits: "
    assert errors == [(TypeError, f"{text}coroutine.", 1), (TypeError, f"{text}Awaitable.", 2)]
    assert (timer.ticks, timer.consecutive_failures) == (5, 0)


# Failures


def test_a_failing_function_is_called_again(clock: VirtualClock, run_to_end: RunToEnd, hook: Hook) -> None:
    """An exception is reported to `threading.excepthook` with the timer's thread, and the next tick comes."""
    error = ValueError("no")
    timer = PeriodicTimer(timedelta(seconds=1), Work(clock, [error, 0]))
    timer.set_name("beat")
    run_to_end(timer)
    assert timer.ticks == 2
    [report] = hook
    assert (report.exc_type, report.exc_value, report.exc_traceback) == (ValueError, error, error.__traceback__)
    assert report.thread is not None
    assert report.thread.name == "beat"


def test_a_row_of_failures_is_reported_less_and_less(clock: VirtualClock, run_to_end: RunToEnd, hook: Hook) -> None:
    """Without a handler failures 1, 2, 4, 8 and so on of a row are reported; a success starts a new row."""
    first: list[float | BaseException] = [ValueError(n) for n in range(1, 21)]
    second: list[float | BaseException] = [OSError(n) for n in range(1, 4)]
    timer = PeriodicTimer(timedelta(seconds=1), Work(clock, [*first, 0, *second, 0]))
    run_to_end(timer)
    assert [repr(report.exc_value) for report in hook] == [
        *(f"ValueError({n})" for n in (1, 2, 4, 8, 16)),
        *(f"OSError({n})" for n in (1, 2)),
    ]


def test_failures_in_a_row_are_counted(clock: VirtualClock, run_to_end: RunToEnd, hook: Hook) -> None:
    """`consecutive_failures` grows with each failure in a row, and a success sets it back to 0."""
    seen = []

    def function() -> None:
        seen.append(timer.consecutive_failures)
        if timer.ticks == 5:
            timer.cancel()
        if timer.ticks != 3:
            raise ValueError

    timer = PeriodicTimer(timedelta(seconds=1), function)
    run_to_end(timer)
    assert seen == [0, 1, 2, 0, 1]
    assert timer.consecutive_failures == 2


@pytest.mark.parametrize("answer", [None, True, 0, "", []])
def test_the_handler_gets_each_failure_instead_of_the_hook(
    clock: VirtualClock, run_to_end: RunToEnd, hook: Hook, answer: object
) -> None:
    """A handler gets every error with the count so far, the hook gets none, and the timer goes on for any answer."""
    errors = [ValueError("1"), ValueError("2"), OSError("3")]
    handled = []

    def handler(error: Exception, failures: int) -> object:
        handled.append((error, failures))
        return answer

    timer = PeriodicTimer(timedelta(seconds=1), Work(clock, [*errors, 0]))
    timer.set_error_handler(handler)
    run_to_end(timer)
    assert handled == list(zip(errors, [1, 2, 3], strict=True))
    assert (timer.ticks, hook) == (4, [])


def test_a_handler_that_returns_false_ends_the_timer(clock: VirtualClock, run_to_end: RunToEnd, hook: Hook) -> None:
    """The timer ends when the handler returns False; its counters remain."""
    timer = PeriodicTimer(timedelta(seconds=1), Work(clock, [ValueError()] * 9))
    timer.set_error_handler(lambda error, failures: failures < 3)
    run_to_end(timer)
    assert (timer.ticks, timer.consecutive_failures, hook) == (3, 3, [])


def test_a_handler_that_raises_is_reported_and_the_timer_goes_on(clock: VirtualClock, run_to_end: RunToEnd, hook: Hook) -> None:
    """Both errors go to the hook, for failures 1, 2, 4 and so on of a row, and the next tick comes."""

    def handler(error: Exception, failures: int) -> None:
        raise RuntimeError(failures)

    timer = PeriodicTimer(timedelta(seconds=1), Work(clock, [ValueError()] * 5 + [0]))
    timer.set_error_handler(handler)
    run_to_end(timer)
    assert timer.ticks == 6
    assert [repr(report.exc_value) for report in hook] == [
        text for n in (1, 2, 4) for text in (f"RuntimeError({n})", "ValueError()")
    ]


def test_a_hook_that_raises_does_not_end_the_timer(
    clock: VirtualClock, run_to_end: RunToEnd, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An exception from `threading.excepthook` is printed, with what it was about, and the next tick comes."""

    def broken(args: threading.ExceptHookArgs) -> None:
        raise RuntimeError("broken hook")

    monkeypatch.setattr(threading, "excepthook", broken)
    timer = PeriodicTimer(timedelta(seconds=1), Work(clock, [ValueError("no"), 0]))
    run_to_end(timer)
    assert timer.ticks == 2
    printed = capsys.readouterr().err
    assert "ValueError: no" in printed
    assert "RuntimeError: broken hook" in printed


def test_system_exit_ends_the_timer_quietly(clock: VirtualClock, run_to_end: RunToEnd, hook: Hook) -> None:
    """SystemExit from the function ends the timer, and nobody hears of it."""
    timer = PeriodicTimer(timedelta(seconds=1), Work(clock, [0, SystemExit(1), 0]))
    timer.set_error_handler(lambda error, failures: pytest.fail("called"))
    run_to_end(timer)
    assert (timer.ticks, timer.consecutive_failures, hook) == (2, 0, [])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_what_is_no_exception_ends_the_timer_and_is_reported(
    clock: VirtualClock, run_to_end: RunToEnd, hook: Hook, error: BaseException
) -> None:
    """KeyboardInterrupt and the like end the timer, and go to the hook, not to the handler."""
    timer = PeriodicTimer(timedelta(seconds=1), Work(clock, [0, error, 0]))
    timer.set_error_handler(lambda error, failures: pytest.fail("called"))
    run_to_end(timer)
    assert timer.ticks == 2
    assert [report.exc_value for report in hook] == [error]


@pytest.mark.parametrize("policy", MissedTick)
def test_counters_are_zero_before_the_start(policy: MissedTick) -> None:
    """A timer that has not started shows zeros."""
    timer = PeriodicTimer(timedelta(seconds=1), print)
    timer.set_missed_tick(policy)
    assert (timer.ticks, timer.missed, timer.consecutive_failures, timer.lateness) == (0, 0, 0, 0.0)


# Bad input


@pytest.mark.parametrize("interval", [1, 0.5, "1", None])
def test_an_interval_must_be_a_timedelta(interval: object) -> None:
    """What is no timedelta is a TypeError that names it."""
    with pytest.raises(TypeError, match=rf"^The interval must be a datetime\.timedelta, not {type(interval).__name__}\.$"):
        PeriodicTimer(interval, print)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "interval",
    [
        timedelta(0),
        timedelta(microseconds=-1),
        timedelta.min,
        timedelta.max,
        timedelta(seconds=threading.TIMEOUT_MAX + 1),
    ],
)
def test_an_interval_must_be_one_that_can_be_waited_for(interval: timedelta) -> None:
    """An interval of zero, below, or over TIMEOUT_MAX is a ValueError at construction."""
    with pytest.raises(ValueError, match=r"^The interval must be more than zero and at most "):
        PeriodicTimer(interval, print)


@pytest.mark.parametrize("interval", [timedelta(microseconds=1), timedelta(seconds=threading.TIMEOUT_MAX)])
def test_the_shortest_and_the_longest_interval_are_accepted(interval: timedelta) -> None:
    """One microsecond and TIMEOUT_MAX are both in range."""
    PeriodicTimer(interval, print)


def test_a_subclass_of_timedelta_is_an_interval() -> None:
    """Also where it gives operators and methods a meaning of its own, as the durations of pendulum do."""

    class Duration(timedelta):
        def total_seconds(self) -> float:
            raise AttributeError

        __floordiv__ = __mul__ = __lt__ = __gt__ = __truediv__ = total_seconds  # type: ignore[assignment]

    timer = PeriodicTimer(Duration(days=1, seconds=2, microseconds=3), print)
    assert timer._job.period == 86_402_000_003_000


def test_a_function_must_be_callable() -> None:
    """What cannot be called is a TypeError at construction."""
    with pytest.raises(TypeError, match=r"^The function must be callable, not int\.$"):
        PeriodicTimer(timedelta(seconds=1), 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("setter", "value", "error", "text"),
    [
        ("set_name", None, TypeError, "The name must be a str, not NoneType."),
        ("set_name", b"beat", TypeError, "The name must be a str, not bytes."),
        (
            "set_missed_tick",
            "skip",
            TypeError,
            "The policy must be MissedTick.DELAY or MissedTick.SKIP, not 'skip'.",
        ),
        (
            "set_error_handler",
            "print",
            TypeError,
            "The handler must be callable as handler(error, failures), not str.",
        ),
        ("set_jitter", "0.1", TypeError, "The jitter must be a number between 0 and 1, not str."),
        (
            "set_jitter",
            -0.1,
            ValueError,
            "The jitter must be between 0 and 1, as a fraction of the interval, not -0.1.",
        ),
        ("set_jitter", 1.1, ValueError, "The jitter must be between 0 and 1, as a fraction of the interval, not 1.1."),
        (
            "set_jitter",
            float("nan"),
            ValueError,
            "The jitter must be between 0 and 1, as a fraction of the interval, not nan.",
        ),
    ],
)
def test_a_setter_refuses_what_it_cannot_use(setter: str, value: object, error: type[Exception], text: str) -> None:
    """A setter's error says what it takes and what it got."""
    timer = PeriodicTimer(timedelta(seconds=1), print)
    with pytest.raises(error) as caught:
        getattr(timer, setter)(value)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("setter", "value"),
    [
        ("set_name", "beat"),
        ("set_missed_tick", MissedTick.SKIP),
        ("set_error_handler", print),
        ("set_jitter", 0.1),
    ],
)
def test_a_setter_after_start_is_refused(setter: str, value: object) -> None:
    """What configures a timer is set before it starts: running or cancelled, it takes no more of it."""
    already_started = r"^The timer has already started\.$"
    with PeriodicTimer(timedelta(hours=1), print) as timer, pytest.raises(RuntimeError, match=already_started):
        getattr(timer, setter)(value)
    with pytest.raises(RuntimeError, match=already_started):
        getattr(timer, setter)(value)
