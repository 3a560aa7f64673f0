"""What one call of each pure function costs, over common, long and bad inputs, next to upstream's function of the same name."""

from __future__ import annotations

import string
from datetime import timedelta

import rdzv
import rdzv.utils
from measure import Call, interleaved
from table import Budget, Findings, compared
from upstream import Upstream

_LONGEST_NAME = ".".join([string.ascii_lowercase * 2] * 5)[:253]
_MANY_OPTIONS = ",".join(f"key{number}=value{number}" for number in range(100))

# The name in upstream's file, what the row is called, the arguments, the budget, and what the call raises.
_PAIRED: tuple[tuple[str, str, tuple[object, ...], Budget | None, type[Exception] | None], ...] = (
    ("parse_rendezvous_endpoint", "name:port", ("node0.cluster.example:29400", 0), Budget(1 / 2.5), None),
    ("parse_rendezvous_endpoint", "[IPv6]:port", ("[2001:db8::1]:29400", 0), Budget(1.0), None),
    ("parse_rendezvous_endpoint", "IPv4:port", ("203.0.113.17:29400", 0), None, None),
    ("parse_rendezvous_endpoint", "name", ("node0", 0), None, None),
    ("parse_rendezvous_endpoint", "None", (None, 0), None, None),
    ("parse_rendezvous_endpoint", "name with an underscore:port", ("my_node:29400", 0), None, None),
    ("parse_rendezvous_endpoint", "a name of 253 letters:port", (f"{_LONGEST_NAME}:29400", 0), None, None),
    ("parse_rendezvous_endpoint", "[longest IPv6]:port", (f"[{'ffff:' * 7}ffff]:29400", 0), None, None),
    ("parse_rendezvous_endpoint", "a bad port", ("node0:http", 0), None, ValueError),
    ("parse_rendezvous_endpoint", "a bad host", ("node 0!:29400", 0), None, ValueError),
    ("_try_parse_port", "29400", ("29400",), Budget(1 / 2), None),
    ("_try_parse_port", "no number", ("http",), None, None),
    ("_parse_rendezvous_config", "three options", ("timeout=60,is_host=1,store_type=tcp",), Budget(1 / 1.2), None),
    ("_parse_rendezvous_config", "one option", ("timeout=60",), None, None),
    ("_parse_rendezvous_config", "a hundred options", (_MANY_OPTIONS,), None, None),
    ("_parse_rendezvous_config", "a bad option", ("timeout=60,is_host=",), None, ValueError),
    ("_delay", "0 seconds", (0.0,), None, None),
)

_OPTIONS = {"timeout": "60", "is_host": "yes"}
_ALONE = (
    ("format_rendezvous_endpoint, name", Call(rdzv.format_rendezvous_endpoint, ("node0.cluster.example", 29400))),
    ("format_rendezvous_endpoint, IPv6", Call(rdzv.format_rendezvous_endpoint, ("2001:db8::1", 29400))),
    ("format_rendezvous_config, three options", Call(rdzv.format_rendezvous_config, ({"a": 1, "b": True, "c": "x"},))),
    ("get_as_bool", Call(rdzv.get_as_bool, (_OPTIONS, "is_host"))),
    ("get_as_int", Call(rdzv.get_as_int, (_OPTIONS, "timeout"))),
    ("get_as_float", Call(rdzv.get_as_float, (_OPTIONS, "timeout"))),
    ("get_as_timedelta", Call(rdzv.get_as_timedelta, (_OPTIONS, "timeout", timedelta(seconds=1)))),
)


def findings(upstream: Upstream | None) -> Findings:
    """The rows on calls."""
    found = Findings("One call")
    for name, what, args, budget, raises in _PAIRED:
        calls = [Call(getattr(rdzv.utils, name), args, raises)]
        if upstream:
            calls.append(Call(getattr(upstream.module, name), args, raises))
        ours, *theirs = interleaved(calls, rounds=201)
        found.rows.append(compared(f"{name}: {what}", theirs[0] if theirs else None, ours, budget))
    samples = interleaved([call for _, call in _ALONE])
    found.rows += [compared(what, None, seconds) for (what, _), seconds in zip(_ALONE, samples, strict=True)]
    return found
