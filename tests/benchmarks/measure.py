"""Paired timing: calls take turns, a short batch each, so that a noisy machine hits all of them alike.

Samples are seconds per call, one a round, in the order of the rounds. A ratio is the median of the ratios within each round,
which stands more noise than the ratio of two medians. Nothing here knows what is measured.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from timeit import Timer

# What does not wait is measured in the processor time of this thread, where the system counts it finely: what other programs
# take in between is left out.
_working_clock = time.thread_time if time.get_clock_info("thread_time").resolution < 1e-6 else time.perf_counter
# Slow calls get fewer rounds, so that a run ends in time.
_MOST_SECONDS = 1.5
_LEAST_ROUNDS = 5


@dataclass(frozen=True)
class Call:
    """``function(*args)``, which raises ``raises`` where that is given. Calling it costs nothing but the call itself."""

    function: Callable[..., object]
    args: tuple[object, ...] = ()
    raises: type[Exception] | None = None

    def timer(self, clock: Callable[[], float]) -> Timer:
        """A timer of the call, its arguments already in place."""
        names = {f"a{number}": value for number, value in enumerate(self.args)}
        statement = f"f({', '.join(names)})"
        if self.raises:
            statement = f"try:\n    {statement}\nexcept E:\n    pass\nelse:\n    raise AssertionError('nothing was raised')"
        return Timer(statement, timer=clock, globals={**names, "f": self.function, "E": self.raises})


def interleaved(
    calls: Sequence[Call], *, rounds: int = 61, batch_seconds: float = 0.001, waits: bool = False
) -> list[list[float]]:
    """The samples of each call; in every round each call runs for about ``batch_seconds``, at least once.

    ``waits`` is for calls that wait for another thread or for the kernel: they are measured by the clock on the wall.
    """
    clock = time.perf_counter if waits else _working_clock
    timers = [call.timer(clock) for call in calls]
    repeats = [_repeats(timer, batch_seconds) for timer in timers]
    samples: list[list[float]] = [[] for _ in calls]
    give_up = time.perf_counter() + _MOST_SECONDS
    for done in range(rounds):
        if done >= _LEAST_ROUNDS and time.perf_counter() > give_up:
            break
        for timer, number, seconds in zip(timers, repeats, samples, strict=True):
            seconds.append(timer.timeit(number) / number)
    return samples


def _repeats(timer: Timer, batch_seconds: float) -> int:
    number = 1
    while timer.timeit(number) < batch_seconds:
        number *= 2
    return number


def median_ratio(samples: Sequence[float], base: Sequence[float]) -> float:
    """How many times the base a call costs: the median over the rounds."""
    return statistics.median(mine / other for mine, other in zip(samples, base, strict=True))


def percentile(samples: Sequence[float], percent: int) -> float:
    """The sample that so many percent of all do not exceed."""
    return sorted(samples)[max(math.ceil(len(samples) * percent / 100) - 1, 0)]


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The ``e`` of the best fit of ``cost = c * size ** e``: 0 is constant, 1 linear, 2 quadratic."""
    slope, _ = statistics.linear_regression([math.log(size) for size, _ in points], [math.log(cost) for _, cost in points])
    return slope
