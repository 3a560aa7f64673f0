"""Plain sockets: where an endpoint leads, whether a store answers there, and whether a port is free."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rdzv_torchrun import _reach
from rdzv_torchrun._bounded import Call
from stores import Fake, answer_half, answer_otherwise, close, hold, server


def test_store_answers(port: int) -> None:
    """One of the installed PyTorch understands the question, and goes on serving."""
    store = server(port)
    assert _reach.reach(["127.0.0.1"], port, 10) == "127.0.0.1"
    store.set("key", "value")
    assert store.get("key") == b"value"


@pytest.mark.parametrize(
    ("serve", "what"),
    [
        (close, "it closes them"),
        (hold, "no answer within 1 s"),
        (answer_half, "it closes them"),
        (answer_otherwise, "it answers something else"),
    ],
)
def test_what_accepts_and_does_not_answer_is_a_stranger(serve: Callable[[socket.socket], None], what: str) -> None:
    """Such as a proxy whose server is not there yet; the error says what it is."""
    with Fake(serve) as fake:
        text = f"something at 127.0.0.1 port {fake.port} accepts connections but is not a rendezvous store: {what}"
        with pytest.raises(_reach.StrangerError, match=f"^{re.escape(text)}$") as raised:
            _reach.reach(["127.0.0.1", "127.0.0.2"], fake.port, 2)  # nobody is at the second one
    assert raised.value.address == "127.0.0.1"


def test_first_address_at_which_a_store_answers_is_taken(port: int) -> None:
    """A name may stand for addresses of which some are gone, or somebody else's."""
    _theirs = server(port)
    with Fake(close) as fake, pytest.MonkeyPatch.context() as patch:
        connect = socket.create_connection
        leads_to = {"192.0.2.1": port, "192.0.2.2": fake.port, "192.0.2.3": 1}
        patch.setattr(socket, "create_connection", lambda to, timeout: connect(("127.0.0.1", leads_to[to[0]]), timeout))
        assert _reach.reach(["192.0.2.3", "192.0.2.2", "192.0.2.1"], 7, 10) == "192.0.2.1"


def test_name_without_an_address(port: int) -> None:
    """A look-up may succeed and bring nothing."""
    with pytest.raises(OSError, match="^the name has no address$"):
        _reach.reach([], port, 10)


def resolve(monkeypatch: pytest.MonkeyPatch, *found: tuple[Any, ...]) -> list[str]:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments, **_options: [(0, 0, 0, "", address) for address in found])
    return _reach.resolve("node1.local", 10)


def test_zone_of_an_address_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name may stand for a link-local address, which is of no use without the zone that comes with it."""
    found = [("fe80::1", 0, 0, 7), ("2001:db8::1", 0, 0, 0), ("192.0.2.1", 0)]
    assert resolve(monkeypatch, *found) == ["fe80::1%7", "2001:db8::1", "192.0.2.1"]


def test_wildcard_is_not_the_address_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each machine would find itself there, as with names that a blocklist answers with 0.0.0.0."""
    assert resolve(monkeypatch, ("0.0.0.0", 0), ("192.0.2.1", 0)) == ["192.0.2.1"]  # not listened on
    with pytest.raises(OSError, match="^the name stands for the wildcard address"):
        resolve(monkeypatch, ("::", 0, 0, 0))


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
        with pytest.raises(ConnectionRefusedError, match="^nothing listens there$"):
            _reach.reach(["127.0.0.1"], port, 10)
    assert met == [True]
    assert server(port).port == port


def test_what_is_left_of_old_connections_does_not_keep_the_port(port: int) -> None:
    """A job that is started again finds those of the one before, for a minute."""
    with socket.create_server(("127.0.0.1", port)) as listener, socket.create_connection(("127.0.0.1", port)) as caller:
        listener.accept()[0].close()  # first, so that it is this end that waits
        assert caller.recv(1) == b""
    _reach.check_free(port)


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


def test_silent_address_leaves_the_others_their_share(port: int, silent: str) -> None:
    """All addresses have a part of the time, however long the first one would take."""
    with pytest.raises(ConnectionRefusedError):
        _reach.reach([silent, "127.0.0.3"], port, 0.5)
    with pytest.raises(TimeoutError):
        _reach.reach([silent] * 20, port, 0.5)


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="a process cannot list its open files here")
def test_severed_connection_wakes_up_who_waits_for_it() -> None:
    """A thread in recv, as PyTorch's client is for as long as a store is silent; its socket is IPv6, as PyTorch's is."""
    with Fake(hold) as fake, socket.socket(socket.AF_INET6) as connection:
        connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        connection.connect(("::ffff:127.0.0.1", fake.port))
        call = Call(lambda: connection.recv(1))
        assert not call.wait(0.05)
        _reach.sever("127.0.0.1", fake.port)
        assert call.wait(10)
        assert call.result() == b""


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="a process cannot list its open files here")
def test_other_connections_and_files_are_left_alone() -> None:
    """Those to another address or port, or of another kind. No copy of any is left open."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("", 0)))
        port = listener.getsockname()[1]
        severed, at_another_address = (
            stack.enter_context(socket.create_connection((address, port))) for address in ("127.0.0.1", "127.0.0.2")
        )
        other = stack.enter_context(Fake(hold))
        at_another_port = stack.enter_context(socket.create_connection(("127.0.0.1", other.port)))
        datagrams = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        datagrams.connect(("127.0.0.1", port))
        pair = [stack.enter_context(each) for each in socket.socketpair()]
        stack.enter_context(open(__file__))
        before = len(os.listdir("/dev/fd"))
        _reach.sever("127.0.0.1", port)
        assert len(os.listdir("/dev/fd")) == before
        for connection in (at_another_address, at_another_port, datagrams, *pair):
            connection.send(b"alive")
        with pytest.raises(BrokenPipeError):
            severed.send(b"dead")
