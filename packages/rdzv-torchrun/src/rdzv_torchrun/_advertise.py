"""The addresses at which the other nodes find this one, where the user gave no ``--local-addr``.

PyTorch takes the node's own full name, which the other nodes may not be able to resolve, or may resolve to something else.
Here addresses come first, and among them those by which this node really reaches the others. Only the kernel is asked, never a
name server.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address

from rdzv_hostmatch import is_local_address, source_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Addresses for documentation (RFC 5737, RFC 3849), which lead to the default route. Nothing is sent to them.
_ANYWHERE = ("192.0.2.1", "2001:db8::1")


def advertised(host: str, address: str | None, *, hosts: bool) -> str | None:
    """The address that PyTorch advertises for this node; None if PyTorch's default has to do.

    Args:
        host: The endpoint's host, as given.
        address: The address at which the store was reached; None where it was not.
        hosts: The store is this node's own.
    """
    if address is None:
        return _by_default_route()
    if is_loopback(host, address):
        # Others may have come through a tunnel. To them loopback would be themselves.
        return None
    if not is_local_address(address):
        return source_address(address)
    # Every node may have this address, as with service addresses of Kubernetes under IPVS. The host has it in any case, and
    # only one node hosts.
    if hosts:
        return source_address(address) or _by_default_route() or host
    return _by_default_route() or source_address(address)


def ways_to_reach(advertised: str | None, peers: Iterable[str]) -> list[str]:
    """This node's addresses that peers try, best first; the peers are given by the addresses that they advertise."""
    sources = [source for peer in peers if (source := _source(peer)) and source != peer]
    return list(dict.fromkeys([*sources, *([advertised] if advertised else [])]))


def is_loopback(host: str, address: str) -> bool:
    """Whether a host, reached at an address, means loopback on every machine; a hostname may mean it only here."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    return ip.is_loopback and (bool(numeric(host)) or any(word in host.lower() for word in ("localhost", "loopback")))


def numeric(host: str) -> list[str]:
    """The address that a host is, in whatever spelling; empty for a name. No name server is asked."""
    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)][:1]
    except (OSError, UnicodeError):
        return []


def _source(peer: str) -> str | None:
    try:
        return source_address(peer)
    except (ValueError, OSError):  # it is a name
        return None


def _by_default_route() -> str | None:
    return next((source for address in _ANYWHERE if (source := _source(address))), None)
