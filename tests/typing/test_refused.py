"""What type checkers must refuse: every ignore below is needed, or the checker complains of it. Never executed.

Each checker has its own ignore, and looks at no other's: pyrightconfig.json says so for this folder.
"""

from __future__ import annotations

from datetime import timedelta

from rdzv_config import format_rendezvous_config, get_as_int, parse_rendezvous_config
from rdzv_endpoint import parse_rendezvous_endpoint, try_parse_port
from rdzv_hostmatch import HostMatch, match_host
from rdzv_scheduler import Job, expand_hostlist, job_of
from rdzv_timer import PeriodicTimer, delay


def refused(match: HostMatch, job: Job) -> None:
    """Wrong types, wrong keywords, assignments to what is frozen."""
    parse_rendezvous_endpoint(b"node0", 1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    parse_rendezvous_endpoint("node0")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    try_parse_port(80)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    parse_rendezvous_config("a=1", True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    get_as_int("a=1", "a")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    format_rendezvous_config({"a": None})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    match_host("node0", 5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    match_host("node0", probe_port="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    match.answer = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    job_of({"SLURM_JOB_ID": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
    job_of("SLURM_JOB_ID=1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    expand_hostlist(["node0"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    job.nodes = ()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    PeriodicTimer(1.0, print)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PeriodicTimer(timedelta(1), "print")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    delay("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def wrong_arguments_of_a_timer_function() -> None:
    """A timer takes what its function takes."""

    def beat(number: int, *, loud: bool = False) -> None:
        return

    PeriodicTimer(timedelta(1), beat)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    PeriodicTimer(timedelta(1), beat, "1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    PeriodicTimer(timedelta(1), beat, 1, True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    PeriodicTimer(timedelta(1), beat, 1, lout=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
