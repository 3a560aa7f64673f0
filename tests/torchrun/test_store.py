"""Host only on proof: against real stores, with what lies on the way made up."""

from __future__ import annotations

import itertools
import os
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from jobs import listeners
from stores import Fake, answer, close, forward, hold, server

pytest.importorskip("torch.distributed")

from rdzv_torchrun import _reach, _store
from rdzv_torchrun._bounded import Call
from rdzv_torchrun._store import NotEnteredError, enter_store, own_store


def enter(
    port: int,
    *,
    host: str = "127.0.0.1",
    run_id: str = "job",
    is_host: bool | None = None,
    timeout: float = 20.0,
    missed: Callable[[str], None] = print,
) -> Any:
    return enter_store([(host, port)], run_id, is_host=is_host, timeout=timeout, failover_delay=10.0, missed=missed)


def trial(port: int, run_id: str = "theirs") -> Any:
    """The store of another process, which is not proved."""
    store = server(port)
    store.set(_store._JOB_KEY, run_id)
    return store


@pytest.fixture
def leads_to(monkeypatch: pytest.MonkeyPatch, port: int) -> dict[str, Any]:
    """Where an endpoint's address leads instead: to a port of this machine; or what gives such a port each time."""
    leads_to: dict[str, Any] = {}
    reach, connect = _reach.reach, _store._client

    def target(address: str, at: int) -> int:
        to: Any = leads_to.get(address, at) if at == port else at
        return to() if callable(to) else to  # type: ignore[no-any-return]

    def reach_instead(addresses: list[str], at: int, seconds: float) -> str:
        reach(["127.0.0.1"], target(addresses[0], at), seconds)
        return addresses[0]

    monkeypatch.setattr(_store, "reach", reach_instead)
    monkeypatch.setattr(_store, "_client", lambda address, at, *rest: connect("127.0.0.1", target(address, at), *rest))
    return leads_to


NOBODY = 1
"""A port at which nobody listens."""


def test_nobody_answers_so_this_node_hosts(port: int) -> None:
    """The endpoint leads here: the node hosts, and the store is its own. It ends with its last reference."""
    entered = enter(port)
    assert (entered.hosts, entered.address, entered.job) == (True, "127.0.0.1", "job")
    assert _store._is_same(entered.server, entered.store)
    assert entered.store.timeout == timedelta(seconds=20)
    assert listeners(port)
    del entered
    assert not listeners(port)


def test_somebody_answers(port: int) -> None:
    """The node is a client; it opens no server, and says nothing of a job that it does not know."""
    theirs = server(port)
    entered = enter(port)
    assert (entered.hosts, entered.server, entered.job) == (False, None, None)
    theirs.set("key", "value")
    assert entered.store.get("key") == b"value"


def test_job_of_one_node_has_a_store_of_its_own() -> None:
    """At a free port."""
    entered = own_store("job", 10)
    assert (entered.hosts, entered.job, entered.address) == (True, "job", "127.0.0.1")
    assert listeners(entered.store.port)


# --- One process


@pytest.mark.parametrize("is_host", [None, True])
def test_servers_of_one_process_are_shared(port: int, is_host: bool | None) -> None:
    """Whichever launch of the process comes first, the store is there until the last one is over, as with c10d."""
    first, second = (enter(port, run_id=run_id, is_host=is_host) for run_id in ("first", "second"))
    assert first.hosts
    del first
    assert second.hosts
    second.store.set("key", "value")
    assert second.store.get("key") == b"value"
    del second
    assert not listeners(port)


def test_forked_child_is_another_process(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """It has inherited all that its parent knows, but not the server."""
    _first = enter(port)
    monkeypatch.setattr(os, "getpid", lambda: NOBODY)
    assert not enter(port).hosts


# --- Proof


def test_server_that_the_endpoint_does_not_lead_to_is_closed(
    monkeypatch: pytest.MonkeyPatch, port: int, leads_to: dict[str, Any]
) -> None:
    """Another node answers while this one has its server on trial: that one is entered, the server closed."""
    theirs, open_store = server(), _store.open_store

    def open_late(*at: int) -> Any:
        leads_to["127.0.0.1"] = theirs.port
        return open_store(*at)

    leads_to["127.0.0.1"] = NOBODY
    monkeypatch.setattr(_store, "open_store", open_late)
    entered = enter(port)
    assert (entered.hosts, entered.server) == (False, None)
    assert not listeners(port)


def test_load_balancer_does_not_make_two_hosts(port: int, leads_to: dict[str, Any]) -> None:
    """The endpoint leads here once, and elsewhere the next time: a node that is not reached each time does not host."""
    theirs = server()
    turns = iter([port, port, port])  # to be reached before and after its server is there, and for the proof
    leads_to["127.0.0.1"] = lambda: next(turns, theirs.port)
    entered = enter(port)
    assert (entered.hosts, entered.server) == (False, None)
    assert not listeners(port)


@pytest.mark.parametrize(("run_id", "elsewhere"), [("job", "192.0.2.9"), ("theirs", None)])
def test_name_of_several_nodes_does_not_make_two_hosts(
    monkeypatch: pytest.MonkeyPatch, port: int, leads_to: dict[str, Any], run_id: str, elsewhere: str | None
) -> None:
    """A round-robin name: the store at another address is entered, and told of where it is one of this job."""
    monkeypatch.setattr(_store, "resolve", lambda _host, _seconds: ["127.0.0.1", "192.0.2.8", "192.0.2.9"])
    theirs = trial(0, run_id)
    theirs.set(_store._PROVED_KEY, "")
    leads_to.update({"192.0.2.8": NOBODY, "192.0.2.9": theirs.port})
    entered = enter(port, host="workers")
    assert (entered.hosts, entered.address, entered.elsewhere) == (False, "192.0.2.9", elsewhere)
    assert not listeners(port)


def test_other_addresses_that_lead_here_too_are_no_obstacle(
    monkeypatch: pytest.MonkeyPatch, port: int, leads_to: dict[str, Any]
) -> None:
    """A name of one node that has several addresses, one of them translated."""
    monkeypatch.setattr(_store, "resolve", lambda _host, _seconds: ["127.0.0.1", "192.0.2.9"])
    leads_to["192.0.2.9"] = port
    entered = enter(port, host="node1")
    assert (entered.hosts, entered.elsewhere) == (True, None)


def test_store_on_trial_is_nobody(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that its own node may yet close is not entered; it is tried again, and entered once it is proved."""
    monkeypatch.setattr(_store, "_TRIAL_SECONDS", 0.1)
    theirs = trial(port)
    reasons: list[str] = []

    def missed(reason: str) -> None:
        reasons.append(reason)
        theirs.set(_store._PROVED_KEY, "")

    entered = enter(port, missed=missed)
    assert reasons == ["only a store on trial answers, which its own node has not reached at the endpoint"]
    assert (entered.hosts, entered.job) == (False, "theirs")


def test_store_that_was_just_opened_gets_the_time_to_be_proved(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own node needs a moment: it is looked at again, rather than left."""
    theirs = trial(port)
    monkeypatch.setattr(_store, "sleep", lambda _seconds: theirs.set(_store._PROVED_KEY, ""))
    assert _store._fate(_store._client("127.0.0.1", port, 10)) == _store._STAYS


def test_store_that_is_closed_on_trial_is_nobody(port: int) -> None:
    """The same where its node gives up while this one looks."""
    theirs = trial(port)
    client = _store._client("127.0.0.1", port, 10)
    del theirs
    assert _store._fate(client) == _store._GONE


# --- is_host=1


def test_told_to_host_keeps_its_server(port: int, leads_to: dict[str, Any]) -> None:
    """Although the endpoint leads elsewhere; the store entered is that of the endpoint, as in c10d. Its own needs no proof."""
    theirs = server()
    leads_to["127.0.0.1"] = theirs.port
    entered = enter(port, is_host=True)
    assert not entered.hosts
    assert _store._fate(entered.server) == _store._STAYS
    theirs.set("key", "value")
    assert entered.store.get("key") == b"value"


def test_told_to_host_where_the_endpoint_leads_here(port: int) -> None:
    """Then it is the host by proof too."""
    entered = enter(port, is_host=True)
    assert (entered.hosts, entered.address, entered.obstacle) == (True, "127.0.0.1", None)
    assert _store._is_same(entered.server, entered.store)


def test_told_to_host_where_the_name_does_not_resolve(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """The others may resolve it; the node hosts, and says what is wrong."""
    unresolvable(monkeypatch, "master")
    entered = enter(port, host="master", is_host=True, timeout=1)
    assert (entered.hosts, entered.address, entered.obstacle) == (True, None, "Name or service not known")
    assert listeners(port)


def test_told_to_host_where_it_does_not_reach_itself(port: int, leads_to: dict[str, Any]) -> None:
    """A router that does not lead back: the others may reach it."""
    leads_to["127.0.0.1"] = NOBODY
    entered = enter(port, is_host=True, timeout=1)
    assert (entered.hosts, entered.address, entered.obstacle) == (True, None, "Connection refused")


def test_told_to_host_where_the_port_is_taken(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """By something else than this process, after a moment for a server that was just closed: an error."""
    monkeypatch.setattr(_store, "ANSWER_SECONDS", 0.3)
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(NotEnteredError, match=r"^this node is told to host \(is_host=1\), and cannot: Address already in use$"),
    ):
        enter(port, is_host=True)


def test_told_to_host_waits_for_the_port(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """A server that was just closed may need a moment to leave it."""
    refusals = [OSError("refused")]
    monkeypatch.setattr(_store, "check_free", lambda _port: refusals and (_ for _ in ()).throw(refusals.pop()))
    assert enter(port, is_host=True).hosts


# --- What lies on the way


@pytest.mark.parametrize("otherwise", [close, hold])
def test_proxy_is_there_before_the_host(
    monkeypatch: pytest.MonkeyPatch, port: int, leads_to: dict[str, Any], otherwise: Callable[[socket.socket], None]
) -> None:
    """Something on the way accepts connections while nobody hosts, and closes them or lets them wait: the node hosts."""
    monkeypatch.setattr(_reach, "ANSWER_SECONDS", 0.5)
    with Fake(forward(port, otherwise)) as proxy:
        leads_to["127.0.0.1"] = proxy.port
        assert enter(port).hosts


def test_something_answers_that_is_no_store(port: int) -> None:
    """The node does not hang on it, as PyTorch's client would, and says what is wrong."""
    text = f"^something at 127.0.0.1 port {port} accepts connections but is not a rendezvous store: no answer within 3 s$"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(NotEnteredError, match=text):
        enter(port, is_host=False, timeout=1)


def test_pytorch_decides_where_it_does_not_know_the_question(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PyTorch whose stores introduce themselves otherwise: nothing is a stranger before its client says so."""
    monkeypatch.setattr(_reach, "_PING", b"\xff")
    _theirs = server(port)
    assert not enter(port).hosts


@pytest.mark.parametrize(
    ("has_name", "reason"),
    [
        (True, "^the store at 127.0.0.1 does not answer any more$"),
        (False, "^PyTorch waits for a reverse look-up of 127.0.0.1, which gets no answer$"),
    ],
)
def test_store_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch, has_name: bool, reason: str) -> None:
    """In time, though PyTorch's client would wait for ever; name servers are blamed only where they are at fault."""
    monkeypatch.setattr(_store, "_LEAST_SECONDS", 0.2)
    monkeypatch.setattr(_store, "_CLIENT_MARGIN", 0.1)
    enough = threading.Event()
    monkeypatch.setattr(socket, "getnameinfo", lambda *_arguments: has_name or enough.wait(60))
    with Fake(answer) as fake, pytest.raises(NotEnteredError, match=reason):
        enter(fake.port, is_host=False, timeout=0.5)
    enough.set()


def test_silent_connection_does_not_take_all_the_time(
    monkeypatch: pytest.MonkeyPatch, port: int, leads_to: dict[str, Any]
) -> None:
    """The next one may bring an answer."""
    monkeypatch.setattr(_store, "_ENTER_SECONDS", 1.5)
    theirs = server()
    with Fake(answer) as fake:
        turns = iter([fake.port, fake.port])
        leads_to["127.0.0.1"] = lambda: next(turns, theirs.port)
        assert not enter(port).hosts


def test_client_has_less_time_than_its_joiner(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """A thread that wakes up in PyTorch while Python exits would abort the process."""
    times: list[float] = []

    class Timed(Call):
        def wait(self, seconds: float) -> bool:
            times.append(seconds)
            return super().wait(seconds)

    connect = _store._client

    def client(address: str, port: int, seconds: float) -> Any:
        times.append(seconds)
        return connect(address, port, seconds)

    _theirs = server(port)
    monkeypatch.setattr(_store, "Call", Timed)
    monkeypatch.setattr(_store, "_client", client)
    for timeout, most in ((5, 5.0), (60, 7.0)):
        times.clear()
        enter(port, timeout=timeout)
        _look_up, *rest = times
        assert sorted(rest) == pytest.approx([most - 1, most - 1, most], abs=0.5)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(98, "Address already in use"), "Address already in use"),
        (OSError("the name has no address"), "the name has no address"),
        (RuntimeError("\nno store\nframe #0\nframe #1\n"), "no store"),
        (TimeoutError(), "TimeoutError"),
    ],
)
def test_errors_are_half_a_sentence(error: Exception, sentence: str) -> None:
    """The system's own words, or the first line, or the class where there are no words."""
    assert _store._reason(error) == sentence


# --- Waiting


def test_host_may_come_late(port: int, leads_to: dict[str, Any]) -> None:
    """The node tries until the store is there; between the attempts it holds no port."""
    attempts: list[str] = []
    theirs = server()
    leads_to["127.0.0.1"] = NOBODY

    def missed(reason: str) -> None:
        attempts.append(reason)
        assert not listeners(port)
        if len(attempts) == 3:
            leads_to["127.0.0.1"] = theirs.port

    entered = enter(port, missed=missed)
    assert attempts == ["Connection refused"] * 3
    assert not entered.hosts
    assert not listeners(port)


class Clock:
    """Time that passes only while somebody sleeps; `sleep` is told of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(_store, "monotonic", lambda: self.now)
        monkeypatch.setattr(_store, "sleep", self.sleep)

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_port_is_taken_once_a_second(
    port: int, monkeypatch: pytest.MonkeyPatch, clock: Clock, leads_to: dict[str, Any]
) -> None:
    """A server on trial takes it from others, so most attempts only look."""
    served: list[float] = []

    def check_free(_port: int) -> None:
        served.append(clock.now - 1000.0)
        raise OSError("refused")

    monkeypatch.setattr(_store, "_jittered", lambda seconds: seconds)
    monkeypatch.setattr(_store, "check_free", check_free)
    leads_to["127.0.0.1"] = NOBODY
    missed: list[str] = []
    with pytest.raises(NotEnteredError, match="^Connection refused, and a server of its own fails: refused$"):
        enter(port, timeout=3.5, missed=missed.append)
    assert served == [0.0, 1.0, 2.0, 3.0]
    assert len(missed) == 14


def test_look_ups_become_rare(monkeypatch: pytest.MonkeyPatch, port: int, clock: Clock) -> None:
    """A thousand nodes that wait for one do not flood the name server: it is asked at growing intervals, never in step."""
    asked: list[float] = []

    def getaddrinfo(host: str, *_arguments: Any, **_options: Any) -> Any:
        asked.append(clock.now)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(NotEnteredError, match="^Name or service not known$"):
        enter(port, host="nosuch.invalid", is_host=False, timeout=60)
    pauses = [late - early for early, late in itertools.pairwise(asked)]
    assert len(asked) < 16
    assert pauses[0] < 1 < 5 < max(pauses) < 11
    assert len(set(pauses)) > len(pauses) / 2


def unresolvable(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    look_up = socket.getaddrinfo

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        if host == name:
            raise socket.gaierror(-2, "Name or service not known")
        return look_up(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def test_own_name_needs_no_resolver(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """The others may know this machine's name although it does not itself: the proof goes over loopback."""
    monkeypatch.setattr(socket, "gethostname", lambda: "node1")
    unresolvable(monkeypatch, "node1")
    assert enter(port, host="node1", timeout=5).hosts


def test_look_up_that_fails_is_tried_again(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that appears late."""
    asked: list[str] = []

    def resolve(host: str, _seconds: float) -> list[str]:
        asked.append(host)
        if len(asked) < 3:
            raise socket.gaierror(-2, "Name or service not known")
        return ["127.0.0.1"]

    monkeypatch.setattr(_store, "resolve", resolve)
    missed: list[str] = []
    assert enter(port, host="master", missed=missed.append).hosts
    assert set(missed) == {"Name or service not known"}


def test_look_up_that_hangs_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead name servers take no longer than there is time."""
    enough = threading.Event()
    monkeypatch.setattr(_store, "_LEAST_SECONDS", 0.1)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: enough.wait(60))
    with pytest.raises(NotEnteredError, match="^no answer to the look-up of the name$"):
        enter(port, host="master", timeout=0.1)
    enough.set()


def test_port_is_left_alone_during_the_first_look_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's first connection may take long where name servers are dead: the port is taken after it."""
    open_store, opened = _store.open_store, []

    def watched(at: int = 0) -> Any:
        opened.append((at, listeners(port)))
        return open_store(at)

    monkeypatch.setattr(_store, "open_store", watched)
    assert enter(port).hosts
    assert opened == [(0, False), (port, False)]


def test_agent_on_this_machine_was_faster(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look and the server: it is entered as a client."""
    faster: list[Any] = []

    def check_free(at: int) -> None:
        faster.append(server(at))
        raise OSError(98, "in use")

    monkeypatch.setattr(_store, "check_free", check_free)
    assert not enter(port).hosts
    assert len(faster) == 1


def test_port_that_is_taken_by_something_else(port: int) -> None:
    """The port is taken where the endpoint does not lead: both facts are in the reason."""
    with socket.create_server(("127.0.0.2", port)), pytest.raises(NotEnteredError) as raised:
        enter(port, timeout=0.1)
    assert str(raised.value) == "Connection refused, and a server of its own fails: Address already in use"
