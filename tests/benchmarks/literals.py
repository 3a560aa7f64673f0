"""What the question "is this machine the host?" costs, with a resolver made up for it: healthy, forbidden, or dead.

The machine's resolver is never asked: the numbers are those of the code and of the kernel, and nothing reaches a network.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import rdzv
from measure import Call, interleaved, median_ratio
from table import Budget, Findings, Row, compared
from upstream import Upstream

_FOREIGN = {"203.0.113.7": "an IPv4 address", "2001:db8::7": "an IPv6 address"}
_OWN_NAME_ADDRESS = "198.51.100.1"
_BOUNDED = Budget(1e-3, on="value")
_UNAIDED = Budget(1e-4, on="value")
_NOT_SLOWER = Budget(1.0)
# A dead name server, in short: each look-up fails, but only after this many seconds. Real ones take 5 to 30.
_DEAD_SECONDS = 1.0
_TIMEOUT = 0.5


def findings(upstream: Upstream | None) -> Findings:
    """The rows on host matching."""
    found = Findings("Host matching")
    for host, what in _FOREIGN.items():
        with _resolver(_healthy(_OWN_NAME_ADDRESS)):
            budget = _BOUNDED if host == "203.0.113.7" else None
            found.rows.append(_paired(f"foreign: {what}", host, upstream, budget, foreign=True))
    with _resolver(_healthy(_OWN_NAME_ADDRESS)):
        found.rows.append(_paired("foreign: a name", "node7.cluster.example", upstream, None, foreign=True))
        [seconds] = interleaved([Call(rdzv.match_host, ("203.0.113.7",))], rounds=301, batch_seconds=0, waits=True)
        found.rows.append(compared("foreign: an IPv4 address, by match_host with reasons", None, seconds))

    own = rdzv.source_address("192.0.2.1") or rdzv.source_address("2001:db8::1")
    known = [("own: its name", socket.gethostname(), _NOT_SLOWER)]
    known += [(f"loopback: {literal}", literal, _NOT_SLOWER) for literal in ("127.0.0.1", "127.0.1.1", "::1")]
    if own:
        known.insert(0, ("own: an address", own, _UNAIDED))
    else:
        found.rows.append(Row("own: an address", None, None, budget=_UNAIDED, note="this machine has none but loopback"))
    for what, host, budget in known:
        with _resolver(_healthy(host)):
            found.rows.append(_paired(what, host, upstream, budget, foreign=False))
        found.rows.append(Row(f"look-ups and threads for {what}", None, _aids(host), "", budget=Budget(0, on="value")))
    found.rows.append(_localhost(upstream))
    found.rows.append(_dead(upstream))
    return found


def _paired(what: str, host: str, upstream: Upstream | None, budget: Budget | None, *, foreign: bool) -> Row:
    calls = [Call(rdzv.matches_machine_hostname, (host,))]
    if upstream:
        calls.append(Call(upstream.module._matches_machine_hostname, (host,)))
    if foreign:
        # These wait for the thread that looks them up. Single calls, as a batch of them seldom goes undisturbed.
        ours, *theirs = interleaved(calls, rounds=301, batch_seconds=0, waits=True)
    else:
        ours, *theirs = interleaved(calls)
    return compared(what, theirs[0] if theirs else None, ours, budget, note="healthy resolver" if foreign else "")


def _localhost(upstream: Upstream | None) -> Row:
    def is_localhost(host: str) -> bool:
        return host == "localhost"

    functions = [rdzv.matches_machine_hostname, is_localhost]
    if upstream:
        functions.append(upstream.module._matches_machine_hostname)
    ours, bare, *theirs = interleaved([Call(function, ("localhost",)) for function in functions])
    base = statistics.median(theirs[0]) if theirs else None
    ratio = median_ratio(ours, bare)
    return Row("localhost", base, statistics.median(ours), ratio=ratio, budget=Budget(1.5), note="ratio to a bare comparison")


def _aids(host: str) -> int:
    """How many look-ups and threads one question takes."""
    with _resolver(_healthy(host)) as asked, patch.object(threading.Thread, "start", lambda _: asked.append("a thread")):
        assert rdzv.matches_machine_hostname(host)
    return len(asked)


def _dead(upstream: Upstream | None) -> Row:
    def dead(host: str, asked: list[str]) -> list[str]:
        time.sleep(_DEAD_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    theirs: list[float] = []
    with _resolver(dead):
        ours = [rdzv.match_host("node7.cluster.example", timeout=_TIMEOUT).elapsed for _ in range(5)]
        if upstream:
            began = time.perf_counter()
            try:
                upstream.module._matches_machine_hostname("node7.cluster.example")
            except socket.gaierror:
                theirs.append(time.perf_counter() - began)
    time.sleep(_DEAD_SECONDS)  # let the abandoned look-ups end
    # The budget is the timeout; waking up takes the system a moment.
    budget = Budget(_TIMEOUT * 1.02, on="value")
    return Row(
        f"timeout of {_TIMEOUT:g} s while DNS is dead",
        theirs[0] if theirs else None,
        statistics.median(ours),
        budget=budget,
        note=f"each look-up takes {_DEAD_SECONDS:g} s and fails; upstream then raises",
    )


def _healthy(own_name_address: str) -> Callable[[str, list[str]], list[str]]:
    """A resolver that answers at once: the own name with this address, literals with themselves, names with a foreign one."""

    def answer(host: str, asked: list[str]) -> list[str]:
        asked.append(host)
        if host == socket.gethostname():
            return [own_name_address]
        return [host] if ":" in host or host[-1].isdigit() else ["203.0.113.8"]

    return answer


@contextmanager
def _resolver(answer: Callable[[str, list[str]], list[str]]) -> Iterator[list[str]]:
    """Have both sides ask this resolver; what it was asked."""
    asked: list[str] = []

    def getaddrinfo(host: str, _port: object, **_options: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in answer(host, asked)]

    with patch.object(socket, "getaddrinfo", getaddrinfo):
        yield asked
