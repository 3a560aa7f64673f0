"""Ask the kernel about an address: is it this machine's, and from which of its own does this machine reach it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from ipaddress import IPv4Address, IPv6Address
    from typing import TypeAlias

    _SocketAddress: TypeAlias = tuple[str, int] | tuple[str, int, int, int]

# Seconds that a text to oneself may take, and then a connection. Both arrive at once, unless a firewall drops them or the
# kernel let us bind to an address that is not its own (ip_nonlocal_bind).
PATIENCE = 0.08
_OCTETS = frozenset(map(str, range(256)))
# Linux lists its IPv6 addresses here, with flags from linux/if_addr.h.
_IF_INET6 = "/proc/net/if_inet6"
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40


def is_local_address(address: str) -> bool:
    """Whether an address is one of this machine's, and can be used now.

    A datagram socket is bound to the address and sends itself a random text, which comes back only on the machine that has the
    address. Where a firewall stops it, a TCP connection from the address to itself decides.

    Args:
        address: An IPv4 or IPv6 address. An IPv4-mapped IPv6 address means the IPv4 address in it; a link-local one needs its
            zone id, as in ``fe80::1%eth0`` (RFC 4007 section 11).

    Returns:
        True where the address is this machine's; loopback always is.
        False also for multicast, broadcast and unspecified addresses, for a zone that this machine does not have, and while
        the address is tentative (RFC 4862 section 5.4), so that it cannot be used: :func:`match_host` waits for it.

    Raises:
        ValueError: ``address`` is no address.
        TypeError: ``address`` is not a str.
        OSError: The system refused the socket, so that nobody can know.

    >>> is_local_address("127.0.0.1"), is_local_address("203.0.113.1")
    (True, False)
    """
    ip = _literal(address)
    return ip.is_loopback or bool(is_own(ip, PATIENCE))


def is_own(ip: IPv4Address | IPv6Address, patience: float) -> bool | None:
    """Ask the kernel about an address. Its answer may take ``patience`` seconds.

    Returns:
        None while the address is tentative: the kernel still looks for another machine that has it.

    Raises:
        OSError: The system refused the sockets.
    """
    if ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255":
        return False
    try:
        own = _socket_address(ip, 0)
    except OSError:
        return False
    answer = _reaches_itself(ip, own, patience)
    if answer or ip.version == 4:
        return answer
    listed = _flags(ip, own[-1])
    if any(flags & (_IFA_F_TENTATIVE | _IFA_F_DADFAILED) == _IFA_F_TENTATIVE for flags in listed):
        return None
    # If it is listed, it may have been tentative a moment ago.
    return bool(listed) and _reaches_itself(ip, own, patience)


def _flags(ip: IPv6Address, scope: int) -> list[int]:
    """The flags of an address for each interface that has it; none where the system has no such list."""
    try:
        with open(_IF_INET6, "rb") as file:
            rows = [row.split() for row in file if row.startswith(b"%b " % ip.packed.hex().encode())]
    except OSError:
        return []
    return [int(row[4], 16) for row in rows if not ip.is_link_local or int(row[1], 16) == scope]


def _reaches_itself(ip: IPv4Address | IPv6Address, own: _SocketAddress, patience: float) -> bool:
    import os
    import socket

    try:
        echo = _open(ip, socket.SOCK_DGRAM)
    except PermissionError:
        return _reaches_itself_by_tcp(ip, own, patience)
    if echo is None:
        return False
    with echo:
        try:
            echo.bind(own)
        except OSError:
            return False
        try:
            echo.connect(echo.getsockname())
            echo.settimeout(patience)
            nonce = os.urandom(16)
            echo.send(nonce)
            if echo.recv(len(nonce)) == nonce:
                return True
        except OSError:
            # A firewall stops datagrams even to oneself; or it is a broadcast address, or another machine's.
            pass
    return _reaches_itself_by_tcp(ip, own, patience)


def _reaches_itself_by_tcp(ip: IPv4Address | IPv6Address, own: _SocketAddress, patience: float) -> bool:
    import socket

    listener = _open(ip, socket.SOCK_STREAM)
    if listener is None:
        return False
    with listener, socket.socket(listener.family, socket.SOCK_STREAM) as caller:
        try:
            listener.bind(own)
            listener.listen(1)
            listener.settimeout(patience)
            caller.settimeout(patience)
            caller.connect(listener.getsockname())
            arrived, came_from = listener.accept()
            with arrived:
                return bool(came_from == caller.getsockname())
        except OSError:
            return False


def source_address(address: str) -> str | None:
    """The own address from which this machine reaches another one, by its routing table. No packet is sent.

    Args:
        address: An IPv4 or IPv6 address.

    Returns:
        The own address, without a zone id. None where there is no route, or where that address is one that others cannot use:
        loopback, unspecified or link-local.

    Raises:
        ValueError: ``address`` is no address.
        TypeError: ``address`` is not a str.
        OSError: The system refused the socket.

    >>> source_address("127.0.0.1") is None
    True
    """
    import socket

    ip = _literal(address)
    route = _open(ip, socket.SOCK_DGRAM)
    if route is None:
        return None
    with route:
        try:
            # Connecting a datagram socket only fixes its route. Port 9 is that of the discard service (RFC 863).
            route.connect(_socket_address(ip, 9))
            source = _literal(route.getsockname()[0])
        except OSError:
            return None
    return None if source.is_loopback or source.is_unspecified or source.is_link_local else str(source)


def as_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address that a text is, an IPv4-mapped one unwrapped; None where it is a name."""
    import ipaddress

    try:
        if ":" not in text:
            return ipaddress.IPv4Address(text)
        ip = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip


def is_loopback(text: str) -> bool:
    """Whether a text is a loopback address. An IPv4 address is not parsed for that, nor a name, for speed."""
    if text.startswith("127."):
        octets = text.split(".")
        return len(octets) == 4 and _OCTETS.issuperset(octets)
    return ":" in text and (ip := as_address(text)) is not None and ip.is_loopback


def _literal(address: str) -> IPv4Address | IPv6Address:
    if not isinstance(address, str):
        raise TypeError(f"address must be a str, not {type(address).__name__}")
    ip = as_address(address)
    if ip is None:
        raise ValueError(f"address must be an IPv4 or IPv6 address, not {address!a}")
    return ip


def _open(ip: IPv4Address | IPv6Address, kind: int) -> socket.socket | None:
    """A socket for such an address; None if this system has no such addresses."""
    import errno
    import socket

    try:
        return socket.socket(socket.AF_INET if ip.version == 4 else socket.AF_INET6, kind)
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return None
        raise


def _socket_address(ip: IPv4Address | IPv6Address, port: int) -> _SocketAddress:
    """The address as sockets take it; OSError if this machine does not have its zone."""
    if ip.version == 4:
        return str(ip), port
    text, _, zone = str(ip).partition("%")
    return text, port, 0, _scope(zone) if zone else 0


def _scope(zone: str) -> int:
    import socket

    if zone.isdigit() and zone.isascii():
        # Sockets ignore what does not fit into 32 bits, which take ten digits at most.
        if len(zone) > 10 or int(zone) >= 2**32:
            raise OSError
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except ValueError as error:  # it cannot be written as the name of an interface
        raise OSError from error
