"""What the kernel says of an address, on this machine as it is. Other machines are made in tests/multihost."""

from __future__ import annotations

import errno
import os
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from rdzv_hostmatch import MatchRule, _address, is_local_address, match_host, matches_machine_hostname, source_address

needs_ipv6 = pytest.mark.skipif(
    not socket.has_dualstack_ipv6(), reason="this machine has IPv6 switched off; tests/multihost has hosts with it"
)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.0",
        "127.0.0.1",
        "127.255.255.255",
        "::ffff:127.0.0.1",
        "::ffff:127.255.255.255",
        "::FFFF:7f00:1",
        "::1",
        "::1%no-such-zone",
        f"::1%{2**32}",
    ],
)
def test_a_loopback_address_is_local(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """All functions agree on that, whatever the system makes of it."""
    monkeypatch.setattr(_address, "is_own", lambda *_: False)
    assert is_local_address(address)
    assert matches_machine_hostname(address)
    assert match_host(address).rule is MatchRule.LOOPBACK


def is_own(address: str, patience: float = 0.05) -> bool | None:
    """What the kernel says of an address, loopback included."""
    return _address.is_own(ip_address(address), patience)


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_the_kernel_knows_its_addresses(address: str) -> None:
    """Of both families."""
    assert is_own(address)


@pytest.mark.parametrize(
    "address",
    [
        "203.0.113.1",
        "2001:db8::1",
        "::ffff:203.0.113.1",
        "0.0.0.0",
        "::",
        "::ffff:0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "::ffff:224.0.0.1",
        "ff02::1",
        "ff02::1%1",
        "fe80::1",
        "fe80::1%no-such-zone",
        "fe80::1%999999",
        "fe80::1%\x00",
        "fe80::1%\ud800",
        "fe80::1%" + "9" * 5000,
        f"fe80::1%{2**32}",
        "fe80::1%１",
    ],
)
def test_a_foreign_or_shared_address_is_not_local(address: str) -> None:
    """Foreign, unspecified, broadcast and multicast addresses, and zones that are not here."""
    assert not is_local_address(address)


@pytest.mark.parametrize("ask", [is_local_address, source_address])
@pytest.mark.parametrize("text", ["", "localhost", "127.1", "1.2.3", "[::1]", "::1%", "1.2.3.4%eth0", "\x00", "::1\n"])
def test_what_is_no_address_is_a_value_error(ask: Any, text: str) -> None:
    """Names are never looked up here."""
    with pytest.raises(ValueError, match="^address must be an IPv4 or IPv6 address, not "):
        ask(text)


@pytest.mark.parametrize("ask", [is_local_address, source_address])
@pytest.mark.parametrize("value", [None, 1, b"\x7f\x00\x00\x01"])
def test_an_address_is_a_str(ask: Any, value: object) -> None:
    """Ints and bytes, which the standard library would take for addresses, are TypeErrors."""
    with pytest.raises(TypeError, match=f"^address must be a str, not {type(value).__name__}$"):
        ask(value)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.5", ("10.0.0.5", 7)),
        ("2001:db8::1", ("2001:db8::1", 7, 0, 0)),
        ("fe80::1%3", ("fe80::1", 7, 0, 3)),
        (f"fe80::1%{2**32 - 1}", ("fe80::1", 7, 0, 2**32 - 1)),
    ],
)
def test_an_address_is_given_to_sockets_with_its_zone(address: str, expected: tuple[object, ...]) -> None:
    """IPv4 as two, IPv6 as four (RFC 3493 section 3.3)."""
    assert _address._socket_address(ip_address(address), 7) == expected


@pytest.mark.parametrize("zone", ["00000000003", str(2**32), "no-such-zone", "\x00"])
def test_a_zone_that_is_not_here_has_no_socket_address(zone: str) -> None:
    """A number of more than ten digits is no number of an interface."""
    with pytest.raises(OSError):
        _address._socket_address(ip_address(f"fe80::1%{zone}"), 7)


class Leaving(socket.socket):
    """A socket of a system that lets anyone bind to any address: what it sends goes to the machine that has the address."""

    def send(self, data: Any, flags: int = 0, /) -> int:
        return len(data)

    def connect(self, address: Any, /) -> None:
        if self.type == socket.SOCK_STREAM:
            raise TimeoutError("timed out")
        super().connect(address)


def test_an_address_one_may_bind_but_does_not_have_is_not_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ip_nonlocal_bind the kernel binds to anything; only a text that comes back, or a connection, proves the address."""
    monkeypatch.setattr(socket, "socket", Leaving)
    assert is_own("127.0.0.1", 0.01) is False


class Dropped(socket.socket):
    """Behind a firewall that lets no datagram in."""

    def send(self, data: Any, flags: int = 0, /) -> int:
        return len(data)


class Forbidden(socket.socket):
    """Behind a firewall that lets no datagram out, or sends an error back."""

    def send(self, data: Any, flags: int = 0, /) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")


class Replaced(socket.socket):
    """A datagram comes, but another one."""

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        return bytes(size)


class NoDatagrams(socket.socket):
    """A process that may have no datagram sockets."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if socket.SOCK_DGRAM in arguments[1:]:  # an address family may be the same number
            raise PermissionError(errno.EACCES, "Permission denied")
        super().__init__(*arguments, **options)


@pytest.mark.parametrize(
    ("kind", "ports"),
    [(Dropped, [(socket.SOCK_DGRAM, 0), (socket.SOCK_STREAM, 0)]), (NoDatagrams, [(socket.SOCK_STREAM, 0)])],
)
def test_nothing_is_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch, kind: type[socket.socket], ports: list[tuple[int, int]]
) -> None:
    """Neither the datagram nor the connection, of which both ends wait; and the ports are any that are free."""
    waits: list[float | None] = []
    bound: list[tuple[int, int]] = []

    class Patient(kind):  # type: ignore[misc, valid-type]  # the class is the parameter
        def settimeout(self, value: float | None, /) -> None:
            waits.append(value)
            super().settimeout(value)

        def bind(self, address: Any, /) -> None:
            bound.append((self.type, address[1]))
            super().bind(address)

    monkeypatch.setattr(socket, "socket", Patient)
    assert is_own("127.0.0.1", 0.07)
    assert waits == [0.07] * (len(ports) + 1)
    assert bound == ports


class NoConnections(socket.socket):
    """A process that may have datagram sockets only."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        if socket.SOCK_STREAM in arguments[1:]:
            raise PermissionError(errno.EACCES, "Permission denied")
        super().__init__(*arguments, **options)


def test_a_datagram_that_comes_back_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """No connection is tried."""
    monkeypatch.setattr(socket, "socket", NoConnections)
    assert is_own("127.0.0.1")


@pytest.mark.parametrize("kind", [Dropped, Forbidden, Replaced, NoDatagrams])
def test_where_no_datagram_comes_back_a_connection_decides(monkeypatch: pytest.MonkeyPatch, kind: type[socket.socket]) -> None:
    """What keeps datagrams from oneself does not hide an address."""
    monkeypatch.setattr(socket, "socket", kind)
    assert is_own("127.0.0.1")
    assert not is_own("203.0.113.9")


@pytest.mark.parametrize("ask", [is_local_address, source_address])
@pytest.mark.parametrize(("code", "raised"), [(errno.EAFNOSUPPORT, False), (errno.EMFILE, True), (errno.EPERM, True)])
def test_a_refused_socket_is_told_from_a_missing_family(
    monkeypatch: pytest.MonkeyPatch, ask: Any, code: int, raised: bool
) -> None:
    """Without IPv6 no IPv6 address is local; without a file descriptor nobody knows."""

    def refuse(*_: object) -> None:
        raise OSError(code, "refused")

    monkeypatch.setattr(socket, "socket", refuse)
    if raised:
        with pytest.raises(OSError, match="refused"):
            ask("2001:db8::1")
    else:
        assert not ask("2001:db8::1")


def test_without_sockets_of_its_family_an_address_is_not_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system says so of the second kind only."""

    def refuse(family: int, kind: int) -> None:
        raise OSError(errno.EACCES if kind == socket.SOCK_DGRAM else errno.EAFNOSUPPORT, "refused")

    monkeypatch.setattr(socket, "socket", refuse)
    assert not is_own("127.0.0.1")


TENTATIVE = """\
20010db8000000000000000000000005 02 40 00 40     eth0
fe800000000000000000000000000005 02 40 20 c0     eth0
fe800000000000000000000000000005 03 40 20 80      ib0
fd770000000000000000000000000005 03 40 00 80 n\udcff0
"""


@pytest.mark.parametrize(
    ("address", "flags", "answer"),
    [
        ("2001:db8::5", "40", None),
        ("2001:db8::5", "c0", None),
        ("2001:db8::5", "48", False),  # another machine has it
        ("2001:db8::5", "80", False),
        ("2001:db8::6", "40", False),
        ("fe80::5%2", "40", None),
        ("fe80::5%3", "40", False),
        ("fd77::5", "40", False),
        ("32.1.13.184", "40", False),  # the same first bytes
    ],
)
def test_a_tentative_address_is_nobody_s_yet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, address: str, flags: str, answer: bool | None
) -> None:
    """Duplicate address detection is still going on, on this interface; an address that has failed it is foreign."""
    table = tmp_path / "if_inet6"
    table.write_bytes(os.fsencode(TENTATIVE.replace(" 40 00 40 ", f" 40 00 {flags} ")))
    monkeypatch.setattr(_address, "_IF_INET6", str(table))
    assert is_own(address) is answer
    assert is_local_address(address) is False


def test_a_system_without_a_list_of_addresses_knows_none_that_is_tentative(monkeypatch: pytest.MonkeyPatch) -> None:
    """There the sockets alone decide."""
    monkeypatch.setattr(_address, "_IF_INET6", "/no/such/list")
    assert is_own("2001:db8::5") is False


def test_an_address_that_is_tentative_no_more_is_asked_about_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Between the refusal and the look into the list the detection may have ended."""
    table = tmp_path / "if_inet6"
    table.write_text("20010db8000000000000000000000005 02 40 00 80 eth0\n")
    monkeypatch.setattr(_address, "_IF_INET6", str(table))
    answers = iter([False, True])
    monkeypatch.setattr(_address, "_reaches_itself", lambda *_: next(answers))
    assert is_own("2001:db8::5") is True


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.3.2.1", "0.0.0.0", "255.255.255.255", "::1", "fe80::1", "fe80::1%no-such-zone"]
)
def test_there_is_no_source_address_that_others_could_use(address: str) -> None:
    """Loopback, unspecified and link-local sources, and targets without a route, give None."""
    assert source_address(address) is None


@pytest.mark.parametrize(
    ("source", "expected"), [(("10.0.0.5", 1), "10.0.0.5"), (("fe80::1%eth0", 1, 0, 2), None), (("0.0.0.0", 1), None)]
)
def test_the_source_address_is_the_route_s(monkeypatch: pytest.MonkeyPatch, source: Any, expected: str | None) -> None:
    """What the kernel would send from, as text."""

    class Routed(socket.socket):
        def connect(self, address: Any, /) -> None:
            assert address == ("203.0.113.1", 9)

        def getsockname(self) -> Any:
            return source

    monkeypatch.setattr(socket, "socket", Routed)
    assert source_address("203.0.113.1") == expected
