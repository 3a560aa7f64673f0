"""What type checkers must accept, and what they must make of it. Run by mypy and pyright, never executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

import rdzv
import rdzv.utils
from rdzv_config import ConfigError, format_rendezvous_config, get_as_bool, get_as_float, get_as_int, get_as_timedelta
from rdzv_endpoint import EndpointError, format_rendezvous_endpoint, parse_rendezvous_endpoint, try_parse_port
from rdzv_hostmatch import HostMatch, MatchRule, is_local_address, match_host, matches_machine_hostname, source_address
from rdzv_scheduler import Job, SchedulerError, expand_hostlist, job_of
from rdzv_timer import MissedTick, PeriodicTimer, delay

if TYPE_CHECKING:
    from typing_extensions import assert_type


def endpoints(error: EndpointError) -> None:
    """Endpoints."""
    assert_type(parse_rendezvous_endpoint(None, -1), tuple[str, int])
    assert_type(parse_rendezvous_endpoint("node0:1", default_port=1), tuple[str, int])
    assert_type(try_parse_port("1"), int | None)
    assert_type(format_rendezvous_endpoint("node0", 1), str)
    assert_type(error.span, tuple[int, int])
    assert_type(error.hint, str)


def options(error: ConfigError, parameters: Mapping[str, object]) -> None:
    """Options."""
    parsed = rdzv.parse_rendezvous_config("a=1")
    assert_type(rdzv.parse_rendezvous_config("a=1", unique_keys=True, known={"a"}), dict[str, str])
    assert_type(get_as_bool(parsed, "a"), bool | None)
    assert_type(get_as_int({"a": "1"}, "a"), int | None)
    assert_type(get_as_float(parsed, "a", None), float | None)
    assert_type(get_as_timedelta(parameters, "a"), timedelta | None)
    assert_type(format_rendezvous_config({"a": True, "b": 1.5, "c": timedelta(1), "d": "x"}), str)
    assert_type(error.span, tuple[int, int] | None)


def defaults(parsed: dict[str, str], parameters: Mapping[str, object], perhaps: int | None) -> None:
    """With a default the result is not None, unless the default or a value of the mapping may be None."""
    assert_type(get_as_bool(parsed, "a", False), bool)
    assert_type(get_as_int(parsed, "a", 1), int)
    assert_type(get_as_int({"a": True, "b": 1.5, "c": timedelta(1), "d": "x"}, "a", default=1), int)
    assert_type(get_as_float(parsed, "a", 1), float)
    assert_type(get_as_timedelta(parsed, "a", timedelta(seconds=1)).total_seconds(), float)
    assert_type(get_as_int(parsed, "a", perhaps), int | None)
    assert_type(get_as_int(parameters, "a", 1), int | None)


def hosts() -> None:
    """Hosts."""
    match = match_host("node0", timeout=1, wait=0.5, names=["a"], probe_port=29400)
    assert_type(match, HostMatch)
    assert_type(match.answer, bool | None)
    assert_type(match.rule, MatchRule)
    assert_type(match.addresses, tuple[str, ...])
    assert_type(match.warnings, tuple[tuple[str, str], ...])
    assert_type(matches_machine_hostname("node0"), bool)
    assert_type(is_local_address("127.0.0.1"), bool)
    assert_type(source_address("127.0.0.1"), str | None)


def schedulers(job: Job, error: SchedulerError) -> None:
    """Schedulers."""
    assert_type(job_of(), Job | None)
    assert_type(job_of({"SLURM_JOB_ID": "1"}), Job | None)
    assert_type(job.nodes, tuple[str, ...])
    assert_type(job.nnodes, int)
    assert_type(job.node_rank, int | None)
    assert_type(expand_hostlist("node[1-2]"), Iterator[str])
    assert_type(error.value, str | None)
    assert_type(error.span, tuple[int, int] | None)


def timers() -> None:
    """Timers."""

    def beat(number: int, *, loud: bool) -> str:
        return str(number)

    timer = PeriodicTimer(timedelta(seconds=1), beat, 1, loud=True)
    timer.set_missed_tick(MissedTick.SKIP)
    timer.set_error_handler(lambda error, failures: failures < 3)
    assert_type(timer.name, str | None)
    assert_type(timer.ticks, int)
    assert_type(timer.lateness, float)
    assert_type(timer.cancel(timeout=1.0), bool)
    with timer as running:
        assert_type(running, PeriodicTimer)
    assert_type(delay((0.1, 0.2)), bool)


def whole_check() -> None:
    """The report, and what is in it."""
    report = rdzv.check("node0", conf="is_host=1", nnodes=2, timeout=1.0, wait=0.0, probe=False)
    assert_type(report, rdzv.Report)
    assert_type(report.answer, bool | None)
    assert_type(report.match, HostMatch)
    assert_type(report.problems, tuple[tuple[str, str], ...])
    assert_type(report.local_addr, str | None)
    assert_type(report.as_dict(), dict[str, object])


def original_names() -> None:
    """The original module has the same types."""
    assert_type(rdzv.utils.parse_rendezvous_endpoint("a", 1), tuple[str, int])
    assert_type(rdzv.utils._matches_machine_hostname("a"), bool)
    assert_type(rdzv.utils._PeriodicTimer(timedelta(1), print), PeriodicTimer)


class Heartbeat(PeriodicTimer):
    """A timer of a user's own."""


def timer_functions() -> None:
    """A timer takes what its function takes, and `with` gives what it was given."""

    def beat(number: int, *, loud: bool = False) -> None:
        return

    PeriodicTimer(timedelta(1), beat, 1)
    PeriodicTimer(timedelta(1), beat, number=1, loud=True)
    PeriodicTimer(timedelta(1), print, "alive", flush=True)
    PeriodicTimer(timedelta(1), lambda: None)
    with Heartbeat(timedelta(1), beat, 1) as running:
        assert_type(running, Heartbeat)
        assert_type(running.is_running, bool)
