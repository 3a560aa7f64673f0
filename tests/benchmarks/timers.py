"""Timers, next to upstream's class: ticks behind, lateness under load, starting and cancelling many, and one that idles.

Each measurement is a process of its own (this file, run as a program: a job, and upstream's path or nothing), and the two
sides take turns. rdzv is measured under its default policy, DELAY, as upstream has no other; ticks behind are those of SKIP.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import rdzv
import upstream as original
from measure import exponent, percentile
from table import Budget, Curve, Findings, Row, compared
from upstream import Upstream

_INTERVAL = 0.010
_WORK = 0.005
_TICKS = 1_000
_COUNTS = (1, 10, 100, 1_000)
_PANEL = "Timers: timers started and cancelled"
_AS_UPSTREAM = Budget(1.2)


def findings(upstream: Upstream | None) -> Findings:
    """The rows and curves on timers."""
    found = Findings("Timer")
    found.rows += _behind_rows(upstream)
    found.rows += _lateness_rows(upstream)
    many = _turns(upstream, "many", 9)
    found.rows += _many_rows(many)
    for number, runs in enumerate(many):
        points = [(float(count), _median(runs, str(count))) for count in _COUNTS]
        found.rows += [Row("exponent: start and cancel, 1 to 1,000", None, exponent(points), "^")] if number == 0 else []
        found.curves.append(Curve(_PANEL, "start and cancel", bool(number), points))
    ours, *theirs = _turns(upstream, "idle", 9)
    found.rows.append(compared("processor time of one tick", theirs[0] if theirs else None, ours, _AS_UPSTREAM))
    ours, *theirs = _turns(upstream, "cancel", 3)
    p99 = [percentile(list(chain(*runs)), 99) for runs in (ours, *theirs)]
    found.rows.append(_pair("cancel of an idle timer, p99", p99, Budget(0.010, on="value")))
    return found


def _behind_rows(upstream: Upstream | None) -> list[Row]:
    theirs = _process("behind", upstream.path) if upstream else None
    runs = [_result(_process("behind", None)) for _ in range(5)]
    behind = statistics.median(run["behind"] for run in runs)
    what = "ticks behind after 1,000 of 10 ms with 5 ms of work"
    return [
        Row(
            what,
            _result(theirs)["behind"] if theirs else None,
            behind,
            "",
            budget=Budget(1, on="value"),
            note="median of 5, SKIP",
        ),
        Row(
            "distance from the grid, last 50 ticks",
            None,
            _median(runs, "off"),
            budget=Budget(_INTERVAL / 10, on="value"),
            note="SKIP",
        ),
    ]


def _lateness_rows(upstream: Upstream | None) -> list[Row]:
    sides = [list(chain(*runs)) for runs in _turns(upstream, "lateness", 5)]
    return [
        _pair(f"lateness while another thread burns Python, p{percent}", [percentile(side, percent) for side in sides])
        for percent in (50, 99)
    ]


def _many_rows(sides: list[list[Any]]) -> list[Row]:
    rows: list[Row] = []
    for what, key, unit in (
        ("processor time of starting and cancelling 1,000 timers", "1000", "s"),
        ("memory of 1,000 running timers", "memory", "B"),
    ):
        ours, *theirs = ([run[key] for run in runs] for runs in sides)
        rows.append(compared(what, theirs[0] if theirs else None, ours, _AS_UPSTREAM, unit))
    return rows


def _pair(what: str, values: list[float], budget: Budget | None = None) -> Row:
    theirs = values[1] if len(values) == 2 else None
    return Row(what, theirs, values[0], "s", values[0] / theirs if theirs else None, budget)


def _median(runs: list[Any], key: str) -> float:
    return float(statistics.median(run[key] for run in runs))


def _turns(upstream: Upstream | None, job: str, rounds: int) -> list[list[Any]]:
    """The results of a job, those of rdzv first, those of upstream second if there is one."""
    paths = [None, upstream.path] if upstream else [None]
    results = [[_result(_process(job, path)) for path in paths] for _ in range(rounds)]
    return [list(side) for side in zip(*results, strict=True)]


def _process(job: str, path: Path | None) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, __file__, job, str(path or "")], stdout=subprocess.PIPE, text=True)


def _result(process: subprocess.Popen[str]) -> Any:
    printed, _ = process.communicate()
    assert process.returncode == 0
    return json.loads(printed)


def _behind(timer_class: Any) -> object:
    """How many intervals beyond 1,000 are over when the 1,000th call begins, and how far from the grid the last 50 begin."""
    began_at: list[float] = []
    done = threading.Event()

    def work() -> None:
        began_at.append(time.monotonic())
        if len(began_at) == _TICKS:
            done.set()
        time.sleep(_WORK)

    timer = timer_class(timedelta(seconds=_INTERVAL), work)
    if timer_class is rdzv.PeriodicTimer:
        timer.set_missed_tick(rdzv.MissedTick.SKIP)
    started = time.monotonic()
    timer.start()
    done.wait()
    timer.cancel()
    off = [(moment - started) % _INTERVAL for moment in began_at[_TICKS - 50 : _TICKS]]
    return {
        "behind": int((began_at[_TICKS - 1] - started) / _INTERVAL) - _TICKS,
        "off": statistics.median(min(distance, _INTERVAL - distance) for distance in off),
    }


def _lateness(timer_class: Any) -> object:
    """How much later than an interval after the last one's end each of 100 calls begins, while another thread burns Python."""
    late: list[float] = []
    ended = 0.0
    done = threading.Event()

    def work() -> None:
        nonlocal ended
        if ended:
            late.append(time.perf_counter() - ended - _INTERVAL)
        if len(late) == 100:
            done.set()
        ended = time.perf_counter()

    def burn() -> None:
        while not done.is_set():
            sum(range(1_000))

    burner = threading.Thread(target=burn)
    timer = timer_class(timedelta(seconds=_INTERVAL), work)
    burner.start()
    timer.start()
    burner.join()
    timer.cancel()
    return late


def _many(timer_class: Any) -> object:
    """The processor time of making, starting and cancelling so many timers, and the bytes that the most of them take."""
    found: dict[str, float] = {}
    for count in _COUNTS:
        before = _resident_bytes()
        began = time.process_time()
        timers = [timer_class(timedelta(hours=1), print) for _ in range(count)]
        for timer in timers:
            timer.start()
        started = time.process_time()
        found["memory"] = _resident_bytes() - before
        resumed = time.process_time()
        for timer in timers:
            timer.cancel()
        found[str(count)] = started - began + time.process_time() - resumed
    return found


def _idle(timer_class: Any) -> object:
    """The processor time of one tick of a timer whose function does nothing to speak of."""
    ticks = 0
    done = threading.Event()

    def work() -> None:
        nonlocal ticks
        ticks += 1
        if ticks == _TICKS:
            done.set()

    timer = timer_class(timedelta(milliseconds=1), work)
    before = time.process_time()
    timer.start()
    done.wait()
    used = time.process_time() - before
    timer.cancel()
    return used / _TICKS


def _cancel(timer_class: Any) -> object:
    """The seconds that cancelling takes, for each of 200 timers that wait for their first tick."""
    seconds = []
    for _ in range(200):
        timer = timer_class(timedelta(hours=1), print)
        timer.start()
        time.sleep(0.001)
        began = time.perf_counter()
        timer.cancel()
        seconds.append(time.perf_counter() - began)
    return seconds


def _resident_bytes() -> int:
    """The memory of this process; 0 where the system does not tell."""
    try:
        with open("/proc/self/status") as status:
            return 1024 * next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    except FileNotFoundError:
        return 0


_JOBS: dict[str, Callable[[Any], object]] = {
    "behind": _behind,
    "lateness": _lateness,
    "many": _many,
    "idle": _idle,
    "cancel": _cancel,
}

if __name__ == "__main__":
    job, path = sys.argv[1:]
    print(json.dumps(_JOBS[job](original.load(Path(path))._PeriodicTimer if path else rdzv.PeriodicTimer)))
