"""Plain sockets: does anybody answer at the endpoint, and is a port free. PyTorch's client is not asked: where nobody
answers it prints stack traces, and overruns its timeout.
"""

from __future__ import annotations

import os
import socket
from time import monotonic

# How long one address may take to answer, in seconds: enough for a first packet that is lost.
_CONNECT_SECONDS = 4.0


def resolve(host: str) -> list[str]:
    """The addresses of a host in the order in which they are to be tried, a literal's own.

    Raises:
        OSError, UnicodeError: The name cannot be looked up.
    """
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def reach(addresses: list[str], port: int, deadline: float) -> str:
    """The first of the addresses that accepts a connection, which is closed at once.

    Raises:
        OSError: None of them does, at the latest at the deadline, of the monotonic clock; the last one's error.
    """
    failure = OSError("the name has no address")
    for address in addresses:
        try:
            left = deadline - monotonic()
            with socket.create_connection((address, port), min(_CONNECT_SECONDS, max(left, 0.1))) as connection:
                # A connection to a port of one's own that nobody listens on can come out of that very port (RFC 9293
                # section 3.5, simultaneous open), and then meets itself.
                if connection.getsockname() != connection.getpeername():
                    return address
                failure = ConnectionRefusedError("nobody but the connection itself")
        except OSError as error:  # a time-out is what costs here
            failure = error
    try:
        raise failure
    finally:
        del failure  # A cycle through this frame and its caller's would keep the caller's server until it is collected.


def check_free(port: int) -> None:
    """Raise OSError where nobody could listen on this port of all addresses. Asked first, since PyTorch prints it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as trial:
        if os.name == "posix":
            # As PyTorch's server does: what is left of old connections does not count. Windows means otherwise.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(("", port))
