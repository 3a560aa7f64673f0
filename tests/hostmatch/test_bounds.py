"""How long it takes: bounded whatever the resolver does, and never longer than it must."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
from time import sleep
from typing import Any

import pytest
from rdzv_hostmatch import MatchRule, _lookup, _match, match_host, matches_machine_hostname


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock in place of the machine's."""
    made_up = Clock()
    monkeypatch.setattr(_match, "monotonic", made_up.monotonic)
    monkeypatch.setattr(_match, "sleep", made_up.sleep)
    return made_up


def run(program: str) -> str:
    """The output of a Python program of its own process."""
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_the_answer_comes_while_the_server_withholds_its_own(machine: Any, withheld: object) -> None:
    """Timeout bounds the look-ups, of the host and of the own name together."""
    machine.answers.update({"other": withheld, "node0": withheld})
    match = match_host("other", timeout=0.05)
    assert not machine.release.is_set()
    assert (match.answer, match.rule) == (None, MatchRule.UNRESOLVED)
    assert match.error == "no answer to the look-up within 0.05 s"


def test_a_slow_answer_still_counts(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer in the second half of the timeout is compared with all addresses, and at once, while the own name hangs."""
    slow = threading.Event()

    def answer(host: str, *_: object, **__: object) -> object:
        if host == "node0":
            slow.set()
            machine.release.wait()
        slow.wait()
        return [(None, None, 0, "", (address, 0)) for address in ("203.0.113.9", "203.0.113.8", "10.0.0.5")]

    monkeypatch.setattr("socket.getaddrinfo", answer)
    match = match_host("other", timeout=0.5)
    assert not machine.release.is_set()
    assert (match.rule, match.local_address, match.error) == (MatchRule.RESOLVED_ADDRESS, "10.0.0.5", None)


def test_a_yes_is_not_held_back_by_a_look_up_that_hangs(
    machine: Any, withheld: object, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half way the own name is looked up, and as soon as it gives a yes there is an answer."""
    machine.answers.update({"node0.cluster": withheld, "node0": (["10.0.0.7"], "node0.cluster")})

    real_wait = _lookup.Lookups.wait

    def wait(lookups: Any, seconds: float) -> bool:
        if clock.now < 1000 + 1800:
            clock.now += seconds  # Nothing has ended by then.
            return False
        return real_wait(lookups, 60)

    monkeypatch.setattr(_lookup.Lookups, "wait", wait)
    match = match_host("node0.cluster", timeout=3600)
    assert not machine.release.is_set()
    assert (match.rule, match.elapsed) == (MatchRule.CANONICAL_NAME, 1800)


def test_an_own_name_s_addresses_are_waited_for(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is known, and its reader wants the reasons too."""
    asked, wait = threading.Event(), _lookup.Lookups.wait

    def answer(*_: object, **__: object) -> object:
        asked.wait()
        return [(None, None, 0, "", ("10.0.0.5", 0))]

    def wait_and_answer(lookups: Any, seconds: float) -> bool:
        asked.set()
        return wait(lookups, seconds)

    monkeypatch.setattr("socket.getaddrinfo", answer)
    monkeypatch.setattr(_lookup.Lookups, "wait", wait_and_answer)
    assert match_host("node0", timeout=60).addresses == ("10.0.0.5",)


def test_many_addresses_share_the_time_of_one(machine: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then each has a moment, and once the time is over none."""
    patience: list[float] = []

    def take_long(_ip: object, seconds: float) -> bool:
        patience.append(round(seconds, 6))
        clock.now += 0.05
        return False

    monkeypatch.setattr(_match, "is_own", take_long)
    machine.answers["other"] = [f"203.0.113.{number}" for number in range(5)]
    match_host("other", timeout=0.19)
    assert patience == [0.08, 0.03, 0.001, 0.001, 0]


def test_a_first_label_counts_when_the_server_is_dead(machine: Any, withheld: object) -> None:
    """No answer is as good as none."""
    machine.answers["node0.cluster"] = withheld
    assert match_host("node0.cluster", timeout=0.02).rule is MatchRule.FIRST_LABEL


def test_no_time_at_all_is_enough_for_what_needs_none(machine: Any, withheld: object) -> None:
    """With a timeout of 0 own names and addresses are known, and nothing is waited for."""
    machine.answers.update({"node0": withheld, "other": withheld})
    assert match_host("node0", timeout=0)
    assert match_host("10.0.0.5", timeout=0)
    assert match_host("other", timeout=0).answer is None
    assert match_host("203.0.113.9", timeout=0).answer is False


@pytest.mark.parametrize("forever", [float("inf"), 1e300])
def test_a_timeout_may_be_longer_than_a_thread_can_wait(machine: Any, forever: float) -> None:
    """A bound that nobody will live to see is a bound."""
    assert match_host("10.0.0.5", timeout=forever)
    assert match_host("other", timeout=forever).answer is None
    assert match_host("203.0.113.9", timeout=forever).answer is False


def test_a_look_up_runs_on_a_thread_that_holds_up_nothing(machine: Any, withheld: object) -> None:
    """A daemon thread with a name that tells whose it is."""
    before = set(threading.enumerate())
    machine.answers["other"] = withheld
    match_host("other", timeout=0)
    started = set(threading.enumerate()) - before
    assert started
    assert {(thread.name, thread.daemon) for thread in started} == {("rdzv-lookup", True)}


def test_a_look_up_goes_to_the_resolver_of_the_moment_it_was_asked_for(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever patches the resolver for a call is not passed by, however late the thread runs."""
    start = threading.Thread.start

    def start_late(thread: threading.Thread) -> None:
        monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("another resolver was asked"))
        start(thread)

    machine.answers["other"] = ["10.0.0.5"]
    monkeypatch.setattr(threading.Thread, "start", start_late)
    assert matches_machine_hostname("other")


def test_a_look_up_that_is_broken_off_has_failed(machine: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """SystemExit, which ends a thread without a word, is no answer either, and the look-up is made anew."""
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    machine.answers["other"] = SystemExit()
    match = match_host("other", wait=1)
    assert (match.answer, match.error) == (None, "the look-up was broken off")
    assert machine.looked_up.count("other") > 1


def test_a_wait_without_end_is_logged_as_such(machine: Any, clock: Clock, caplog: Any) -> None:
    """Infinity is a number of seconds."""
    caplog.set_level(logging.INFO, "rdzv_hostmatch")
    sleep = clock.sleep

    def sleep_and_appear(seconds: float) -> None:
        sleep(seconds)
        machine.answers["late"] = ["10.0.0.5"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_match, "sleep", sleep_and_appear)
        assert match_host("late", wait=float("inf"))
    assert caplog.messages == [
        "'late' cannot be looked up yet: gaierror: [Errno -2] Name or service not known; waited 0.0 s, will give up after inf s"
    ]


def test_a_name_that_is_not_there_yet_is_waited_for(machine: Any, clock: Clock, caplog: Any) -> None:
    """Rounds start until the name resolves, with growing pauses, and the log says how long it has waited."""
    caplog.set_level(logging.INFO, "rdzv_hostmatch")
    sleep = clock.sleep

    def sleep_and_appear(seconds: float) -> None:
        sleep(seconds)
        if clock.now > 1006:
            machine.answers["late"] = ["10.0.0.5"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_match, "sleep", sleep_and_appear)
        match = match_host("late", wait=60)
    assert match.rule is MatchRule.RESOLVED_ADDRESS
    assert clock.sleeps == [0.25, 0.5, 1.0, 2.0, 2.0, 2.0]
    assert match.elapsed == sum(clock.sleeps)
    assert caplog.messages[0].startswith("'late' cannot be looked up yet: gaierror")
    assert caplog.messages[-1].endswith("waited 5.8 s, will give up after 60 s")


def test_waiting_ends(machine: Any, clock: Clock) -> None:
    """Wait is the time in which rounds start; the last pause is cut to it."""
    match = match_host("never", wait=3)
    assert match.answer is None
    assert clock.sleeps == [0.25, 0.5, 1.0, 1.25]
    assert machine.looked_up == ["never", "node0"] * 5


def test_the_question_of_pytorch_waits_for_no_record(machine: Any, clock: Clock) -> None:
    """One round, as there."""
    assert not matches_machine_hostname("never")
    assert clock.sleeps == []


def test_only_a_name_without_an_answer_is_waited_for(machine: Any, clock: Clock) -> None:
    """A decision that is there is not put off."""
    machine.answers["elsewhere"] = ["203.0.113.9"]
    for host in ("elsewhere", "203.0.113.9", "10.0.0.5", "node0", "a b"):
        match_host(host, wait=60)
    assert clock.sleeps == []


def test_a_first_label_is_no_reason_to_stop_waiting(machine: Any, clock: Clock) -> None:
    """It is a guess for want of a record, so the record is waited for first."""
    assert match_host("node0.cluster", wait=1).rule is MatchRule.FIRST_LABEL
    assert sum(clock.sleeps) == 1


def test_a_look_up_that_still_runs_is_waited_for_again_and_not_started_twice(machine: Any, withheld: object) -> None:
    """However many rounds there are."""
    machine.answers["slow"] = withheld
    match_host("slow", timeout=0.01, wait=0.6)
    assert machine.looked_up.count("slow") == 1


def test_an_own_name_that_resolved_is_not_looked_up_again(machine: Any, clock: Clock) -> None:
    """Only what failed is asked again in the next round."""
    machine.answers["node0"] = ["10.0.0.5"]
    match_host("never", wait=1)
    assert machine.looked_up.count("node0") == 1
    assert machine.looked_up.count("never") > 1


@pytest.mark.parametrize(
    ("timeout", "probe_port", "half", "all_of_it"), [(60, None, 30, 60), (60, 1, 28.5, 57), (2, 1, 0.5, 1), (0, 1, 0, 0)]
)
def test_look_ups_leave_a_probe_its_share(
    machine: Any,
    withheld: object,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    timeout: float,
    probe_port: int | None,
    half: float,
    all_of_it: float,
) -> None:
    """Three seconds, or half of the timeout; of what is left the host has the first half to itself."""
    waits: list[float] = []

    def wait(lookups: Any, seconds: float) -> bool:
        clock.now += seconds
        waits.append(clock.now - 1000)
        return False

    monkeypatch.setattr(_lookup.Lookups, "wait", wait)
    machine.answers.update({"other": withheld, "node0": withheld})
    match = match_host("other", timeout=timeout, probe_port=probe_port)
    assert waits == [half, all_of_it] if timeout else waits == []
    assert match.error == f"no answer to the look-up within {all_of_it:g} s"
    assert set(machine.looked_up) <= {"other", "node0"}  # whose threads may not have had their turn yet


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time stands still, as under freezegun; who goes on reading the clock would wait for ever."""
    reads = itertools.count()

    def monotonic() -> float:
        assert next(reads) < 100
        return 1000.0

    monkeypatch.setattr(_match, "monotonic", monotonic)


def test_frozen_time_holds_up_no_look_up(machine: Any, withheld: object, frozen: None) -> None:
    """What has been waited for in full is over, whatever the clock says."""
    machine.answers.update({"other": withheld, "node0": withheld})
    assert match_host("other", timeout=0.02).elapsed >= 0.02
    assert match_host("203.0.113.9", timeout=0.02).answer is False
    assert match_host("other", timeout=0.02, wait=0.1).answer is None
    assert not machine.release.is_set()


def test_frozen_time_ends_waiting_for_a_record(machine: Any, frozen: None) -> None:
    """The pauses count."""
    assert match_host("other", wait=0.02).answer is None


def test_a_tentative_address_is_asked_about_until_it_is_decided(machine: Any, clock: Clock, monkeypatch: Any) -> None:
    """Each quarter of a second, while nothing else has to be waited for."""
    real_wait = _lookup.Lookups.wait

    def wait(lookups: Any, seconds: float) -> bool:
        if seconds > 0.25:  # not tentative: for the look-up
            assert real_wait(lookups, 60)
            return True
        clock.sleep(seconds)
        return False

    monkeypatch.setattr(_lookup.Lookups, "wait", wait)
    machine.answers.update({"node0": ["10.0.0.5"], "head": ["203.0.113.9", "fd77::5"]})
    for host, rule in (("fd77::5", MatchRule.LOCAL_ADDRESS), ("head", MatchRule.RESOLVED_ADDRESS)):
        answers = iter([None, None, None, True])
        monkeypatch.setattr(_match, "is_own", lambda ip, _, answers=answers: ip.version == 6 and next(answers))
        match = match_host(host)
        assert (match.rule, match.local_address) == (rule, "fd77::5")
        assert clock.sleeps == [0.25] * len(clock.sleeps)
        answers = iter([None, None, False])
        monkeypatch.setattr(_match, "is_own", lambda ip, _, answers=answers: ip.version == 6 and next(answers))
        assert match_host(host).rule is MatchRule.FOREIGN_ADDRESS  # another machine has it


def test_an_address_that_stays_tentative_is_undecided(machine: Any, clock: Clock, monkeypatch: Any, caplog: Any) -> None:
    """Within the timeout, then within the wait, which is logged."""
    caplog.set_level(logging.INFO, "rdzv_hostmatch")
    monkeypatch.setattr(_lookup.Lookups, "wait", lambda _, seconds: clock.sleep(seconds))
    machine.tentative = {"fd77::5"}
    match = match_host("fd77::5", timeout=2, wait=1)
    assert (match.answer, match.rule, match.elapsed) == (None, MatchRule.TENTATIVE, 2)
    assert caplog.messages == []
    assert match_host("fd77::5", timeout=2, wait=3).elapsed == 2.25 + 2
    assert caplog.messages == [
        f"'fd77::5' cannot be used yet: {MatchRule.TENTATIVE.value}; waited 2.0 s, will give up after 3 s"
    ]
    clock.now = 1000
    assert matches_machine_hostname("fd77::5") is False
    assert clock.now == 1015


def test_polling_a_dead_server_abandons_one_look_up_a_name(machine: Any, withheld: object) -> None:
    """However often it is asked."""
    machine.answers.update({"other": withheld, "node0": withheld})
    before = threading.active_count()
    for _ in range(20):
        assert match_host("other", timeout=0.001).answer is None
    assert threading.active_count() <= before + 2


class Resolver:
    """It answers its first question once released, by raising ``late`` if that is an exception; all others at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, late: object = None) -> None:
        self.released = threading.Event()
        self.asked: list[str] = []
        self._late = late
        monkeypatch.setattr(socket, "gethostname", lambda: "")
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: str, *_: object, **__: object) -> object:
        self.asked.append(host)
        if len(self.asked) == 1:
            self.released.wait()
            if isinstance(self._late, BaseException):
                raise self._late
        return [(None, None, 0, "", ("10.0.0.5", 0))]

    def release_when_waited_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real_wait = _lookup.Lookups.wait

        def wait(lookups: Any, seconds: float) -> bool:
            self.released.set()
            assert real_wait(lookups, 60)
            return True

        monkeypatch.setattr(_lookup.Lookups, "wait", wait)


def test_a_look_up_that_runs_serves_who_comes_meanwhile_and_nobody_later(machine: Any, monkeypatch: Any) -> None:
    """Its answer is newer than their question, and older than that of others."""
    resolver = Resolver(monkeypatch)
    assert match_host("other", timeout=0.01).answer is None
    resolver.release_when_waited_for(monkeypatch)
    assert match_host("other").answer
    assert resolver.asked == ["other"]
    assert match_host("other").answer
    assert resolver.asked == ["other", "other"]


def test_a_failure_of_another_call_s_look_up_is_no_answer(machine: Any, monkeypatch: Any) -> None:
    """It began when the server was dead, so the name is looked up again."""
    resolver = Resolver(monkeypatch, late=socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"))
    assert match_host("other", timeout=0.01).answer is None
    resolver.release_when_waited_for(monkeypatch)
    assert match_host("other").answer
    assert resolver.asked == ["other", "other"]


def test_another_resolver_has_look_ups_of_its_own(machine: Any, withheld: object, monkeypatch: Any) -> None:
    """Whoever has patched the resolver gets the answer of theirs."""
    machine.answers["other"] = withheld
    assert match_host("other", timeout=0.01).answer is None
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(None, None, 0, "", ("10.0.0.5", 0))])
    assert match_host("other").answer


def test_what_a_process_has_abandoned_is_bounded(machine: Any, withheld: object, monkeypatch: Any) -> None:
    """With so many hanging, no further name is looked up, until they end."""
    monkeypatch.setattr(_lookup, "_MOST_ABANDONED", 2)
    machine.answers.update({"a": withheld, "b": withheld, "alias": ["10.0.0.5"], "node0": ["10.0.0.7"]})

    def abandon(name: str, running: int) -> None:
        assert match_host(name, timeout=0.01).answer is None
        while len(_lookup._running) > running:  # the own name's may take a moment longer
            sleep(0.001)

    abandon("a", 1)
    assert match_host("alias").answer
    abandon("b", 2)
    match = match_host("alias")
    assert (match.answer, match.error) == (None, "2 earlier look-ups still have no answer")
    machine.release.set()
    for thread in threading.enumerate():
        if thread.name == "rdzv-lookup":
            thread.join()
    assert match_host("alias").answer


def test_a_look_up_that_is_waited_for_is_not_abandoned(machine: Any, withheld: object, monkeypatch: Any) -> None:
    """The own name is looked up while that of the host hangs."""
    monkeypatch.setattr(_lookup, "_MOST_ABANDONED", 1)
    machine.answers.update({"node0.cluster": withheld, "node0": (["10.0.0.7"], "node0.cluster")})
    assert match_host("node0.cluster", timeout=0.1).rule is MatchRule.CANONICAL_NAME


def test_an_interrupted_start_leaves_nothing_behind(machine: Any, monkeypatch: Any) -> None:
    """The next call does not wait for a look-up that never began."""

    def interrupt(_: threading.Thread) -> None:
        raise KeyboardInterrupt

    machine.answers["alias"] = ["10.0.0.5"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            match_host("alias")
    assert match_host("alias", timeout=60).answer


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_looks_names_up_itself() -> None:
    """The look-ups that its parent has running will never end there."""
    program = """
        import os, socket, threading, time, warnings
        from rdzv_hostmatch import match_host

        def answer(*_, **__):
            if os.getpid() == parent:
                threading.Event().wait()
            return [(None, None, 0, "", ("127.0.0.1", 0))]

        warnings.simplefilter("ignore")
        parent, socket.getaddrinfo = os.getpid(), answer
        match_host("other", timeout=0.01)
        child = os.fork()
        if child:
            print(os.waitpid(child, 0)[1])
        else:
            os._exit(not match_host("other"))
    """
    assert run(program).split() == ["0"]


def refuse_threads(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError(text)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_without_a_thread_there_is_no_look_up(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing could bound it; what needs none is known all the same."""
    refuse_threads(monkeypatch, "can't start new thread")
    machine.answers["alias"] = ["10.0.0.5"]
    match = match_host("alias")
    assert (match.answer, match.error) == (None, "can't start new thread")
    assert matches_machine_hostname("10.0.0.5")
    assert machine.looked_up == []


def test_while_python_exits_the_look_up_happens_in_place(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 3.12 on it starts no thread then, and exit handlers want their answer too."""
    refuse_threads(monkeypatch, "can't create new thread at interpreter shutdown")
    machine.answers["alias"] = ["10.0.0.5"]
    assert matches_machine_hostname("alias")


def test_a_process_exits_at_once_while_a_look_up_hangs() -> None:
    """Whoever runs this test would wait for ever otherwise."""
    program = """
        import socket, threading
        socket.getaddrinfo = lambda *_, **__: threading.Event().wait()
        from rdzv_hostmatch import match_host
        print(match_host("other", timeout=0.01).answer)
    """
    assert run(program).split() == ["None"]


def test_it_answers_while_the_interpreter_exits() -> None:
    """Python 3.12 and newer start no thread then."""
    program = """
        import atexit, socket
        from rdzv_hostmatch import matches_machine_hostname
        socket.getaddrinfo = lambda *_, **__: [(None, None, 0, "", ("127.0.0.1", 0))]
        atexit.register(lambda: print(matches_machine_hostname("alias"), matches_machine_hostname("203.0.113.9")))
    """
    assert run(program).split() == ["True", "False"]
