"""PyTorch's rendezvous helpers without PyTorch: the public names of their distributions, and the whole check, in one place.

``rdzv_endpoint`` reads where a job meets, ``rdzv_config`` its options, ``rdzv_hostmatch`` decides whether this machine is the
one, ``rdzv_timer`` keeps a heartbeat going. :func:`check` is what the command ``rdzv check`` prints. :mod:`rdzv.utils` has what
PyTorch has, under its original names. What a scheduler says of a job is in ``rdzv_scheduler``, which this does not load.
"""

# Python 3.15 loads each of these when a name of its is first used (PEP 810); older ones take no notice.
__lazy_modules__: list[str] = ["rdzv._check", "rdzv_config", "rdzv_endpoint", "rdzv_hostmatch", "rdzv_timer"]

from rdzv_config import (
    ConfigError,
    format_rendezvous_config,
    get_as_bool,
    get_as_float,
    get_as_int,
    get_as_timedelta,
    parse_rendezvous_config,
)
from rdzv_endpoint import EndpointError, format_rendezvous_endpoint, parse_rendezvous_endpoint, try_parse_port
from rdzv_hostmatch import (
    HostMatch,
    MatchRule,
    is_local_address,
    match_host,
    matches_machine_hostname,
    source_address,
)
from rdzv_timer import MissedTick, PeriodicTimer, delay

from ._check import Report, check

__all__ = [
    "ConfigError",
    "EndpointError",
    "HostMatch",
    "MatchRule",
    "MissedTick",
    "PeriodicTimer",
    "Report",
    "check",
    "delay",
    "format_rendezvous_config",
    "format_rendezvous_endpoint",
    "get_as_bool",
    "get_as_float",
    "get_as_int",
    "get_as_timedelta",
    "is_local_address",
    "match_host",
    "matches_machine_hostname",
    "parse_rendezvous_config",
    "parse_rendezvous_endpoint",
    "source_address",
    "try_parse_port",
]
