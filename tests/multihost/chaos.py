"""Random faults strike a job of four nodes for as long as told: ``tox run -e chaos -- --seconds 600 --seed 7``.

After each fault all four nodes have to train together again, nobody may have trained in two worlds, and the steps of the
checkpoint only go forward. At the end every agent has to end with 0. The seed makes the order of faults the same again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from cluster import PORT, Cluster
from lab import Lab
from topologies import BY_NAME, build

NAMES = ("node1", "node2", "node3", "node4")
ENDPOINTS = f"10.77.0.11:{PORT},10.77.0.12:{PORT}"
LIMIT = 120.0
"""Seconds until all nodes have to train again."""


class Faults:
    """What can happen to a job, each as a function of the random generator."""

    def __init__(self, job: Cluster, lab: Lab, chance: random.Random) -> None:
        self._job = job
        self._lab = lab
        self._chance = chance

    def all(self) -> list[Callable[[], str]]:
        return [self.worker_dies, self.node_is_killed, self.node_is_pre_empted, self.two_are_killed, self.node_is_cut_off]

    def worker_dies(self) -> str:
        name = self._chance.choice(NAMES)
        with contextlib.suppress(ProcessLookupError):
            os.kill(next(step.pid for step in reversed(self._job.steps) if step.node == name), signal.SIGKILL)
        return name

    def node_is_killed(self) -> str:
        return self._end("kill", 1)

    def two_are_killed(self) -> str:
        return self._end("kill", 2)

    def node_is_pre_empted(self) -> str:
        return self._end("terminate", 1)

    def node_is_cut_off(self) -> str:
        name = self._chance.choice(NAMES)
        seconds = self._chance.uniform(1, 25)
        self._lab.hosts[name].shell("ip link set eth0 down")
        time.sleep(seconds)
        self._lab.hosts[name].shell("ip link set eth0 up")
        return f"{name} for {seconds:.0f} s"

    def _end(self, how: str, count: int) -> str:
        names = self._chance.sample(NAMES, count)
        for name in names:
            getattr(self._job.nodes[name], how)()
        pause = self._chance.uniform(0, 10)
        time.sleep(pause)
        self._job.start(*names)
        return f"{', '.join(names)} for {pause:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(2), "big"))
    options = parser.parse_args()
    chance = random.Random(options.seed)
    print(f"seed {options.seed}", flush=True)
    struck: Counter[str] = Counter()
    slowest = 0.0
    with build(BY_NAME["plain"]) as lab:
        lab.add_host("node4", 14)
        with Cluster(lab, ENDPOINTS, nnodes="3:4", max_restarts=1000) as job:
            begin = time.monotonic()
            job.start(*NAMES)
            job.trains(*NAMES, since=begin, within=LIMIT)
            faults = Faults(job, lab, chance)
            while time.monotonic() < begin + options.seconds:
                strike = chance.choice(faults.all())
                where = strike()
                took = job.trains(*NAMES, since=time.monotonic(), within=LIMIT)
                job.check_worlds()
                slowest = max(slowest, took)
                struck[strike.__name__] += 1
                print(
                    f"{time.monotonic() - begin:5.0f} s  {strike.__name__} ({where}): all train after {took:.1f} s", flush=True
                )
                time.sleep(chance.uniform(0, 5))
            assert job.finish(*NAMES) == [0] * len(NAMES), job.log()
            job.check_worlds()
            last = max(step.step for step in job.steps)
    print(f"{sum(struck.values())} faults, {dict(struck)}; slowest {slowest:.1f} s; {last} steps, none twice")
    return 0


if __name__ == "__main__":
    sys.exit(main())
