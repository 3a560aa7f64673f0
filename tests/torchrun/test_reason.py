"""Why this node does or does not host: what is said when, with the question to the resolver made up."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from rdzv_hostmatch import HostMatch, MatchRule
from rdzv_torchrun import _reason
from rdzv_torchrun._reason import Reason

NO = HostMatch("node1", MatchRule.FOREIGN_ADDRESS, ("10.0.0.1",), machine_name="node2")
YES = HostMatch("node1", MatchRule.OWN_NAME, machine_name="node1", warnings=(("code", "be warned"),))


class Told(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[str, str]] = []
        self.logger = logging.Logger("test", logging.INFO)  # noqa: LOG001  # apart from all others
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((record.levelname, record.getMessage()))


@pytest.fixture
def told() -> Told:
    return Told()


def reason(told: Told, *answers: HostMatch, may_answer: threading.Event | None = None, wait: float = 0.0) -> Reason:
    """One that gets these answers, the last one again and again."""
    coming = list(answers)

    def match(_host: str, **_options: Any) -> HostMatch:
        assert may_answer is None or may_answer.wait(10)
        return coming.pop(0) if len(coming) > 1 else coming[0]

    return Reason("node1", "node1:29400", told.logger, timeout=10, wait=wait, match=match)


def test_decision_is_one_line(told: Told) -> None:
    """What was decided, and why, in one line at INFO."""
    made = reason(told, NO)
    made.start()
    made.decided("is a client of the store at node1:29400")
    assert (made._thread.name, made._thread.daemon) == ("rdzv-reason", True)
    made._thread.join(10)
    line = "'node1' is not this machine, 'node2': no address it stands for is one of this machine's"
    assert told.lines == [("INFO", f"rdzv: this node is a client of the store at node1:29400: {line}; it resolves to 10.0.0.1")]


def test_decision_is_told_once(told: Told) -> None:
    """The answer and the decision may come at one moment, and both have it told."""
    made = reason(told, NO)
    made.start()
    made.decided("is a client")
    made._thread.join(10)
    made.decided("is a client")
    assert told.lines == [("INFO", f"rdzv: this node is a client: {NO}")]


def test_nothing_waits_for_a_slow_answer(told: Told) -> None:
    """The decision is there before the answer: the line comes with the answer."""
    may_answer = threading.Event()
    made = reason(told, NO, may_answer=may_answer)
    made.start()
    made.decided("is a client")
    assert told.lines == []
    assert str(made) == "what it means here is still being looked up"
    may_answer.set()
    made._thread.join(10)
    assert [line.partition(": '")[0] for _, line in told.lines] == ["rdzv: this node is a client"]


def test_nothing_is_said_of_what_was_given_up(told: Told) -> None:
    """The error says it, and has the answer."""
    made = reason(told, NO)
    made.start()
    made.decided("")
    made._thread.join(10)
    assert (str(made), told.lines) == (str(NO), [])


def test_warnings_are_told(told: Told) -> None:
    """They are about what the other nodes will meet."""
    made = reason(told, YES)
    made.start()
    made.decided("hosts the store")
    made._thread.join(10)
    assert told.lines == [("WARNING", "rdzv: node1:29400: be warned"), ("INFO", f"rdzv: this node hosts the store: {YES}")]


class Clock(threading.Event):
    """An event that is set when so much time has passed; time passes only while it is waited for."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now = 1000.0
        self._end = self.now + seconds

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now += timeout
        return self.now >= self._end


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(99.0)
    monkeypatch.setattr(_reason, "monotonic", lambda: clock.now)
    return clock


def waited(told: Told) -> list[tuple[str, str]]:
    return [(level, line.partition("waited ")[2].partition(" s")[0]) for level, line in told.lines]


def test_who_waits_says_so_at_growing_intervals(told: Told, clock: Clock) -> None:
    """First at INFO; from the tenth second on at WARNING, which shows without LOGLEVEL."""
    made = reason(told, NO)
    made._decided = clock
    made.missed("No route to host")
    made.missed("Connection refused")
    made._run()
    assert waited(told) == [
        ("INFO", "1"),
        ("INFO", "3"),
        ("WARNING", "10"),
        ("WARNING", "20"),
        ("WARNING", "40"),
        ("WARNING", "70"),
    ]
    assert told.lines[0][1] == f"rdzv: no store at node1:29400 yet (Connection refused; waited 1 s): {NO}"


@pytest.mark.parametrize("rule", [MatchRule.UNRESOLVED, MatchRule.FIRST_LABEL])
def test_name_that_is_not_there_yet_is_asked_for_again(told: Told, clock: Clock, rule: MatchRule) -> None:
    """Each line has the newest answer; the first one that is more than a guess is the last one."""
    answers = [HostMatch("node1", rule, error=error) for error in ("not yet", "soon")]
    made = reason(told, *answers, NO, YES, wait=float("inf"))
    made._decided = clock
    made._run()
    assert [line.rpartition("; ")[2] for _, line in told.lines] == ["not yet", "soon", *["it resolves to 10.0.0.1"] * 4]


def test_name_that_never_comes_is_given_up(told: Told, clock: Clock) -> None:
    """When `match_wait` is over, what was known last is said."""
    answers = [HostMatch("node1", MatchRule.UNRESOLVED, error=error) for error in ("not yet", "never")]
    made = reason(told, *answers, YES, wait=5.0)
    made._decided = clock
    made._run()
    assert str(made) == str(answers[1])


def test_slow_answer_is_not_waited_for_twice(monkeypatch: pytest.MonkeyPatch, told: Told, clock: Clock) -> None:
    """While it is on its way, nobody asks again."""
    may_answer = threading.Event()
    monkeypatch.setattr(_reason, "_LONG", 0.0)
    monkeypatch.setattr(_reason, "_SOON", 0.0)
    made = reason(told, NO, YES, may_answer=may_answer)
    made._decided = clock
    made._look(0.0)
    made._look(0.0)
    assert str(made) == "what it means here is still being looked up"
    may_answer.set()
    made._look(10.0)
    made._look(10.0)
    assert str(made) == str(NO)
