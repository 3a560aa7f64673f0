"""What a fuzzer's bytes become: each target makes an input of them, hands it to rdzv, and holds the answer to the promises.

A target raises where a promise is broken, and returns nothing. They are called by atheris (`run.py`) and by hypothesis
(`test_targets.py`). Bytes that are no UTF-8 become lone surrogates, so that every str can be reached.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import itertools
import json
import pickle
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

_TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(_TESTS / "upstream"), str(_TESTS / "benchmarks")]

import upstream as upstream_file  # noqa: E402
from deviations import DEVIATIONS, machine, outcome  # noqa: E402
from rdzv import (  # noqa: E402
    ConfigError,
    EndpointError,
    format_rendezvous_config,
    format_rendezvous_endpoint,
    match_host,
    parse_rendezvous_config,
    parse_rendezvous_endpoint,
    try_parse_port,
    utils,
)
from rdzv._command import main  # noqa: E402
from rdzv_hostmatch import _match, _probe  # noqa: E402
from rdzv_scheduler import SchedulerError, expand_hostlist, job_of  # noqa: E402

_FOUND = upstream_file.find()
if _FOUND is None:
    raise ImportError("the targets compare with PyTorch's file: pip install --no-deps torch==2.13.0")
UPSTREAM: ModuleType = _FOUND.module

_ADDRESSES = ["203.0.113.5", "203.0.113.9", "127.0.1.1", "::1", "fe80::1%eth0", "::ffff:203.0.113.5", "no address", ""]
_NONCE = b"0123456789abcdef"


def text_of(data: bytes) -> str:
    """Any bytes as a str, any str by some bytes."""
    return data.decode("utf-8", "surrogateescape")


def _compare(text: str, theirs: object, mine: object) -> None:
    if theirs != mine:
        assert any(row.covers(text, theirs, mine) for row in DEVIATIONS), f"{text!r}: {theirs!r} -> {mine!r} has no row"


def _assert_printable(text: str) -> None:
    for line in text.split("\n"):
        assert line.isprintable(), f"{line!r} could move a cursor"


def endpoint(data: bytes) -> None:
    """An endpoint is parsed as PyTorch parses it, and can be written again, or refused with a place in the text."""
    text = text_of(data)
    theirs = outcome(UPSTREAM.parse_rendezvous_endpoint, text, 29400)
    _compare(text, theirs, outcome(parse_rendezvous_endpoint, text, 29400))
    try:
        host, port = parse_rendezvous_endpoint(text, 29400)
    except EndpointError as error:
        start, end = error.span
        assert 0 <= start <= end <= len(text)
        _assert_printable(error.hint)
        assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
    else:
        assert parse_rendezvous_endpoint(format_rendezvous_endpoint(host, port), -1) == (host, port)


def port(data: bytes) -> None:
    """A port is what PyTorch takes for one."""
    text = text_of(data)
    number = try_parse_port(text)
    _compare(text, UPSTREAM._try_parse_port(text), number)
    assert number is None or 0 <= number <= 99999


def config(data: bytes) -> None:
    """Options are read as PyTorch reads them, and can be written again, or refused with a place in the text."""
    text = text_of(data)
    assert outcome(UPSTREAM._parse_rendezvous_config, text) == outcome(parse_rendezvous_config, text)
    for unique_keys, known in ((False, None), (True, None), (True, ("a", "join_timeout"))):
        try:
            options = parse_rendezvous_config(text, unique_keys=unique_keys, known=known)
        except ConfigError as error:
            assert error.span is not None
            start, end = error.span
            assert 0 <= start <= end <= len(text)
            _assert_printable(error.hint)
            assert vars(pickle.loads(pickle.dumps(error))) == vars(error)
        else:
            assert parse_rendezvous_config(format_rendezvous_config(options)) == options


@contextlib.contextmanager
def _made_up_machine(name: str, answers: dict[str, list[str]]) -> Iterator[list[str]]:
    """A machine without a network; what it is asked to look up."""
    looked_up: list[str] = []
    with machine(name, answers, addresses=("203.0.113.5",)):
        resolve: Callable[..., Any] = socket.getaddrinfo

        def getaddrinfo(host: str, *arguments: object, **options: object) -> object:
            looked_up.append(host)
            return resolve(host, *arguments, **options)

        with mock.patch("socket.getaddrinfo", getaddrinfo):
            yield looked_up


def host(data: bytes) -> None:
    """A host is decided on without an exception, and nothing with a space or a control character in it is looked up.

    The first byte says what the host resolves to, the second what the machine's own name does; the third is the length of the
    own name, which comes before the host.
    """
    if len(data) < 3:
        return
    cut = data[2] % 16
    text, own = text_of(data[3 + cut :]), text_of(data[3 : 3 + cut])
    if not own.strip("."):
        own = "node0"  # no machine is called nothing, or the root of all names
    answers = {}
    for name, choice in ((text, data[0]), (own, data[1])):
        if choice & 0x80 and _match._can_be_looked_up(name):
            answers[name] = [_ADDRESSES[choice % len(_ADDRESSES)]]
    with _made_up_machine(own, answers) as looked_up:
        theirs = outcome(UPSTREAM._matches_machine_hostname, text)
        looked_up.clear()
        mine = utils._matches_machine_hostname(text)
        match = match_host(text)
        for name in looked_up:
            asked = name if name.isascii() else name.encode("idna").decode()
            assert asked.isprintable(), f"{name!r} was looked up"
            assert " " not in asked, f"{name!r} was looked up"
    assert mine is bool(match)
    assert mine or theirs is not True, f"a yes of PyTorch's became a no: {text!r} on {own!r}, {answers!r}"
    _assert_printable(str(match))
    assert pickle.loads(pickle.dumps(match)) == match
    assert _match._folded(_match._folded(text) + ".") == _match._folded(text)
    assert "." not in _match._first_label(text)


class _Visitor(socket.socket):
    """A connection of which the other end is in our hands; it has an address, as those of the probe have."""

    def getsockname(self) -> tuple[str, int]:
        return "203.0.113.5", 29400


def probe(data: bytes) -> None:
    """What strangers say to the probe's listener proves nothing but with the nonce first, and is never answered.

    Each byte of 0xff ends a segment, two in a row the connection.
    """
    loop = _probe._Probe(mock.Mock(), mock.Mock())
    loop._nonce = _NONCE
    outside, inside = socket.socketpair()
    visitor = _Visitor(inside.family, inside.type, fileno=inside.detach())
    visitor.setblocking(False)
    loop._heard[visitor] = b""
    said = b""
    arrived_at = None
    with outside, visitor:
        for segment in data.split(b"\xff"):
            if segment:
                outside.sendall(segment)
                said += segment
            else:
                outside.shutdown(socket.SHUT_WR)
            for _ in range(len(segment) // len(_NONCE) + 2):
                if visitor in loop._heard and arrived_at is None:
                    arrived_at = loop._listen_to(visitor)
            if not segment or visitor not in loop._heard or arrived_at:
                break
        assert (arrived_at == "203.0.113.5") is said.startswith(_NONCE)
        assert arrived_at or visitor not in loop._heard or _NONCE.startswith(said)
        assert sum(map(len, loop._heard.values())) < len(_NONCE)
        visitor.close()
        with contextlib.suppress(ConnectionResetError):  # what was not read any more
            assert outside.recv(1) == b""


def scheduler(data: bytes) -> None:
    """Any variables make a job, none, or an error that names one of them; a node list is read, or refused with a place in it.

    A byte of zero ends a variable, as it does for the operating system. The text is tried as a node list as well.
    """
    variables = [text_of(piece).partition("=") for piece in data.split(b"\0")]
    environ = {name: value for name, _, value in variables}
    try:
        job = job_of(environ)
    except SchedulerError as error:
        assert error.variable
        assert error.value == environ.get(error.variable)
        _assert_told(error)
    else:
        if job is not None:
            assert 0 < job.min_nodes <= job.nnodes
            assert 0 <= job.port <= 65535
            assert job.node_rank is None or 0 <= job.node_rank < job.nnodes
            assert not job.hostlist or (job.host == job.nodes[0] and len(job.nodes) == job.nnodes)
            _assert_printable(repr(job))
            assert pickle.loads(pickle.dumps(job)) == job
            assert parse_rendezvous_endpoint(format_rendezvous_endpoint(job.host, job.port), -1) == (job.host, job.port)
    text = text_of(data)
    try:
        names = list(itertools.islice(expand_hostlist(text), 1000))
    except SchedulerError as error:
        assert error.span is not None
        assert 0 <= error.span[0] <= error.span[1] <= len(text)
        _assert_told(error)
    else:
        assert all(name and not set(name) & set("[], ") for name in names)


def _assert_told(error: SchedulerError) -> None:
    _assert_printable(str(error))
    _assert_printable(error.hint)
    assert vars(pickle.loads(pickle.dumps(error))) == vars(error)


class _Clock:
    """Time that passes only while somebody sleeps, faster each time: waiting for 1e300 seconds is a thousand rounds."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self.now


def command(data: bytes) -> None:
    """`rdzv` ends with a documented status, one clear message, and no raw control character, whatever its arguments.

    A byte of zero ends an argument, as it does for the operating system.
    """
    arguments = [text_of(piece) for piece in data.split(b"\0")]
    out, err = io.StringIO(), io.StringIO()
    clock = _Clock()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_made_up_machine("node0", {"node0": ["203.0.113.5"], "other": ["203.0.113.9"]}))
        stack.enter_context(mock.patch.multiple(_match, monotonic=clock.monotonic, sleep=clock.sleep))
        stack.enter_context(mock.patch.object(_probe, "probe", return_value=None))
        stack.enter_context(mock.patch("signal.signal"))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            status = main(arguments)
        except SystemExit as exit_:
            status = exit_.code  # type: ignore[assignment]  # argparse gives an int
    assert status in (0, 1, 2, 3, 4), f"status {status}: {err.getvalue()}"
    _assert_printable(out.getvalue())
    _assert_printable(err.getvalue())
    assert "Traceback" not in err.getvalue()
    if status == 2:
        assert not out.getvalue()
        assert err.getvalue()
    elif out.getvalue().startswith("{"):
        report = json.loads(out.getvalue())
        if "answer" not in report:  # of `rdzv env`
            return
        json.dumps(report, ensure_ascii=False).encode()
        assert report["answer"] is {0: True, 1: False, 3: None, 4: report["answer"]}[status]
        for address in report["addresses"]:
            if address != "no address":
                ipaddress.ip_address(address)


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (endpoint, port, config, host, probe, scheduler, command)
}
