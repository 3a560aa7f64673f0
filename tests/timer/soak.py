"""Start, cancel and drop timers from many threads, for as long as asked, and hold each timer to its promises.

    python soak.py --seconds 60

There are always 200 timers, with random periods, policies, jitter and misbehaving functions. Some threads replace them
by new ones, by all the ways in which a timer can end; others meddle with whatever timer they meet. Of each timer that
ends it is asked: its thread is gone, its calls are the ticks it shows, and ticks and missed add up to the points of its
grid that had passed when its thread read the clock for the last time. Twice, half way and at the end, all timers are
stopped: then no thread of theirs is left, and memory has not grown from the first time to the second.

The last line says how many timers kept their promises and how many did not; the exit status is 0 if all did.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from rdzv_timer import MissedTick, PeriodicTimer, _run

TIMERS = 200
SECOND = 1_000_000_000

read_clock = time.monotonic_ns


def recorded_clock() -> int:
    """The monotonic clock; each thread keeps the newest time that it was told."""
    now = read_clock()
    threading.current_thread().newest_ns = now  # type: ignore[attr-defined]
    return now


class Beat:
    """A function for a timer, in every way a bad one, and what its timer is to be held to."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = random.Random(chance.random())
        self.ready = threading.Event()
        self.calls = 0
        self.points: list[int] = []
        self.period_ns = chance.randrange(100, 20_000) * 1_000
        self.policy = chance.choice([*MissedTick])
        self.ways = chance.choice([["return"], ["return", "raise"], ["return", "raise", "sleep", "exit", "cancel", "drop"]])
        timer = PeriodicTimer(timedelta(microseconds=self.period_ns // 1_000), self)
        timer.set_name("soaked")
        timer.set_missed_tick(self.policy)
        timer.set_error_handler(self.handle)
        timer.set_jitter(chance.choice([0, 0, 0.1, 1]))
        timer.start()
        # The timer holds its function, so this is a cycle until somebody takes the timer away.
        self.timer: PeriodicTimer | None = timer
        [self.run] = timer._runs.values()
        assert self.run.thread is not None
        self.thread = self.run.thread
        self.ready.set()

    def __call__(self) -> None:
        self.calls += 1
        self.ready.wait()
        self.points = [*self.points[-1:], (read_clock() - self.run.start_ns) // self.period_ns]
        way = self.chance.choice(self.ways)
        timer = self.timer
        if way == "raise":
            raise self.chance.choice([ValueError, OSError, RuntimeError])
        if way == "sleep":
            time.sleep(self.chance.random() / 100)
        if way == "exit" and self.chance.random() < 0.05:
            raise self.chance.choice([SystemExit, KeyboardInterrupt])
        if way == "cancel" and timer is not None and self.chance.random() < 0.05 and timer.cancel():
            raise AssertionError("a timer cancelled from inside says that it has ended")
        if way == "drop" and self.chance.random() < 0.05:
            self.timer = None

    def handle(self, error: Exception, failures: int) -> bool:
        if isinstance(error, AssertionError) or self.chance.random() < 0.1:
            # Not the same error: that would be a cycle of the error, its traceback and this frame, which could keep the
            # timer from being dropped until it is collected.
            raise type(error)("in the handler")
        return failures < 50

    def end(self, chance: random.Random) -> list[str]:
        """End the timer in some way, and say what it did wrong."""
        timer, self.timer = self.timer, None
        wrong = []
        if timer is not None and chance.random() < 0.7:
            while not timer.cancel(timeout=chance.choice([None, 0, 0.01])):
                pass
            if self.thread.is_alive():
                wrong.append("the thread of a cancelled timer is alive")
        timer = None
        # A timer that was dropped, also by its own function or at the same time by somebody else, ends by itself.
        if sys.implementation.name == "pypy":
            gc.collect()
        self.thread.join(30)
        if self.thread.is_alive():
            return ["the thread of a dropped timer is alive after 30 seconds"]
        ticks, missed = self.run.ticks, self.run.missed
        if ticks != self.calls:
            wrong.append(f"{ticks} ticks but {self.calls} calls")
        if self.policy is MissedTick.SKIP:
            # A thread that was to end before it began has read no clock.
            newest_ns = getattr(self.thread, "newest_ns", None)
            passed = (newest_ns - self.run.start_ns) // self.period_ns if newest_ns is not None else 0
            if ticks + missed != passed or missed < 0:
                wrong.append(f"{ticks} ticks and {missed} missed, but {passed} points of the grid have passed")
            if self.points != sorted(set(self.points)):
                wrong.append(f"calls at points {self.points}: twice at the same")
        elif missed:
            wrong.append(f"{missed} missed under {self.policy}")
        return wrong


class Soak:
    """The timers that run, and the verdicts on those that ended."""

    def __init__(self) -> None:
        self.beats: deque[Beat] = deque()
        self.passed: deque[None] = deque()
        self.failed: deque[str] = deque()
        self.over = threading.Event()

    def judge(self, beat: Beat, chance: random.Random) -> None:
        wrong = beat.end(chance)
        if wrong:
            self.failed.extend(wrong)
        else:
            self.passed.append(None)

    def replace(self, chance: random.Random) -> None:
        """Put a new timer in the place of an old one."""
        beat = self.beats.popleft()
        self.judge(beat, chance)
        self.beats.append(Beat(chance))

    def meddle(self, chance: random.Random) -> None:
        """Ask any timer anything, while others may be ending it."""
        timer = self.beats[chance.randrange(TIMERS // 2)].timer
        if timer is None:
            return
        if min(timer.ticks, timer.consecutive_failures, timer.lateness) < 0:
            self.failed.append("a counter is negative")
        changes: list[Callable[[], None]] = [
            timer.start,
            lambda: timer.set_name("other"),
            lambda: timer.set_jitter(0.5),
        ]
        try:
            chance.choice(changes)()
        except RuntimeError as error:
            if str(error) != "The timer has already started.":
                self.failed.append(str(error))
        else:
            self.failed.append("a started timer could be changed")
        if chance.random() < 0.2:
            timer.cancel(timeout=chance.choice([None, 0]))
        time.sleep(0.001)

    def work(self, seed: int, task: str) -> None:
        chance = random.Random(seed)
        try:
            while not self.over.is_set():
                getattr(self, task)(chance)
        except BaseException as error:
            self.failed.append(repr(error))
            raise

    def run(self, seconds: float, seed: int) -> tuple[int, int]:
        """Keep 200 timers running for so long, then end them all; the objects and the MiB of memory that remain."""
        chance = random.Random(seed)
        self.over.clear()
        self.beats.extend(Beat(chance) for _ in range(TIMERS))
        tasks = ["replace"] * 6 + ["meddle"] * 2
        threads = [threading.Thread(target=self.work, args=(seed + n, task)) for n, task in enumerate(tasks)]
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        self.over.set()
        for thread in threads:
            thread.join()
        while self.beats:
            self.judge(self.beats.pop(), chance)
        gc.collect()
        left = [thread.name for thread in threading.enumerate() if thread.name == "soaked"]
        if left:
            self.failed.append(f"{len(left)} threads are left")
        # The second number is the resident pages, of 4 KiB: on Linux only.
        statm = Path("/proc/self/statm")
        return len(gc.get_objects()), int(statm.read_text().split()[1]) // 256 if statm.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, all in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="for the same choices again")
    options = parser.parse_args()
    print(f"seed {options.seed}")
    # Only what gets past the error handlers, or what they let through, comes here.
    reported: Counter[str] = Counter()
    threading.excepthook = lambda args: reported.update([args.exc_type.__name__])
    setattr(_run, "monotonic_ns", recorded_clock)  # noqa: B010 - a name that the module does not export
    sys.setswitchinterval(1e-6)
    soak = Soak()
    (objects, mib), (objects_later, mib_later) = (soak.run(options.seconds / 2, options.seed + half) for half in range(2))
    print(f"after the first half {objects} objects and {mib} MiB, after the second {objects_later} and {mib_later}")
    print(f"reported: {dict(reported)}")
    # A few MiB are the allocator's, which keeps what was needed at the worst moment.
    if objects_later > objects + 1000 or mib_later > mib + 16:
        soak.failed.append("memory has grown")
    if reported["AssertionError"]:
        soak.failed.append("an assertion failed on the thread of a timer")
    for wrong, times in Counter(soak.failed).most_common(20):
        print(f"FAILED ({times} times): {wrong}")
    print(f"{len(soak.passed)} passed, {len(soak.failed)} failed")
    return 1 if soak.failed or not soak.passed else 0


if __name__ == "__main__":
    sys.exit(main())
