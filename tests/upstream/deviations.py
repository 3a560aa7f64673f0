"""Where rdzv differs from PyTorch on purpose: one row a difference, with its reason and examples that run on both sides.

This is the complete table; the README shows it. A difference that the comparisons find without a row fails, and so does a row
whose examples show no difference. The examples take a module, PyTorch's or ``rdzv.utils``, and tell what comes of them.
"""

from __future__ import annotations

import copy
import ipaddress
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest import mock

Outcome = object
Example = Callable[[Any], Outcome]


@dataclass(frozen=True)
class Deviation:
    """One row."""

    what: str
    upstream: str
    rdzv: str
    reason: str
    examples: dict[Example, tuple[Outcome, Outcome]]
    """What comes of each example, upstream and here."""
    covers: Callable[[str, Outcome, Outcome], bool] = lambda _text, _upstream, _rdzv: False
    """Whether a difference that a comparison found, in a text and the two outcomes, is of this row."""


def outcome(function: Callable[..., Any], *arguments: object) -> Outcome:
    """What a call returned, or the built-in type and the text of what it raised."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is the outcome
        return raised(next(kind for kind in type(error).__mro__ if kind.__module__ in ("builtins", "socket")), str(error))


def raised(kind: type[BaseException], text: str) -> Outcome:
    return ("raised", kind.__name__, text)


def no_host(endpoint: str) -> Outcome:
    labels = "a dot-separated list of labels, an IPv4 address, or an IPv6 address"
    return raised(ValueError, f"The hostname of the rendezvous endpoint '{endpoint}' must be {labels}.")


def no_port(endpoint: str) -> Outcome:
    number = "an integer between 0 and 65536"
    return raised(ValueError, f"The port number of the rendezvous endpoint '{endpoint}' must be {number}.")


def endpoint(text: object) -> Example:
    return lambda utils: outcome(utils.parse_rendezvous_endpoint, text, 29400)


def is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


# --- a machine that the examples make up


@contextmanager
def machine(name: str, answers: dict[str, list[str]], addresses: tuple[str, ...] = (), canonical: str = "") -> Iterator[None]:
    """A machine of this name and these addresses, whose resolver knows these answers and no others."""

    def getaddrinfo(host: str, *_: object, **__: object) -> list[tuple[Any, ...]]:
        host.encode("idna")  # as CPython does: it raises UnicodeError where a label is empty or too long
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            found = answers.get(host, [])
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(None, None, 0, canonical if host == name else "", (address, 0)) for address in found]

    def is_own(ip: object, patience: float) -> bool:
        return str(ip) in addresses

    with (
        mock.patch("socket.gethostname", return_value=name),
        mock.patch("socket.getaddrinfo", getaddrinfo),
        mock.patch("rdzv_hostmatch._match.is_own", is_own),
    ):
        yield


def matches(
    host: object,
    name: str = "node0",
    answers: dict[str, list[str]] | None = None,
    addresses: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
) -> Example:
    def ask(utils: Any) -> Outcome:
        resolved = {name: ["203.0.113.5"]} if answers is None else answers
        with machine(name, resolved, addresses), mock.patch.dict(os.environ, environment or {}):
            return outcome(utils._matches_machine_hostname, host)

    return ask


NOT_KNOWN = raised(socket.gaierror, "[Errno -2] Name or service not known")


def answers_before_a_slow_resolver(utils: Any) -> Outcome:
    answered = threading.Event()

    def getaddrinfo(*_: object, **__: object) -> list[tuple[Any, ...]]:
        answered.wait(1)
        return [(None, None, 0, "", ("203.0.113.9", 0))]

    with mock.patch("socket.getaddrinfo", getaddrinfo), mock.patch("rdzv_hostmatch._match._DEFAULT_TIMEOUT", 0.05):
        utils._matches_machine_hostname("203.0.113.7")
        early = not answered.is_set() and threading.active_count() > 1
        answered.set()
    return early


# --- timers


def quiet_timer(utils: Any, function: Callable[..., object], *arguments: object) -> Any:
    return utils._PeriodicTimer(timedelta(milliseconds=5), function, *arguments)


def goes_on_after_an_exception(utils: Any) -> Outcome:
    calls: list[None] = []
    twice, died = threading.Event(), threading.Event()

    def fail() -> None:
        calls.append(None)
        if len(calls) == 2:
            twice.set()
        raise LookupError

    with mock.patch("threading.excepthook", side_effect=lambda *_: died.set()):
        timer = quiet_timer(utils, fail)
        timer.start()
        died.wait(60)
        went_on = twice.wait(0.5)
        timer.cancel()
    return went_on


def cancel_from_inside(utils: Any) -> Outcome:
    outcomes: list[Outcome] = []
    done = threading.Event()
    held: list[Any] = []

    def cancel() -> None:
        outcomes.append(outcome(held[0].cancel))
        done.set()

    held.append(quiet_timer(utils, cancel))
    held[0].start()
    done.wait(60)
    return outcomes[0]


def blocks_when_dropped(utils: Any) -> Outcome:
    entered, dropped, released = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        entered.set()
        released.wait(60)

    def release() -> None:
        dropped.wait(0.5)
        released.set()

    timer = quiet_timer(utils, work)
    timer.start()
    entered.wait(60)
    releaser = threading.Thread(target=release)
    releaser.start()
    del timer
    blocked = released.is_set()
    dropped.set()
    releaser.join()
    return blocked


def starts_in_a_forked_child(utils: Any) -> Outcome:
    timer = utils._PeriodicTimer(timedelta(seconds=60), int)
    timer.start()
    child = os.fork()
    if child == 0:
        try:
            timer.start()
        except RuntimeError:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    timer.cancel()
    return os.waitstatus_to_exitcode(status) == 0


def constructed(seconds: float) -> Example:
    def refused(utils: Any) -> Outcome:
        try:
            utils._PeriodicTimer(timedelta(seconds=seconds), int)
        except ValueError:
            return "refused"
        return "constructed"

    return refused


def built(interval: object, function: object) -> Example:
    def build(utils: Any) -> Outcome:
        result = outcome(utils._PeriodicTimer, interval, function)
        return result if isinstance(result, tuple) else "built"

    return build


async def coroutine_function() -> None:
    pass


def generator_function() -> Iterator[None]:
    yield


RUNS_NOTHING = raised(TypeError, "The function must do its work when it is called; this is a coroutine or generator function.")


class Lazy:
    def __await__(self) -> Iterator[None]:
        yield


def fails_when_it_returns_an_awaitable(utils: Any) -> Outcome:
    called, failed = threading.Event(), threading.Event()

    def function() -> Lazy:
        called.set()
        return Lazy()

    with mock.patch("threading.excepthook", side_effect=lambda *_: failed.set()):
        timer = quiet_timer(utils, function)
        timer.start()
        called.wait(60)
        failed.wait(0.5)
        timer.cancel()
    return failed.is_set()


def copied(utils: Any) -> Outcome:
    result = outcome(copy.copy, utils._PeriodicTimer(timedelta(1), int))
    return result if isinstance(result, tuple) else "copied"


def cancelled(utils: Any) -> Outcome:
    timer = utils._PeriodicTimer(timedelta(seconds=60), int)
    timer.start()
    return timer.cancel()


def text_of(example: Example) -> Example:
    """Only the kind of what an example raised: its text is the interpreter's."""

    def kind(utils: Any) -> Outcome:
        result = example(utils)
        return result[1] if isinstance(result, tuple) and result[:1] == ("raised",) else result

    return kind


DEVIATIONS = [
    Deviation(
        what="the whole text is an IPv6 address, and PyTorch's split is refused or its host half is not an address: `::1`, "
        "`fe80::1`, `2001:db8::beef`",
        upstream='a wrong split such as `(":", 1)`, or ValueError',
        rdzv="the whole is the host, with the default port",
        reason="a silently wrong split sends a job to a host that does not exist",
        examples={
            endpoint("::1"): ((":", 1), ("::1", 29400)),
            endpoint("fe80::1"): (("fe80:", 1), ("fe80::1", 29400)),
            endpoint("::"): (no_port("::"), ("::", 29400)),
            endpoint("2001:db8::beef"): (no_port("2001:db8::beef"), ("2001:db8::beef", 29400)),
        },
        covers=lambda text, _, rdzv: is_ipv6(text.strip()) and "%" not in text and rdzv == (text.strip(), 29400),
    ),
    Deviation(
        what="zone ids: `[fe80::1%eth0]:29400`, `fe80::1%eth0`",
        upstream="ValueError",
        rdzv="accepted, kept in the host",
        reason="a link-local address cannot be reached without its zone (RFC 4007)",
        examples={
            endpoint("[fe80::1%eth0]:29401"): (no_host("[fe80::1%eth0]:29401"), ("fe80::1%eth0", 29401)),
            endpoint("fe80::1%eth0"): (no_port("fe80::1%eth0"), ("fe80::1%eth0", 29400)),
        },
        covers=lambda _text, _, rdzv: isinstance(rdzv, tuple) and "%" in rdzv[0] and is_ipv6(rdzv[0]),
    ),
    Deviation(
        what="`a:b:80` (a colon in a host that is not an IPv6 address)",
        upstream='`("a:b", 80)`',
        rdzv="ValueError, the hostname text",
        reason="no such host can exist, and the job would only find out when it times out",
        examples={endpoint("a:b:80"): (("a:b", 80), no_host("a:b:80"))},
        covers=lambda text, upstream, rdzv: (
            isinstance(upstream, tuple) and ":" in upstream[0] and not is_ipv6(upstream[0]) and rdzv == no_host(text.strip())
        ),
    ),
    Deviation(
        what='a newline just before the colon or bracket; `_try_parse_port("80\\n")`',
        upstream="accepted (`$` matches before a newline)",
        rdzv="refused; None",
        reason="no host name and no number has a newline in it",
        examples={
            endpoint("node0\n:80"): (("node0\n", 80), no_host("node0\n:80")),
            endpoint("[node0\n]"): (("node0\n", 29400), no_host("[node0\n]")),
            lambda utils: utils._try_parse_port("80\n"): (80, None),
        },
        covers=lambda text, upstream, rdzv: (
            (isinstance(upstream, tuple) and str(upstream[0]).endswith("\n") and rdzv == no_host(text.strip()))
            or (text.endswith("\n") and upstream is not None and rdzv is None)
        ),
    ),
    Deviation(
        what="the machine's own hostname does not resolve, or its label is 64 characters",
        upstream="the matcher raises gaierror, UnicodeError",
        rdzv="False",
        reason="the answer is known without resolving the hostname",
        examples={
            matches("203.0.113.9", answers={}): (NOT_KNOWN, False),
            text_of(matches("203.0.113.9", name="x" * 64)): ("UnicodeError", False),
        },
    ),
    Deviation(
        what="an address of this machine that its hostname does not resolve to; IPv4-mapped forms of its addresses",
        upstream="False",
        rdzv="True",
        reason="a job whose endpoint is on a secondary NIC would hang",
        examples={
            matches("203.0.113.77", addresses=("203.0.113.77",)): (False, True),
            matches("::ffff:203.0.113.5", addresses=("203.0.113.5",)): (False, True),
            matches("nic1", answers={"node0": ["203.0.113.5"], "nic1": ["203.0.113.77"]}, addresses=("203.0.113.77",)): (
                False,
                True,
            ),
        },
    ),
    Deviation(
        what="the hostname in another case or with a trailing dot, where that spelling resolves elsewhere or not at all",
        upstream="False",
        rdzv="True",
        reason="names are the same in any case and with the root's dot (RFC 4343, RFC 1034)",
        examples={matches("NODE0"): (False, True), matches("node0."): (False, True)},
        covers=lambda host, _, rdzv: rdzv is True and host.lower().removesuffix(".") == "node0",
    ),
    Deviation(
        what="other names of loopback (`ip6-localhost`, `localhost.`), `SLURMD_NODENAME`, "
        "the first label while nothing resolves",
        upstream="False",
        rdzv="True",
        reason="they mean this machine",
        examples={
            matches("ip6-localhost", answers={"node0": ["203.0.113.5"], "ip6-localhost": ["::1"]}): (False, True),
            matches("localhost."): (False, True),
            matches("gpu7", environment={"SLURMD_NODENAME": "gpu7"}): (False, True),
            matches("node0.cluster"): (False, True),
        },
        covers=lambda host, _, rdzv: rdzv is True and host.lower() == "localhost.",
    ),
    Deviation(
        what="look-ups that take longer than 15 s (`timeout`)",
        upstream="waits, up to a minute",
        rdzv="the answer so far",
        reason="a dead name server must not hold up a decision that needs none",
        examples={answers_before_a_slow_resolver: (False, True)},
    ),
    Deviation(
        what="the timer's function raises",
        upstream="the thread dies",
        rdzv="it is reported, and the next tick comes",
        reason="a heartbeat that dies silently kills a job that was well",
        examples={goes_on_after_an_exception: (False, True)},
    ),
    Deviation(
        what="`cancel()` from inside the timer's function",
        upstream="RuntimeError",
        rdzv="stops after the call",
        reason="the function is where a timer's end is noticed",
        examples={cancel_from_inside: (raised(RuntimeError, "cannot join current thread"), False)},
    ),
    Deviation(
        what="dropping a timer while its function runs",
        upstream="blocks until it returns",
        rdzv="does not block",
        reason="the garbage collector must not wait for a user's function",
        examples={blocks_when_dropped: (True, False)},
    ),
    Deviation(
        what="a started timer in a forked child",
        upstream='"already started", and nothing runs',
        rdzv="can be started again",
        reason="threads do not survive a fork",
        examples={starts_in_a_forked_child: (False, True)},
    ),
    Deviation(
        what="an interval of 0 or less, or over `threading.TIMEOUT_MAX`",
        upstream="a busy loop; the thread dies",
        rdzv="ValueError at construction",
        reason="an error belongs where it is made",
        examples={
            constructed(0): ("constructed", "refused"),
            constructed(-1): ("constructed", "refused"),
            constructed(threading.TIMEOUT_MAX + 1e6): ("constructed", "refused"),
        },
    ),
    Deviation(
        what="a coroutine function or a generator function as the timer's function; "
        "a function that returns an awaitable which does not run by itself",
        upstream="it is called, and nothing runs",
        rdzv="TypeError at construction; a failed call",
        reason="a heartbeat that counts its ticks but does nothing is found out too late",
        examples={
            built(timedelta(1), coroutine_function): ("built", RUNS_NOTHING),
            built(timedelta(1), generator_function): ("built", RUNS_NOTHING),
            fails_when_it_returns_an_awaitable: (False, True),
        },
    ),
    Deviation(
        what="copying a timer",
        upstream="a second timer with the same thread",
        rdzv="TypeError",
        reason="two timers cannot both decide when one thread ends",
        examples={copied: ("copied", raised(TypeError, "A timer can be neither copied nor pickled."))},
    ),
    Deviation(
        what="`_delay`, `cancel`",
        upstream="return None",
        rdzv="return bool",
        reason="whoever stops something wants to know whether it stopped",
        examples={lambda utils: utils._delay(0): (None, False), cancelled: (None, True)},
    ),
    Deviation(
        what="a non-`str` where a `str` is asked; a timer's interval that is not a `timedelta`, a function that cannot be "
        "called",
        upstream="various",
        rdzv="TypeError that names what was expected",
        reason="an AttributeError from inside says nothing",
        examples={
            endpoint(29400): (
                raised(AttributeError, "'int' object has no attribute 'strip'"),
                raised(TypeError, "endpoint must be a str or None, not int"),
            ),
            lambda utils: outcome(utils._try_parse_port, None): (
                None,
                raised(TypeError, "port_str must be a str, not NoneType"),
            ),
            lambda utils: outcome(utils._parse_rendezvous_config, None): (
                raised(AttributeError, "'NoneType' object has no attribute 'strip'"),
                raised(TypeError, "config_str must be a str, not NoneType"),
            ),
            lambda utils: outcome(utils._PeriodicTimer(timedelta(1), int).set_name, None): (
                None,
                raised(TypeError, "The name must be a str, not NoneType."),
            ),
            built(1, int): (
                raised(AttributeError, "'int' object has no attribute 'total_seconds'"),
                raised(TypeError, "The interval must be a datetime.timedelta, not int."),
            ),
            built(timedelta(1), None): ("built", raised(TypeError, "The function must be callable, not NoneType.")),
        },
    ),
]
