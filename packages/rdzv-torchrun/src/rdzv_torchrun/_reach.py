"""Plain sockets: does anybody answer at the endpoint, and is a port free. PyTorch's client is not asked: where nobody
answers it prints stack traces, and overruns its timeout.
"""

from __future__ import annotations

import os
import socket
from time import monotonic

from ._bounded import bounded

# How long one address may take to answer, in seconds: enough for a first packet that is lost.
_CONNECT_SECONDS = 4.0


def resolve(host: str, seconds: float) -> list[str]:
    """The addresses of a host in the order in which they are to be tried, a literal's own.

    Raises:
        OSError, UnicodeError: The name cannot be looked up, or not within so many seconds.
        RuntimeError: No thread can be had for the look-up.
    """
    late = "no answer to the look-up of the name"
    found = bounded(seconds, late, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    return list(dict.fromkeys(_with_zone(*info[4]) for info in found))


def _with_zone(address: object, _port: object, _flow: object = 0, scope: object = 0) -> str:
    # A link-local address is none without its zone (RFC 4007 section 11).
    return f"{address}%{scope}" if scope else str(address)


def reach(addresses: list[str], port: int, seconds: float) -> str:
    """The first of the addresses that accepts a connection, which is closed at once.

    Raises:
        OSError: None of them does within so many seconds; the last one's error.
    """
    deadline = monotonic() + seconds
    failure = OSError("the name has no address")
    for index, address in enumerate(addresses):
        # One that does not answer leaves the others their share.
        share = (deadline - monotonic()) / (len(addresses) - index)
        try:
            with socket.create_connection((address, port), min(_CONNECT_SECONDS, max(share, 0.01))) as connection:
                # A connection to a port of one's own that nobody listens on can come out of that very port (RFC 9293
                # section 3.5, simultaneous open), and then meets itself.
                if connection.getsockname() != connection.getpeername():
                    return address
                failure = ConnectionRefusedError("nobody but the connection itself")
                # What is left of it must not keep a server from this port for a minute.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        except OSError as error:  # a time-out is what costs here
            failure = error
    try:
        raise failure
    finally:
        del failure  # A cycle through this frame and its caller's would keep the caller's server until it is collected.


def check_free(port: int) -> None:
    """Raise OSError where nobody could listen on this port of all addresses. Asked first, since PyTorch prints it."""
    with socket.socket() as trial:
        if os.name == "posix":
            # As PyTorch's server does: what is left of old connections does not count. Windows means otherwise.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(("", port))
