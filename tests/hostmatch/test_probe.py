"""The probe, over real sockets on loopback. Its use through NAT and virtual addresses is tested in tests/multihost."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import struct
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from rdzv_hostmatch import MatchRule, _probe, match_host
from rdzv_hostmatch._probe import probe


@pytest.fixture
def port() -> int:
    """A port that was free a moment ago."""
    with socket.create_server(("", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def stranger() -> Iterator[socket.socket]:
    """A listener on loopback that accepts and says nothing, such as a live store."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


FAR = 60.0
"""More seconds than a test should take."""


def connecting_to(monkeypatch: pytest.MonkeyPatch, other_port: int) -> None:
    """Let the probe's own connections go to another port, as if the address led to another machine."""
    connect = _probe._Probe.connect
    monkeypatch.setattr(_probe._Probe, "connect", lambda self, address, _port: connect(self, address, other_port))


def test_a_connection_that_arrives_is_proof(port: int) -> None:
    """The own address at which it arrived is told."""
    assert probe(["127.0.0.1"], port, FAR) == "127.0.0.1"


def test_one_of_several_addresses_is_enough(port: int) -> None:
    """Addresses that cannot be connected to are passed over."""
    assert probe(["not an address", "fe80::1%no-such-zone", "255.255.255.255", "127.0.0.1"], port, FAR)


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has IPv6 switched off")
def test_one_listener_serves_both_families(port: int) -> None:
    """An IPv6 address is proved as an IPv4 one is."""
    assert probe(["::1"], port, FAR) == "::1"


@pytest.mark.parametrize("dual_stack", [True, False])
def test_the_listener_serves_what_the_system_has(port: int, monkeypatch: pytest.MonkeyPatch, dual_stack: bool) -> None:
    """Without IPv6 it is one of IPv4; it never blocks."""
    if dual_stack and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has IPv6 switched off")
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: dual_stack)
    with _probe._listen(port) as listener:
        assert listener.family == (socket.AF_INET6 if dual_stack else socket.AF_INET)
        assert not listener.getblocking()


def test_only_addresses_are_connected_to_and_nobody_is_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name would be looked up, and a connection that is not answered would block."""
    getaddrinfo = socket.getaddrinfo

    def numeric_only(*arguments: Any, **options: Any) -> Any:
        assert options == {"type": socket.SOCK_STREAM, "flags": socket.AI_NUMERICHOST}
        return getaddrinfo(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", numeric_only)
    with socket.create_server(("127.0.0.1", port)) as listener, selectors.DefaultSelector() as selector:
        loop = _probe._Probe(selector, listener)
        loop.connect("127.0.0.1", port)
        assert [connection.getblocking() for connection in loop._outgoing] == [False]
        loop.close()


def test_a_connection_that_is_there_at_once_counts(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some systems need no time to connect to themselves."""

    class Immediate(socket.socket):
        def connect_ex(self, address: Any, /) -> int:
            self.setblocking(True)
            self.connect(address)
            self.setblocking(False)
            return 0

    monkeypatch.setattr(socket, "socket", Immediate)
    assert probe(["127.0.0.1"], port, FAR) == "127.0.0.1"


def test_a_refused_connection_proves_the_contrary(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody listens where the address leads, and here somebody did."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        closed_port = listener.getsockname()[1]
    connecting_to(monkeypatch, closed_port)
    assert probe(["127.0.0.1"], port, FAR) is None


def test_a_silent_stranger_is_waited_for_only_a_moment(
    port: int, stranger: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live store elsewhere takes the text, says nothing, and never closes."""
    connecting_to(monkeypatch, stranger.getsockname()[1])
    monkeypatch.setattr(_probe, "_MOST_SECONDS", 0.05)
    assert probe(["127.0.0.1"], port, FAR) is None
    accepted, _ = stranger.accept()
    with accepted:
        assert len(accepted.recv(64)) == 16


def test_frozen_time_ends_a_probe(port: int, stranger: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under freezegun too a silent stranger is waited for only a moment."""
    reads = iter([1000.0] * 100)
    monkeypatch.setattr(_probe, "monotonic", lambda: next(reads))
    monkeypatch.setattr(_probe, "_MOST_SECONDS", 0.05)
    connecting_to(monkeypatch, stranger.getsockname()[1])
    assert probe(["127.0.0.1"], port, FAR) is None


def test_another_node_s_listener_closes_and_that_is_a_no(
    port: int, stranger: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nodes that probe at once do not take each other for themselves; neither waits."""
    connecting_to(monkeypatch, stranger.getsockname()[1])

    def answer_something_and_close() -> None:
        accepted, _ = stranger.accept()
        with accepted:
            accepted.recv(64)
            accepted.send(b"HTTP/1.1 400 Bad Request\r\n")

    monkeypatch.setattr(_probe, "_MOST_SECONDS", 3600)
    other = threading.Thread(target=answer_something_and_close)
    other.start()
    assert probe(["127.0.0.1"], port, FAR) is None
    other.join()


def test_a_busy_port_proves_nothing(machine: Any, port: int) -> None:
    """A live store on the port is left alone, and the decision is undecided."""
    with socket.create_server(("127.0.0.1", port)):
        match = match_host("203.0.113.9", probe_port=port)
    assert (match.answer, match.rule) == (None, MatchRule.PROBE_BUSY)
    assert match.error is not None
    assert os.strerror(errno.EADDRINUSE) in match.error


def test_the_listener_closes_strangers_without_a_byte(port: int) -> None:
    """Whoever says something else, such as a client of a store, hears nothing and may try again at once."""
    with socket.create_server(("127.0.0.1", port)) as listener, selectors.DefaultSelector() as selector:
        listener.setblocking(False)
        loop = _probe._Probe(selector, listener)
        with socket.create_connection(("127.0.0.1", port), timeout=60) as rude:
            rude.sendall(bytes(range(16)))
            selector.select(10)
            loop._accept()
            (visitor,) = loop._heard
            selector.select(10)
            assert loop._listen_to(visitor) is None
            assert rude.recv(64) == b""
        loop.close()


def refused(monkeypatch: pytest.MonkeyPatch, codes: Sequence[int | None]) -> None:
    """Let the system refuse the sockets of the probe's own connections, in turn, with these codes."""
    connect = _probe._Probe.connect
    refusals = iter(codes)

    def connect_or_not(self: Any, address: str, port: int) -> None:
        code = next(refusals)

        class Refused(socket.socket):
            def __init__(self, *arguments: Any, **options: Any) -> None:
                if code is not None:
                    raise OSError(code, "refused")
                super().__init__(*arguments, **options)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket, "socket", Refused)
            connect(self, address, port)

    monkeypatch.setattr(_probe._Probe, "connect", connect_or_not)


@pytest.mark.parametrize(
    "codes",
    [[errno.EMFILE], [errno.ENFILE], [errno.ENOBUFS], [errno.ENOMEM], [errno.EMFILE, errno.EAFNOSUPPORT]],
    ids=lambda codes: "-".join(errno.errorcode[code] for code in codes),
)
def test_without_sockets_nothing_is_proved(port: int, monkeypatch: pytest.MonkeyPatch, codes: Sequence[int]) -> None:
    """An address that could not be connected to is no proof that it leads elsewhere."""
    refused(monkeypatch, codes)
    with pytest.raises(OSError, match="refused"):
        probe(["203.0.113.9", "2001:db8::9"][: len(codes)], port, FAR)


def test_without_sockets_for_all_a_silent_stranger_proves_nothing(
    port: int, stranger: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One address leads to a stranger until the time is over, and the other could not be connected to."""
    connecting_to(monkeypatch, stranger.getsockname()[1])
    monkeypatch.setattr(_probe, "_MOST_SECONDS", 0.05)
    refused(monkeypatch, [None, errno.EMFILE])
    with pytest.raises(OSError, match="refused"):
        probe(["127.0.0.1", "203.0.113.9"], port, FAR)


def test_an_address_of_a_missing_family_leads_nowhere(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no socket can reach is not this machine."""
    refused(monkeypatch, [errno.EAFNOSUPPORT])
    assert probe(["2001:db8::9"], port, FAR) is None


def test_where_no_more_visitors_fit_the_oldest_goes(port: int) -> None:
    """And where none is left to go, nothing can be proved; other failures are the visitor's."""

    class Full(socket.socket):
        error: OSError

        def accept(self) -> Any:
            raise self.error

    with Full() as listener, selectors.DefaultSelector() as selector:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        loop = _probe._Probe(selector, listener)
        here, there = socket.socketpair()
        with there:
            loop._heard[here] = b""
            selector.register(here, selectors.EVENT_READ)
            listener.error = ConnectionAbortedError()
            loop._accept()
            assert list(loop._heard) == [here]
            listener.error = OSError(errno.EMFILE, "Too many open files")
            loop._accept()
            assert not loop._heard
            with pytest.raises(OSError, match="Too many open files"):
                loop._accept()


def test_strangers_are_bounded_in_number(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes when there are too many, and the probe still finds itself."""
    monkeypatch.setattr(_probe, "_MOST_VISITORS", 2)
    connect = _probe._Probe.connect
    kept: list[int] = []

    def connect_after_a_crowd(self: Any, address: str, port: int) -> None:
        for _ in range(3):
            crowd.enter_context(socket.create_connection((address, port), timeout=60))
            self._selector.select(10)
            self._accept()
        kept.append(len(self._heard))
        connect(self, address, port)

    monkeypatch.setattr(_probe._Probe, "connect", connect_after_a_crowd)
    with ExitStack() as crowd:
        assert probe(["127.0.0.1"], port, FAR)
    assert kept == [2]


def test_what_a_stranger_says_changes_nothing(port: int, stranger: socket.socket) -> None:
    """Only the end of the connection that was made to it is of interest."""
    with socket.create_server(("127.0.0.1", port)) as listener, selectors.DefaultSelector() as selector:
        loop = _probe._Probe(selector, listener)
        loop.connect("127.0.0.1", stranger.getsockname()[1])
        (outgoing,) = loop._outgoing
        selector.select(10)
        loop._speak(outgoing, selectors.EVENT_WRITE)
        loop._speak(outgoing, selectors.EVENT_READ)  # nothing there yet
        accepted, _ = stranger.accept()
        with accepted:
            assert accepted.recv(64) == loop._nonce
            accepted.send(b"?")
            selector.select(10)
            loop._speak(outgoing, selectors.EVENT_READ)
            assert loop._outgoing == {outgoing}
        selector.select(10)
        loop._speak(outgoing, selectors.EVENT_READ)
        assert loop._outgoing == set()


def test_strangers_come_and_go_while_it_probes(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says something else is let go, one that is gone already is passed over, and the probe finds itself."""
    gone = socket.socket()
    connect = _probe._Probe.connect

    class Late(selectors.DefaultSelector):
        """It still tells of a connection that was closed a moment ago."""

        def select(self, timeout: float | None = None) -> Any:
            ready = super().select(timeout)
            return [(selectors.SelectorKey(gone, -1, selectors.EVENT_READ, None), selectors.EVENT_READ), *ready]

    def connect_after_a_stranger(self: Any, address: str, port: int) -> None:
        rude.connect((address, port))
        rude.sendall(b"GET / HTTP/1.1\r\n\r\n")
        connect(self, address, port)

    monkeypatch.setattr(selectors, "DefaultSelector", Late)
    monkeypatch.setattr(_probe._Probe, "connect", connect_after_a_stranger)
    with gone, socket.socket() as rude:
        assert probe(["127.0.0.1"], port, FAR) == "127.0.0.1"


def test_the_own_text_may_come_in_pieces(port: int) -> None:
    """A text that arrives in two segments is the same text; a wrong or an early end is a stranger's."""
    with socket.create_server(("127.0.0.1", port)) as listener, selectors.DefaultSelector() as selector:
        listener.setblocking(False)
        loop = _probe._Probe(selector, listener)
        nonce = loop._nonce
        with socket.create_connection(("127.0.0.1", port)) as outside:
            selector.select(10)
            loop._accept()
            (visitor,) = loop._heard
            assert loop._listen_to(visitor) is None
            outside.sendall(nonce[:7])
            selector.select(10)
            assert loop._listen_to(visitor) is None
            outside.sendall(nonce[7:] + b"more")
            selector.select(10)
            assert loop._listen_to(visitor) == "127.0.0.1"
            loop._drop(visitor)
        with socket.create_connection(("127.0.0.1", port)) as outside:
            selector.select(10)
            loop._accept()
            visitor = list(loop._heard)[-1]
            outside.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # the end is a reset
        selector.select(10)
        assert loop._listen_to(visitor) is None
        assert visitor not in loop._heard
        for end in (b"", nonce[:3] + b"\x00" * 13):
            with socket.create_connection(("127.0.0.1", port)) as outside:
                selector.select(10)
                loop._accept()
                visitor = list(loop._heard)[-1]
                outside.sendall(end)
                outside.shutdown(socket.SHUT_WR)
                selector.select(10)
                assert loop._listen_to(visitor) is None
                assert visitor not in loop._heard
        loop.close()


def test_a_listener_without_visitors_accepts_nobody(port: int) -> None:
    """A visitor that is gone before it was let in is no error."""
    with socket.create_server(("127.0.0.1", port)) as listener, selectors.DefaultSelector() as selector:
        listener.setblocking(False)
        loop = _probe._Probe(selector, listener)
        loop._accept()
        assert not loop._heard


def test_a_probe_decides_last(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a foreign address is probed: what resolves to nothing has nowhere to connect to, a yes needs no proof."""
    probed = []

    def arrive(addresses: list[str], port: int, seconds: float) -> str:
        assert 0 < seconds <= 15
        probed.append((addresses, port))
        return "10.0.0.5"

    monkeypatch.setattr(_probe, "probe", arrive)
    machine.answers.update({"virtual": ["203.0.113.9", "0.0.0.0"], "node0": ["10.0.0.5"]})
    machine.answers["blocked"] = ["0.0.0.0", "::"]
    for host in ("node0", "10.0.0.5", "unknown", "0.0.0.0", "blocked", "a b", "localhost"):
        match_host(host, probe_port=29400)
    assert probed == []
    match = match_host("virtual", probe_port=29400)
    assert (match.rule, match.local_address) == (MatchRule.PROBE, "10.0.0.5")
    assert [code for code, _ in match.warnings] == ["wildcard"]
    assert probed == [(["203.0.113.9"], 29400)]


def test_without_time_for_it_there_is_no_probe(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody may say that no connection arrived."""
    monkeypatch.setattr(_probe, "probe", lambda *_: pytest.fail("probed"))
    assert match_host("203.0.113.9", timeout=0, probe_port=29400).rule is MatchRule.FOREIGN_ADDRESS


def test_a_probe_may_prove_what_a_tentative_address_does_not(machine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no connection arrives, the host stays undecided."""
    machine.tentative = {"fd77::5"}
    for arrived_at, rule in (("10.0.0.5", MatchRule.PROBE), (None, MatchRule.TENTATIVE)):
        monkeypatch.setattr(_probe, "probe", lambda *_, arrived_at=arrived_at: arrived_at)
        assert match_host("fd77::5", timeout=0.1, probe_port=29400).rule is rule
