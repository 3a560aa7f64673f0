"""Call every public function from 64 threads at once, and see that no answer is somebody else's, and that nothing piles up.

    python load.py --seconds 60

Each thread asks about hosts, ports, options and timers of its own, so that an answer which belongs to another thread is a wrong
one. Names are answered within this process: no packet leaves the machine. Half way and at the end everything is counted:
threads, file descriptors, memory. The last line says how many answers were right and how many wrong; the exit status is 0 if
none was wrong and nothing has grown.
"""

from __future__ import annotations

import argparse
import gc
import pickle
import random
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import rdzv
import rdzv_scheduler
from rdzv_hostmatch import _probe

THREADS = 64
FIRST_PORT = 20_000  # below the ports that the system gives away by itself
MIB = 2**20


resolve_number = socket.getaddrinfo


def resolve(host: str, port: int | None, **options: int) -> list[tuple[object, ...]]:
    """The names of the threads, and addresses: no packet leaves this machine."""
    if host.startswith("node"):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.{host[4:].partition('.')[0]}.1", 0))]
    options["flags"] = options.get("flags", 0) | socket.AI_NUMERICHOST
    return list(resolve_number(host, port, **options))


def questions(number: int) -> dict[str, Callable[[], bool]]:
    """For each public name what this thread asks of it: was the answer its own?"""
    host, port, key = f"node{number}.example", FIRST_PORT + number, f"key{number}"
    own, foreign = f"127.0.{number}.1", f"203.0.113.{number}"
    options = {key: str(number), "other": "x"}
    ran = threading.Event()

    def endpoint_error() -> bool:
        try:
            rdzv.parse_rendezvous_endpoint(f"{host}:{port}x", 0)
        except rdzv.EndpointError as error:
            copy = pickle.loads(pickle.dumps(error))
            return str(copy.endpoint[slice(*copy.span)]) == f"{port}x"
        return False

    def config_error() -> bool:
        try:
            rdzv.parse_rendezvous_config(f"{key}=1,{key}=2", unique_keys=True)
        except rdzv.ConfigError as error:
            return error.key == key
        return False

    def timer() -> bool:
        ran.clear()
        beat = rdzv.PeriodicTimer(timedelta(milliseconds=1), ran.set)
        beat.set_name(key)
        beat.set_missed_tick(rdzv.MissedTick.SKIP)
        with beat:
            ticked = ran.wait(60)
        return ticked and beat.name == key and beat.ticks > 0

    def probe() -> bool:
        arrived_at = _probe.probe([own], port, time.monotonic() + 60)
        return arrived_at is not None and arrived_at.endswith(own)

    def own_match() -> bool:
        match = rdzv.match_host(host)
        return match.rule is rdzv.MatchRule.RESOLVED_ADDRESS and match.addresses == (own,)

    def foreign_match() -> bool:
        match: rdzv.HostMatch = rdzv.match_host(foreign, names=[host])
        return (match.host, match.rule) == (foreign, rdzv.MatchRule.FOREIGN_ADDRESS)

    def scheduler_error() -> bool:
        try:
            rdzv_scheduler.job_of({"SLURM_JOB_ID": key})
        except rdzv_scheduler.SchedulerError as error:
            return error.variable == "SLURM_JOB_NODELIST"
        return False

    def job() -> bool:
        read = rdzv_scheduler.job_of({"SLURM_JOB_ID": key, "SLURM_JOB_NODELIST": f"{key}n[1-3]"})
        return isinstance(read, rdzv_scheduler.Job) and (read.run_id, read.nodes[2]) == (key, f"{key}n3")

    def checked() -> bool:
        report = rdzv.check(f"{foreign}:{port}")
        return isinstance(report, rdzv.Report) and (report.host, report.port, report.answer) == (foreign, port, False)

    return {
        "ConfigError": config_error,
        "EndpointError": endpoint_error,
        "HostMatch": foreign_match,
        "Job": job,
        "MatchRule": lambda: rdzv.match_host(host, names=[host]).rule is rdzv.MatchRule.OWN_NAME,
        "MissedTick": timer,
        "PeriodicTimer": timer,
        "Report": checked,
        "SchedulerError": scheduler_error,
        "check": checked,
        "delay": lambda: rdzv.delay((0.01, 0.011), stop=ran) is ran.is_set(),
        "expand_hostlist": lambda: list(rdzv_scheduler.expand_hostlist(f"{key}n[1-2]")) == [f"{key}n1", f"{key}n2"],
        "format_rendezvous_config": lambda: rdzv.format_rendezvous_config(options) == f"{key}={number},other=x",
        "format_rendezvous_endpoint": lambda: rdzv.format_rendezvous_endpoint(host, port) == f"{host}:{port}",
        "get_as_bool": lambda: rdzv.get_as_bool({key: number % 2}, key) is bool(number % 2),
        "get_as_float": lambda: rdzv.get_as_float(options, key) == float(number),
        "get_as_int": lambda: rdzv.get_as_int(options, key) == number,
        "get_as_timedelta": lambda: rdzv.get_as_timedelta(options, key) == timedelta(seconds=number),
        "is_local_address": lambda: rdzv.is_local_address(own) and not rdzv.is_local_address(foreign),
        "job_of": job,
        "match_host": lambda: own_match() and probe(),
        "matches_machine_hostname": lambda: rdzv.matches_machine_hostname(own),
        "parse_rendezvous_config": lambda: rdzv.parse_rendezvous_config(f" {key} = {number} ,other=x") == options,
        "parse_rendezvous_endpoint": lambda: rdzv.parse_rendezvous_endpoint(f"{host}:{port}", 0) == (host, port),
        "source_address": lambda: rdzv.source_address(own) is None,
        "try_parse_port": lambda: rdzv.try_parse_port(str(port)) == port,
    }


def ask(number: int, deadline: float, right: Counter[str], wrong: list[str]) -> None:
    """Ask in an order of its own until the deadline."""
    mine = list(questions(number).items())
    chance = random.Random(number)
    while time.monotonic() < deadline:
        chance.shuffle(mine)
        for name, question in mine:
            try:
                answer = question()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is no answer
                wrong.append(f"{name}: {error!r}")
            else:
                right[name] += answer
                if not answer:
                    wrong.append(f"{name}: an answer that is not its own")


def half(seconds: float, right: list[Counter[str]], wrong: list[str]) -> dict[str, int]:
    """Ask from all threads for so long; what is there afterwards."""
    deadline = time.monotonic() + seconds
    counters = [Counter[str]() for _ in range(THREADS)]
    threads = [threading.Thread(target=ask, args=(number, deadline, counters[number], wrong)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    right.extend(counters)
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(30)  # look-ups that nobody waits for any more
    gc.collect()
    return {
        "threads": threading.active_count(),
        "file descriptors": len(list(Path("/proc/self/fd").iterdir())),
        "MiB of memory": int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // MIB,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, all in all (60)")
    seconds = parser.parse_args().seconds
    setattr(socket, "getaddrinfo", resolve)  # noqa: B010  # a replacement need not have its type
    public = {*rdzv.__all__, *rdzv_scheduler.__all__}
    if set(questions(0)) != public:
        raise SystemExit(f"not asked: {public ^ set(questions(0))}")
    right: list[Counter[str]] = []
    wrong: list[str] = []
    first, second = (half(seconds / 2, right, wrong) for _ in range(2))
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    print(f"Python {sys.version.split()[0]}, {'with' if gil else 'without'} the GIL, {THREADS} threads")
    for what, before in first.items():
        print(f"{what}: {before} half way, {second[what]} at the end")
        # A few MiB are the allocator's, which keeps what was needed at the worst moment.
        if second[what] > before + (16 if "MiB" in what else 0):
            wrong.append(f"{what} have grown")
    total = sum(right, Counter[str]())
    print(f"least asked: {total.most_common()[-1]}")
    for what, times in Counter(wrong).most_common(20):
        print(f"FAILED ({times} times): {what}")
    print(f"{total.total()} passed, {len(wrong)} failed")
    return bool(wrong) or set(total) != set(questions(0))


if __name__ == "__main__":
    sys.exit(main())
