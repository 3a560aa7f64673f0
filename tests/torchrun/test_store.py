"""Host only on proof: against real stores, with the connection that leads elsewhere made up."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from jobs import listeners

torch_distributed = pytest.importorskip("torch.distributed")

from rdzv_torchrun import _reach, _store  # noqa: E402
from rdzv_torchrun._bounded import bounded  # noqa: E402
from rdzv_torchrun._store import NotEnteredError, enter_store  # noqa: E402


def enter(port: int, is_host: bool | None = None, timeout: float = 20.0, missed: Callable[[str], None] = print) -> Any:
    return enter_store("127.0.0.1", port, "job", is_host=is_host, timeout=timeout, missed=missed)


def server(port: int = 0) -> Any:
    seconds = timedelta(seconds=10)
    return torch_distributed.TCPStore("127.0.0.1", port, is_master=True, multi_tenant=True, timeout=seconds)


class Elsewhere:
    """A store on another port."""

    def __init__(self) -> None:
        self.store = server()
        self.there = threading.Event()


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """A store that every endpoint leads to, from when it is `there`."""
    elsewhere = Elsewhere()
    connect = _store._client

    def reach(addresses: list[str], port: int, seconds: float) -> str:
        if not elsewhere.there.is_set():
            raise ConnectionRefusedError("nobody")
        return addresses[0]

    monkeypatch.setattr(_store, "reach", reach)
    monkeypatch.setattr(_store, "_client", lambda address, port, seconds: connect(address, elsewhere.store.port, seconds))
    return elsewhere


def test_nobody_answers_so_this_node_hosts(port: int) -> None:
    """The endpoint leads here: the node hosts, and the store is its own."""
    entered = enter(port)
    assert (entered.hosts, entered.address, entered.job) == (True, "127.0.0.1", "job")
    assert entered.server is entered.store
    assert listeners(port)


def test_server_ends_with_its_last_reference(port: int) -> None:
    """Nothing else keeps a server alive."""
    entered = enter(port)
    del entered
    assert not listeners(port)


def test_somebody_answers(port: int) -> None:
    """The node is a client; it opens no server, and says nothing of a job that it does not know."""
    theirs = server(port)
    entered = enter(port)
    assert (entered.hosts, entered.server, entered.job) == (False, None, None)
    theirs.set("key", "value")
    assert entered.store.get("key") == b"value"


def test_server_that_the_endpoint_does_not_lead_to_is_closed(port: int, elsewhere: Elsewhere) -> None:
    """Another node answers while this one has its server on trial: that one is entered, the server closed."""
    serve = _store._serve

    def serve_and_be_late(*arguments: Any) -> Any:
        elsewhere.there.set()
        return serve(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_store, "_serve", serve_and_be_late)
        entered = enter(port)
    assert (entered.hosts, entered.server) == (False, None)
    assert not listeners(port)


def test_told_to_host_keeps_its_server(port: int, elsewhere: Elsewhere) -> None:
    """is_host=1 is obeyed although the endpoint leads elsewhere; the store entered is that of the endpoint, as in c10d."""
    elsewhere.there.set()
    entered = enter(port, is_host=True)
    assert not entered.hosts
    assert entered.server is not None
    assert listeners(port)
    elsewhere.store.set("key", "value")
    assert entered.store.get("key") == b"value"


def test_told_to_host_where_the_endpoint_leads_here(port: int) -> None:
    """Then it is the host by proof too, and enters its own server without a connection to it from outside."""
    entered = enter(port, is_host=True)
    assert entered.hosts
    assert entered.store is entered.server


def test_told_to_host_has_what_time_there_is(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says what was in its way."""
    served: list[tuple[object, ...]] = []

    def serve(*arguments: object) -> None:
        served.append(arguments)
        raise TimeoutError("not open in time")

    monkeypatch.setattr(_store, "_serve", serve)
    with pytest.raises(NotEnteredError, match=r"^this node is told to host \(is_host=1\), and cannot: not open in time$"):
        enter(port, is_host=True, timeout=7.0)
    assert served == [(port, "job", 7.0)]


def test_told_to_host_at_a_free_port() -> None:
    """Which one it is only the server says."""
    assert enter(0, is_host=True).hosts


def test_store_that_was_told_to_be_is_entered(port: int, elsewhere: Elsewhere) -> None:
    """is_host=1 needs no proof: its clients, led elsewhere or not, wait for none."""
    elsewhere.there.set()
    told = enter(port, is_host=True)
    assert _store._is_to_stay(told.server)


def test_store_on_trial_is_nobody(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that its own node may yet close is not entered; it is tried again, and entered once it is proved."""
    monkeypatch.setattr(_store, "_TRIAL_SECONDS", 0.1)
    trial = _store._serve(port, "theirs", 10)
    reasons: list[str] = []

    def missed(reason: str) -> None:
        reasons.append(reason)
        trial.set(_store._PROVED_KEY, "")

    entered = enter(port, missed=missed)
    assert reasons == ["only a store on trial is there, which its own node has not reached there"]
    assert (entered.hosts, entered.job) == (False, "theirs")


def test_store_that_was_just_opened_gets_the_time_to_be_proved(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own node needs a moment: it is looked at again, rather than left."""
    trial = _store._serve(port, "theirs", 10)
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        trial.set(_store._PROVED_KEY, "")

    monkeypatch.setattr(_store, "sleep", sleep)
    assert _store._is_to_stay(_store._client("127.0.0.1", port, 10))
    assert set(pauses) == {0.05}  # set() may return before the server has it


def test_store_that_is_closed_on_trial_is_nobody(port: int) -> None:
    """The same where its node gives up while this one looks."""
    trial = _store._serve(port, "theirs", 10)
    client = _store._client("127.0.0.1", port, 10)
    del trial
    assert not _store._is_to_stay(client)


def test_server_on_trial_waits_for_a_moment_only(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first connection may take all the time there is; the second, with the port taken from others, may not."""
    allowed: list[float] = []

    def reach(addresses: list[str], at: int, seconds: float) -> str:
        allowed.append(seconds)
        if len(allowed) == 2:
            assert listeners(port)
            raise LookupError
        raise TimeoutError

    monkeypatch.setattr(_store, "reach", reach)
    with pytest.raises(LookupError):
        enter(port)
    assert allowed[0] > allowed[1] == 1.0


def test_port_is_left_alone_during_the_first_look_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's first connection may take long where name servers are dead: the port is taken after it."""
    open_, opened = _store._open, []

    def watched(at: int) -> Any:
        opened.append((at, listeners(port)))
        return open_(at)

    monkeypatch.setattr(_store, "_open", watched)
    assert enter(port).hosts
    assert opened == [(0, False), (port, False)]


def test_look_up_for_a_server_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that first connection takes longer than there is time, no server is opened."""
    enough = threading.Event()
    monkeypatch.setattr(_store, "_open", lambda _port: enough.wait(10))
    with pytest.raises(TimeoutError, match="^not open in time; PyTorch may be waiting for a reverse look-up$"):
        _store._serve(port, "job", 0.05)
    enough.set()


def test_connection_has_what_time_is_left(port: int) -> None:
    """At most half a minute: a server that was closed meanwhile would be waited for as long."""
    _theirs = server(port)
    clients: list[Any] = [_store._client("127.0.0.1", port, seconds) for seconds in (10, 100)]
    assert [client.timeout for client in clients] == [timedelta(seconds=10), timedelta(seconds=30)]


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


def test_host_may_come_late(port: int, elsewhere: Elsewhere) -> None:
    """The node tries until the store is there; between the attempts it holds no port."""
    attempts: list[str] = []

    def missed(reason: str) -> None:
        attempts.append(reason)
        assert not listeners(port)
        if len(attempts) == 3:
            elsewhere.there.set()

    entered = enter(port, missed=missed)
    assert attempts == ["nobody"] * 3
    assert not entered.hosts
    assert not listeners(port)


def test_port_is_taken_once_a_second(port: int, monkeypatch: pytest.MonkeyPatch, elsewhere: Elsewhere) -> None:
    """A server on trial takes it from others, so most attempts only look; a server has what time is left, but a second."""
    now, served = [1000.0], []

    def serve(*arguments: Any) -> Any:
        served.append((now[0], *arguments))
        raise OSError("refused")

    def sleep(seconds: float) -> None:
        now[0] += seconds

    monkeypatch.setattr(_store, "monotonic", lambda: now[0])
    monkeypatch.setattr(_store, "sleep", sleep)
    monkeypatch.setattr(_store, "_serve", serve)
    missed: list[str] = []
    with pytest.raises(NotEnteredError, match="^nobody, and a server of its own fails: refused$"):
        enter(port, timeout=3.5, missed=missed.append)
    left = {1000.0: 3.5, 1001.0: 2.5, 1002.0: 1.5, 1003.0: 1.0}
    assert served == [(at, port, "job", seconds) for at, seconds in left.items()]
    assert len(missed) == 14


def test_server_is_as_pytorch_s(port: int) -> None:
    """Opened again in this process it is the same one; what connects to it gives up in time."""
    servers: list[Any] = [_store._open(port), _store._open(port)]
    first, second = servers
    first.set("key", "value")
    assert second.check(["key"])
    assert first.timeout == timedelta(seconds=30)


def test_time_is_up(port: int, elsewhere: Elsewhere) -> None:
    """The error has the last reason, and nothing is left."""
    with pytest.raises(NotEnteredError, match="^nobody$"):
        enter(port, timeout=1)
    assert not listeners(port)


def test_yes_that_cannot_bind(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another agent on this machine was faster between the look and the server: it is entered as a client."""
    serve, faster = _store._serve, []

    def serve_too_late(at: int, *arguments: Any) -> Any:
        faster.append(server(at))
        return serve(at, *arguments)

    monkeypatch.setattr(_store, "_serve", serve_too_late)
    monkeypatch.setattr(_store, "check_free", lambda port: (_ for _ in ()).throw(OSError(98, "in use")))
    entered = enter(port)
    assert not entered.hosts
    assert len(faster) == 1


def test_port_that_is_taken_by_something_else(port: int) -> None:
    """The port is taken where the endpoint does not lead: both facts are in the reason."""
    with socket.create_server(("127.0.0.2", port)), pytest.raises(NotEnteredError) as raised:
        enter(port, timeout=0.1)
    assert str(raised.value) == "Connection refused, and a server of its own fails: Address already in use"


def test_something_answers_that_is_no_store(port: int) -> None:
    """The node does not hang on it, which PyTorch's client would, and says what is wrong."""
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(NotEnteredError, match="^connected, but no store has answered"),
    ):
        enter(port, timeout=1)


def test_look_up_that_fails_is_tried_again(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that appears late: the name is looked up again at each attempt."""
    look_up, asked = socket.getaddrinfo, []

    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        if len(asked) < 3:
            raise socket.gaierror(-2, "Name or service not known")
        return look_up(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    missed: list[str] = []
    assert enter(port, missed=missed.append).hosts
    assert missed == ["Name or service not known"] * 2


def test_look_up_that_hangs_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dead name servers take no longer than there is time."""
    enough = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: enough.wait(60))
    with pytest.raises(NotEnteredError, match="^no answer to the look-up of the name$"):
        enter(port, timeout=0.1)
    enough.set()


def test_call_that_may_be_given_up_runs_on_a_thread_that_ends_with_the_process() -> None:
    """Nothing waits at exit for what was given up; its name tells what it is."""
    thread = bounded(10, "late", threading.current_thread)
    assert (thread.name, thread.daemon) == ("rdzv-bounded", True)


def test_name_without_an_address(port: int) -> None:
    """A look-up may succeed and bring nothing."""
    with pytest.raises(OSError, match="^the name has no address$"):
        _reach.reach([], port, 10)


def test_zone_of_an_address_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may stand for a link-local address, which is of no use without the zone that comes with it."""
    found = [("fe80::1", 0, 0, 7), ("2001:db8::1", 0, 0, 0), ("192.0.2.1", 0)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: [(0, 0, 0, "", address) for address in found])
    assert _reach.resolve("node1.local", 10) == ["fe80::1%7", "2001:db8::1", "192.0.2.1"]


def test_connection_that_meets_itself_is_nobody(port: int) -> None:
    """A connection from the very port that it goes to is refused as an answer, and leaves the port free."""
    met: list[bool] = []

    class Itself(socket.socket):
        def connect(self, address: Any) -> None:
            self.bind(address)
            super().connect(address)
            met.append(self.getsockname() == self.getpeername())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", Itself)
        with pytest.raises(ConnectionRefusedError, match="^nobody but the connection itself$"):
            _reach.reach(["127.0.0.1"], port, 10)
    assert met == [True]
    assert server(port).port == port


def test_what_is_left_of_old_connections_does_not_keep_the_port(port: int) -> None:
    """A job that is started again finds those of the one before, for a minute."""
    with socket.create_server(("127.0.0.1", port)) as listener, socket.create_connection(("127.0.0.1", port)) as caller:
        listener.accept()[0].close()  # first, so that it is this end that waits
        assert caller.recv(1) == b""
    _reach.check_free(port)


def test_first_address_that_answers_is_taken(port: int) -> None:
    """A name may stand for addresses of which some have gone."""
    with socket.create_server(("127.0.0.3", port)):
        assert _reach.reach(["127.0.0.2", "127.0.0.3"], port, 10) == "127.0.0.3"


@pytest.fixture
def silent(port: int) -> Iterator[str]:
    """An address that answers no connection, as where packets are dropped: nobody takes those that wait already."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.2", port))
        listener.listen(0)
        for _ in range(3):
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(("127.0.0.2", port))
        yield "127.0.0.2"


def test_addresses_share_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has an equal part of what is left, at most four seconds, at least a moment."""
    allowed: list[float] = []

    def create_connection(_address: tuple[str, int], seconds: float) -> socket.socket:
        allowed.append(seconds)
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", create_connection)
    monkeypatch.setattr(_reach, "monotonic", lambda: 1000.0)
    for seconds in (6, 20, 0):
        with pytest.raises(TimeoutError):
            _reach.reach(["192.0.2.1", "192.0.2.2"], 1, seconds)
    assert allowed == [3.0, 4.0, 4.0, 4.0, 0.01, 0.01]


def test_silent_address_leaves_the_others_their_share(port: int, silent: str) -> None:
    """All addresses have a part of the time, however long the first one would take."""
    with socket.create_server(("127.0.0.3", port)):
        assert _reach.reach([silent, "127.0.0.3"], port, 0.5) == "127.0.0.3"
    with pytest.raises(TimeoutError):
        _reach.reach([silent] * 20, port, 0.5)
