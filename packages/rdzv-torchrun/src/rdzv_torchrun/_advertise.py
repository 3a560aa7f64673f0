"""The address at which the other nodes are told to find this one, where the user gave no ``--local-addr``.

PyTorch takes the node's own full name, which the other nodes may not be able to resolve, or may resolve to something
else. Addresses and flags in, a text out; the kernel is asked, a name server never.
"""

from __future__ import annotations

import socket
from ipaddress import IPv6Address, ip_address

from rdzv_hostmatch import is_local_address, source_address


def advertised(host: str, address: str, *, hosts: bool, alone: bool) -> str | None:
    """The local address to advertise; None where PyTorch's default has to serve.

    Args:
        host: The endpoint's host, as given.
        address: The address at which the store was reached.
        hosts: The store was reached on this node.
        alone: The job has one node at most, so that nobody else needs to understand the address.
    """
    if is_loopback(host, address):
        # Others may have come through a tunnel, so that loopback leads them elsewhere.
        return host if hosts and alone else None
    if hosts and is_local_address(address):
        # All nodes have got here by this text. It may be a name, and mean loopback here (Debian's 127.0.1.1).
        return host
    # Behind an address that is translated on the way, only the endpoint's port may be forwarded.
    return source_address(address)


def is_loopback(host: str, address: str) -> bool:
    """Whether a host, reached at an address, means loopback on every machine, and not just here, as an own name may."""
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    return ip.is_loopback and (_is_numeric(host) or any(word in host.lower() for word in ("localhost", "loopback")))


def _is_numeric(host: str) -> bool:
    try:
        # It knows all spellings, 127.1 too, and asks no name server.
        return bool(socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST))
    except OSError:
        return False
