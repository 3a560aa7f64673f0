"""How the cost of "is this address mine?" grows with the number of this machine's addresses, from 1 to 10,000.

Each number has a network namespace of its own, held by a worker process (this file, run as a program) that measures whenever
it is told to, so that the workers take turns. A namespace is gone when its worker is, and no other program ever sees it.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
from contextlib import ExitStack

import rdzv
from measure import Call, exponent, interleaved, median_ratio
from table import Budget, Curve, Findings, Row
from upstream import Upstream

_COUNTS = (1, 10, 100, 1_000, 10_000)
_ROUNDS = 31
_FOREIGN = "203.0.113.7"
_WHAT = "an own address, 10,000 of them"
_PANEL = "Own addresses: addresses of this machine"
_BUDGET = Budget(1.5)
_FLAT = Budget(0.1, on="value")


def findings(_upstream: Upstream | None) -> Findings:
    """The rows and curves on local addresses; upstream asks the resolver instead, which knows only of the own name's."""
    found = Findings("Growth from 1 to 10,000 local addresses")
    if not (sys.platform == "linux" and shutil.which("unshare") and shutil.which("ip")):
        return _unavailable(found, "needs Linux, unshare and ip")
    with ExitStack() as stack:
        workers = {count: stack.enter_context(_worker(count)) for count in _COUNTS}
        if any(_answer(worker) != ["ready"] for worker in workers.values()):
            return _unavailable(found, "this user may not make network namespaces")
        own: dict[int, list[float]] = {count: [] for count in _COUNTS}
        foreign: dict[int, list[float]] = {count: [] for count in _COUNTS}
        for _ in range(_ROUNDS):
            for count, worker in workers.items():
                assert worker.stdin
                print("go", file=worker.stdin, flush=True)
                mine, other = map(float, _answer(worker))
                own[count].append(mine)
                foreign[count].append(other)
    few, many = _COUNTS[0], _COUNTS[-1]
    for what, samples, budget in ((_WHAT, own, _BUDGET), ("a foreign address, 10,000 own ones", foreign, None)):
        ratio = median_ratio(samples[many], samples[few])
        found.rows.append(Row(what, None, statistics.median(samples[many]), "s", ratio, budget, "ratio to 1 own address"))
        points = [(float(count), statistics.median(seconds)) for count, seconds in samples.items()]
        fitted = Row(f"exponent: {what.partition(',')[0]}", None, exponent(points), "^", budget=_FLAT if budget else None)
        found.rows.append(fitted)
        found.curves.append(Curve(_PANEL, f"is_local_address: {what.partition(',')[0]}", upstream=False, points=points))
    return found


def _unavailable(found: Findings, reason: str) -> Findings:
    found.rows.append(Row(_WHAT, None, None, "s", budget=_BUDGET, note=reason))
    return found


def _worker(count: int) -> subprocess.Popen[str]:
    command = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    return subprocess.Popen(
        [*command, sys.executable, __file__, str(count)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _answer(worker: subprocess.Popen[str]) -> list[str]:
    assert worker.stdout
    return worker.stdout.readline().split()


def _serve(count: int) -> None:
    """The worker: give this namespace so many addresses, then measure whenever a line comes in."""
    addresses = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(1, count + 1)]
    batch = ["link set lo up", *(f"address add {address}/32 dev lo" for address in addresses)]
    subprocess.run(["ip", "-batch", "-"], input="\n".join(batch), text=True, check=True)
    own = addresses[count // 2]
    assert rdzv.is_local_address(own)
    assert not rdzv.is_local_address(_FOREIGN)
    print("ready", flush=True)
    for _ in sys.stdin:
        mine, other = interleaved(
            [Call(rdzv.is_local_address, (own,)), Call(rdzv.is_local_address, (_FOREIGN,))], rounds=3, waits=True
        )
        print(statistics.median(mine), statistics.median(other), flush=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
