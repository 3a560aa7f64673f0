"""Host only on proof: against real stores, with the connection that leads elsewhere made up."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from jobs import listeners

torch_distributed = pytest.importorskip("torch.distributed")

from rdzv_torchrun import _reach, _store  # noqa: E402
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

    def reach(addresses: list[str], port: int, deadline: float) -> str:
        if not elsewhere.there.is_set():
            raise ConnectionRefusedError("nobody")
        return addresses[0]

    monkeypatch.setattr(_store, "reach", reach)
    monkeypatch.setattr(_store, "_client", lambda address, port, deadline: connect(address, elsewhere.store.port, deadline))
    return elsewhere


def test_nobody_answers_so_this_node_hosts(port: int) -> None:
    """The endpoint leads here: the node hosts, and the store is its own."""
    entered = enter(port)
    assert (entered.hosts, entered.address, entered.job) == (True, "127.0.0.1", "job")
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


def test_time_is_up(port: int, elsewhere: Elsewhere) -> None:
    """The error has the last reason, and nothing is left."""
    with pytest.raises(NotEnteredError, match="^nobody$"):
        enter(port, timeout=1)
    assert not listeners(port)


def test_yes_that_cannot_bind(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another agent on this machine was faster between the look and the server: it is entered as a client."""
    serve, faster = _store._serve, []

    def serve_too_late(at: int, run_id: str) -> Any:
        faster.append(server(at))
        return serve(at, run_id)

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
    with socket.create_server(("127.0.0.1", port)), pytest.raises(NotEnteredError, match="^what answers there is no store$"):
        enter(port, timeout=1)


def test_look_up_that_fails_is_tried_again(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that appears late: the name is looked up again at each attempt."""
    look_up, asked = socket.getaddrinfo, []

    def getaddrinfo(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments)
        if len(asked) < 3:
            raise socket.gaierror(-2, "Name or service not known")
        return look_up(*arguments, **options)

    monkeypatch.setattr(_reach.socket, "getaddrinfo", getaddrinfo)
    missed: list[str] = []
    assert enter(port, missed=missed.append).hosts
    assert missed == ["Name or service not known"] * 2


def test_connection_that_meets_itself_is_nobody(port: int) -> None:
    """A connection from the very port that it goes to is refused as an answer."""
    met: list[bool] = []

    class Itself(socket.socket):
        def connect(self, address: Any) -> None:
            self.bind(address)
            super().connect(address)
            met.append(self.getsockname() == self.getpeername())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", Itself)
        with pytest.raises(ConnectionRefusedError):
            _reach.reach(["127.0.0.1"], port, float("inf"))
    assert met == [True]


def test_first_address_that_answers_is_taken(port: int) -> None:
    """A name may stand for addresses of which some have gone."""
    with socket.create_server(("127.0.0.3", port)):
        assert _reach.reach(["127.0.0.2", "127.0.0.3"], port, float("inf")) == "127.0.0.3"
