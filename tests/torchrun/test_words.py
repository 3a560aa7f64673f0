"""What is said and advertised: pure, or with the question to the resolver made up."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import pytest
from rdzv_hostmatch import HostMatch, MatchRule
from rdzv_torchrun import _advertise, _reason
from rdzv_torchrun._advertise import advertised
from rdzv_torchrun._options import KNOWN, Options, unknown_options
from rdzv_torchrun._reason import Reason

NO = HostMatch("node1", MatchRule.FOREIGN_ADDRESS, ("10.0.0.1",), machine_name="node2")
YES = HostMatch("node1", MatchRule.OWN_NAME, machine_name="node1", warnings=(("code", "be warned"),))


class Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def told() -> Told:
    return Told()


def logger(told: Told) -> logging.Logger:
    logger = logging.Logger("test", logging.INFO)  # noqa: LOG001  # apart from all others
    logger.addHandler(told)
    return logger


def reason(told: Told, answer: HostMatch, may_answer: threading.Event | None = None, *, several: bool = True) -> Reason:
    def match(host: str, **_options: Any) -> HostMatch:
        assert may_answer is None or may_answer.wait(10)
        return answer

    made = Reason("node1", "node1:29400", logger(told), several=several, timeout=10, wait=0, match=match)
    made.start()
    return made


def test_decision_is_one_line(told: Told) -> None:
    """What was decided, and why, in one line at INFO."""
    made = reason(told, NO)
    made.decided("is a client of the store at node1:29400")
    assert (made._thread.name, made._thread.daemon) == ("rdzv-reason", True)
    made._thread.join(10)
    line = "'node1' is not this machine, 'node2': no address it stands for is one of this machine's"
    assert told.lines == [("INFO", f"rdzv: this node is a client of the store at node1:29400: {line}; it resolves to 10.0.0.1")]


def test_decision_is_told_once(told: Told) -> None:
    """The answer and the decision may come at one moment, and both have it told."""
    made = reason(told, NO)
    made._thread.join(10)
    told.lines.clear()
    made.decided("is a client")
    made.decided("is a client")
    assert told.lines == [("INFO", f"rdzv: this node is a client: {NO}")]


def test_nothing_waits_for_a_slow_answer(told: Told) -> None:
    """The decision is there before the answer: the line comes with the answer."""
    may_answer = threading.Event()
    made = reason(told, NO, may_answer)
    made.decided("is a client")
    assert told.lines == []
    assert str(made) == "what it means here is still being looked up"
    may_answer.set()
    made._thread.join(10)
    assert [line.partition(": '")[0] for _, line in told.lines] == ["rdzv: this node is a client"]


def test_what_is_waited_for_is_told_once(monkeypatch: pytest.MonkeyPatch, told: Told) -> None:
    """No store yet: one line says what the endpoint means here, and another the decision, when it is made."""
    monkeypatch.setattr(_reason, "_SOON", 0.0)
    may_answer = threading.Event()
    made = reason(told, NO, may_answer)
    made.missed("No route to host")
    made.missed("Connection refused")
    may_answer.set()
    made._thread.join(10)
    assert str(made) == str(NO)
    made.decided("hosts the store")
    assert [line.partition(": '")[0] for _, line in told.lines] == [
        "rdzv: no store at node1:29400 yet (Connection refused; waited 0 s)",
        "rdzv: this node hosts the store",
    ]


class Clock(threading.Event):
    """An event that nobody sets, and time that passes only while it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.waits.append(timeout)
        self.now += timeout
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_reason, "monotonic", lambda: clock.now)
    return clock


def waiting(told: Told, clock: Clock, answer: HostMatch, *, timeout: float, wait: float) -> None:
    """Wait in vain, on this thread."""
    made = Reason("node1", "node1:29400", logger(told), several=True, timeout=timeout, wait=wait, match=lambda *_, **__: answer)
    made._decided = clock
    made._run()


@pytest.mark.parametrize(("elapsed", "left"), [(0.0, 1.0), (3.9, 1.0), (4.5, 0.5), (7.0, 0.0)])
def test_what_is_waited_for_is_told_within_the_timeout(told: Told, clock: Clock, elapsed: float, left: float) -> None:
    """A second after the answer, or when the look-up's time is over; and why, at first, is not known."""
    answer = HostMatch("node1", MatchRule.FOREIGN_ADDRESS, elapsed=elapsed)
    waiting(told, clock, answer, timeout=5.0, wait=0.0)
    assert clock.waits == [left]
    assert told.lines == [("INFO", f"rdzv: no store at node1:29400 yet (connecting; waited {left:.0f} s): {answer}")]


def test_name_is_asked_for_at_growing_intervals(told: Told, clock: Clock) -> None:
    """Until the wait is over, counted from the start; each time it is told for how long it has been."""
    waiting(told, clock, HostMatch("node1", MatchRule.UNRESOLVED), timeout=15.0, wait=92.0)
    assert clock.waits == [1.0, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    since = [line.partition("waited ")[2].partition(" s")[0] for _, line in told.lines]
    assert since == ["1", "2", "4", "8", "16", "32", "62", "92"]


@pytest.mark.parametrize("rule", [MatchRule.UNRESOLVED, MatchRule.FIRST_LABEL])
def test_name_that_is_not_there_yet_is_asked_for_again(monkeypatch: pytest.MonkeyPatch, told: Told, rule: MatchRule) -> None:
    """Each answer is told at once and stands in the error; the first one that is more than a guess ends it."""
    monkeypatch.setattr(_reason, "_SOON", 0.0)
    answers, known = [HostMatch("node1", rule, error="not yet"), HostMatch("node1", rule, error="soon"), NO], []

    def match(host: str, **_options: Any) -> HostMatch:
        known.append(str(made))
        return answers[len(known) - 1]

    made = Reason("node1", "node1:29400", logger(told), several=True, timeout=10, wait=float("inf"), match=match)
    made.start()
    made._thread.join(10)
    assert known == ["what it means here is still being looked up", str(answers[0]), str(answers[1])]
    assert [line.rpartition("; ")[2] for _, line in told.lines] == ["not yet", "soon", "it resolves to 10.0.0.1"]


def test_decision_is_told_with_what_is_known_by_then(told: Told) -> None:
    """A store was entered while the name was not there: now it is, and the line says so."""
    asked = threading.Event()
    answers = [HostMatch("node1", MatchRule.UNRESOLVED, error="not yet"), YES]

    def match(host: str, **_options: Any) -> HostMatch:
        asked.set()
        return answers.pop(0)

    made = Reason("node1", "node1:29400", logger(told), several=False, timeout=10, wait=60, match=match)
    made.start()
    assert asked.wait(10)
    made.decided("hosts the store")
    made._thread.join(10)
    assert told.lines == [("INFO", f"rdzv: this node hosts the store: {YES}")]


def test_name_that_never_comes_is_given_up(told: Told) -> None:
    """When the wait is over, what was known last stands."""
    never = HostMatch("node1", MatchRule.UNRESOLVED, error="never")
    made = reason(told, never)
    made._thread.join(10)
    assert str(made) == str(never)


def test_warnings_are_for_several_nodes(told: Told) -> None:
    """They are about what the other nodes will meet; a job of one node has none."""
    for several in (False, True):
        made = reason(told, YES, several=several)
        made.decided("hosts the store")
        made._thread.join(10)
    assert [level for level, _ in told.lines].count("INFO") == 2
    assert [line for level, line in told.lines if level == "WARNING"] == ["rdzv: node1:29400: be warned"]


@pytest.mark.parametrize(
    ("host", "address", "hosts", "alone", "expected"),
    [
        ("node1", "10.0.0.5", True, False, "node1"),  # the host: all nodes have got to it by this text
        ("10.0.0.5", "10.0.0.5", True, False, "10.0.0.5"),
        ("node1", "127.0.1.1", True, False, "node1"),  # Debian: only here does the name mean loopback
        ("10.96.0.10", "10.96.0.10", True, False, "10.0.0.5"),  # translated on the way
        ("node1", "10.0.0.9", False, False, "10.0.0.5"),  # a client
        ("node1", "10.0.0.5", False, False, "10.0.0.5"),  # a client on the host's machine
        ("node1", "192.0.2.1", False, False, None),  # no way from here
        ("node1", "127.0.0.1", True, False, "node1"),
        ("localhost", "127.0.0.1", True, False, None),
        ("ip6-localhost", "::1", True, False, None),
        ("ip6-Loopback", "::1", True, False, None),
        ("127.0.0.1", "127.0.0.1", False, False, None),
        ("127.1", "127.0.0.1", True, False, None),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True, False, None),
        ("::1", "::1", True, True, "::1"),  # nobody else has to understand it
        ("LocalHost.", "127.0.0.1", True, True, "LocalHost."),
        ("10.96.0.10", "10.96.0.10", True, True, "10.0.0.5"),
    ],
)
def test_advertised_address(
    monkeypatch: pytest.MonkeyPatch, host: str, address: str, hosts: bool, alone: bool, expected: str | None
) -> None:
    """The host goes by the endpoint's text where it stands on this machine, all others by their way there."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: str, port: None, *, flags: int) -> Any:
        assert flags == socket.AI_NUMERICHOST  # no name server is asked
        return look_up(host, port, flags=flags)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(_advertise, "is_local_address", lambda address: address in OWN)
    monkeypatch.setattr(_advertise, "source_address", source)
    assert advertised(host, address, hosts=hosts, alone=alone) == expected


OWN = ("10.0.0.5", "127.0.0.1", "127.0.1.1", "::1")


def source(address: str) -> str | None:
    return "10.0.0.5" if address.startswith("10.") else None


@pytest.mark.parametrize(
    "match",
    [
        HostMatch("10.0.0.5", MatchRule.LOCAL_ADDRESS, ("10.0.0.5",), "10.0.0.5"),
        HostMatch("node1", MatchRule.OWN_NAME, ("10.0.0.5",), "10.0.0.5"),
        HostMatch("node1", MatchRule.OWN_NAME, ("127.0.1.1",), "127.0.1.1", warnings=(("own-name-loopback", ""),)),
        HostMatch("127.0.0.1", MatchRule.LOOPBACK, ("127.0.0.1",), "127.0.0.1", warnings=(("loopback", ""),)),
        HostMatch("localhost", MatchRule.LOCALHOST, ("127.0.0.1",), "127.0.0.1", warnings=(("loopback", ""),)),
        HostMatch("10.96.0.10", MatchRule.PROBE, ("10.96.0.10",), "10.0.0.5"),
        HostMatch("10.0.0.9", MatchRule.FOREIGN_ADDRESS, ("10.0.0.9",)),
        HostMatch("192.0.2.1", MatchRule.FOREIGN_ADDRESS, ("192.0.2.1",)),
    ],
    ids=lambda match: f"{match.host} {match.rule.name}",
)
def test_rdzv_check_advises_what_is_advertised(monkeypatch: pytest.MonkeyPatch, match: HostMatch) -> None:
    """`rdzv check` says for --local-addr what this backend takes where none is given."""
    advice = pytest.importorskip("rdzv._advice")
    monkeypatch.setattr(advice, "source_address", source)
    monkeypatch.setattr(_advertise, "source_address", source)
    monkeypatch.setattr(_advertise, "is_local_address", lambda address: address in OWN)
    address = match.addresses[0]
    assert advertised(match.host, address, hosts=bool(match), alone=False) == advice.local_addr(match)


def test_rdzv_check_knows_the_same_options() -> None:
    """What `rdzv check --conf` takes for unknown is what this backend warns of."""
    assert set(pytest.importorskip("rdzv._advice")._OPTIONS) == KNOWN


def options(**given: Any) -> Options:
    api = pytest.importorskip("torch.distributed.elastic.rendezvous.api")
    return Options(api.RendezvousParameters("rdzv", "", "job", 1, 1, **given))


def test_defaults() -> None:
    """Without options: as PyTorch's backend."""
    given = options()
    assert (given.is_file, given.is_host, given.read_timeout) == (False, None, 60)
    assert (given.match_timeout, given.match_wait) == (15.0, 0.0)


def test_values_are_texts() -> None:
    """As --rdzv-conf gives them."""
    given = options(store_type=" TCP ", is_host="t", read_timeout="7", match_timeout="0.5", match_wait="30")
    assert (given.is_file, given.is_host, given.read_timeout) == (False, True, 7)
    assert (given.match_timeout, given.match_wait) == (0.5, 30.0)


def test_look_ups_take_half_of_the_time_at_most() -> None:
    """What the look-ups have brought can stand in the error after the read timeout."""
    assert options(read_timeout=4).match_timeout == 2.0


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("store_type", "etcd"),
        ("is_host", "perhaps"),
        ("read_timeout", "0"),
        ("read_timeout", "soon"),
        ("read_timeout", None),
        ("match_timeout", "-1"),
        ("match_timeout", "nan"),
        ("match_wait", "inf"),
        ("match_wait", None),
    ],
)
def test_refused_values(key: str, value: str | None) -> None:
    """A value that cannot be used is a ValueError that names the option."""
    with pytest.raises(ValueError, match=f"option '{key}' |'{key}' must"):
        options(**{key: value})


def test_unknown_options() -> None:
    """Each gets a sentence; what comes near is suggested, control characters are escaped."""
    keys = ["timeout", "is_host", "join_timeout", "matchtimeout", "x\n"]
    assert unknown_options(keys) == [
        "unknown option 'matchtimeout' in --rdzv-conf: is match_timeout meant?",
        "unknown option 'x\\n' in --rdzv-conf",
    ]
