"""What the kernel says of an address: is it this machine's, and from which of its own would this machine reach it.

Addresses are literals, never names, so nothing here can wait for a name server.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

# How long a datagram to oneself may take, in seconds. It is there at once, unless the kernel let us bind to an address that
# is not its own (ip_nonlocal_bind): only there is this waited for.
_ECHO_SECONDS = 0.25


def is_local_address(address: str) -> bool:
    """Whether an address is one of this machine's, now.

    A datagram socket is bound to the address and sends itself a random text: only on the machine that has the address does it
    come back. Whatever kind of address it is (secondary, an alias, on any interface, an any-IP route), the kernel decides.

    Args:
        address: An IPv4 or IPv6 address. An IPv4-mapped IPv6 address means the IPv4 address in it; a link-local one needs its
            zone id, as in ``fe80::1%eth0`` (RFC 4007 section 11).

    Returns:
        True where the address is this machine's.
        False also for multicast, broadcast and unspecified addresses, and for a zone that this machine does not have.

    Raises:
        ValueError: ``address`` is no address.
        TypeError: ``address`` is not a str.
        OSError: The system refused the socket, so that nobody can know: no file descriptor was left, or it may not be had.

    >>> is_local_address("127.0.0.1"), is_local_address("203.0.113.1")
    (True, False)
    """
    import errno
    import os
    import socket

    ip = _literal(address)
    if ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255":
        return False
    family = _family(ip)
    try:
        echo = socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return False
        raise
    with echo:
        try:
            echo.bind(_socket_address(ip, 0))
            echo.connect(echo.getsockname())
            echo.settimeout(_ECHO_SECONDS)
            nonce = os.urandom(16)
            echo.send(nonce)
            return echo.recv(len(nonce)) == nonce
        except OSError as error:
            # A firewall may drop datagrams even to oneself (EPERM; a broadcast address gives EACCES).
            return error.errno == errno.EPERM and _reaches_itself_by_tcp(_socket_address(ip, 0), family)


def _reaches_itself_by_tcp(address: tuple[str, int] | tuple[str, int, int, int], family: int) -> bool:
    import socket

    try:
        with socket.socket(family) as listener, socket.socket(family) as caller:
            listener.bind(address)
            listener.listen(1)
            listener.settimeout(_ECHO_SECONDS)
            caller.settimeout(_ECHO_SECONDS)
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
    import errno
    import socket

    ip = _literal(address)
    try:
        route = socket.socket(_family(ip), socket.SOCK_DGRAM)
    except OSError as error:
        if error.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return None
        raise
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
    from ipaddress import IPv6Address, ip_address

    try:
        ip = ip_address(text)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if isinstance(ip, IPv6Address) else ip


def _literal(address: str) -> IPv4Address | IPv6Address:
    if not isinstance(address, str):
        raise TypeError(f"address must be a str, not {type(address).__name__}")
    ip = as_address(address)
    if ip is None:
        raise ValueError(f"address must be an IPv4 or IPv6 address, not {address!a}")
    return ip


def _family(ip: IPv4Address | IPv6Address) -> int:
    import socket

    return socket.AF_INET if ip.version == 4 else socket.AF_INET6


def _socket_address(ip: IPv4Address | IPv6Address, port: int) -> tuple[str, int] | tuple[str, int, int, int]:
    """The address as sockets take it; OSError where it names a zone that this machine does not have."""
    import socket

    if ip.version == 4:
        return str(ip), port
    text, _, zone = str(ip).partition("%")
    if not zone:
        return text, port, 0, 0
    return text, port, 0, int(zone) if zone.isdigit() and zone.isascii() else socket.if_nametoindex(zone)
