"""Plain sockets: where the endpoint leads, whether a store answers there, and whether a port is free.

PyTorch's own client is asked only after that. Where nothing answers it prints stack traces. Where something accepts the
connection and stays silent, it waits forever, and nothing can end its thread.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from time import monotonic

from ._bounded import bounded

# How long one address may take to accept a connection, in seconds: enough for one lost packet.
_CONNECT_SECONDS = 4.0
# How long a store may take to answer, in seconds.
ANSWER_SECONDS = 3.0

# How a client of PyTorch's TCPStore introduces itself and asks for a sign of life: the query VALIDATE with a constant, then
# PING with four bytes, which the server sends back (torch/csrc/distributed/c10d/TCPStoreBackend.hpp). `_store` makes sure
# that the installed PyTorch understands it before anything else is said not to be a store.
_VALIDATE = struct.pack("=BI", 0, 0x3C85F7CE)
_PING = b"\x0d"
_NONCE_BYTES = 4

_WILDCARDS = ("0.0.0.0", "::", "::ffff:0.0.0.0")  # noqa: S104  # refused, not listened on


class StrangerError(ConnectionError):
    """Something accepts connections at the address, and does not answer as a store does."""

    def __init__(self, address: str, port: int, what: str) -> None:
        super().__init__(f"something at {address} port {port} accepts connections but is not a rendezvous store: {what}")
        self.address = address


def resolve(host: str, seconds: float) -> list[str]:
    """The addresses of a host in the order in which they are to be tried; an address stands for itself.

    Raises:
        OSError, UnicodeError: The name cannot be looked up, or not within so many seconds, or it stands for the wildcard
            address, through which each machine reaches itself.
        RuntimeError: The system has no room for another thread.
    """
    late = "no answer to the look-up of the name"
    found = bounded(seconds, late, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    addresses = dict.fromkeys(_with_zone(*info[4]) for info in found)
    machines = [address for address in addresses if address not in _WILDCARDS]
    if addresses and not machines:
        raise OSError("the name stands for the wildcard address, which is not the address of a machine")
    return machines


def _with_zone(address: object, _port: object, _flow: object = 0, scope: object = 0) -> str:
    # A link-local address is incomplete without its zone (RFC 4007 section 11).
    return f"{address}%{scope}" if scope else str(address)


def reach(addresses: list[str], port: int, seconds: float) -> str:
    """The first of the addresses at which a store answers.

    Raises:
        StrangerError: Nothing but strangers accept connections there.
        OSError: No store answers within so many seconds; the last address's error.
    """
    deadline = monotonic() + seconds
    failure = OSError("the name has no address")
    for index, address in enumerate(addresses):
        # An address that does not answer must leave time for the others.
        share = (deadline - monotonic()) / (len(addresses) - index)
        until = monotonic() + share
        try:
            with socket.create_connection((address, port), min(_CONNECT_SECONDS, max(share, 0.01))) as connection:
                # A connection to one's own port on which nobody listens can come from that very port (RFC 9293 section 3.5,
                # simultaneous open). It is then connected to itself.
                if connection.getsockname() == connection.getpeername():
                    # What is left of it must not keep a server from this port for a minute.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    failure = ConnectionRefusedError("nothing listens there")
                    continue
                silence = _silence(connection, min(ANSWER_SECONDS, max(until - monotonic(), 0.01)))
                if silence is None:
                    return address
                failure = StrangerError(address, port, silence)
        except OSError as error:
            failure = failure if isinstance(failure, StrangerError) else error
    try:
        raise failure
    finally:
        del failure  # A reference cycle through the traceback would keep the caller's server open.


def _silence(connection: socket.socket, seconds: float) -> str | None:
    """How the other side fails to answer as a store; None where it does answer."""
    nonce = os.urandom(_NONCE_BYTES)
    deadline = monotonic() + seconds
    heard = b""
    try:
        connection.sendall(_VALIDATE + _PING + nonce)
        while len(heard) < _NONCE_BYTES:
            connection.settimeout(max(deadline - monotonic(), 0.001))
            more = connection.recv(_NONCE_BYTES - len(heard))
            if not more:
                return "it closes them"
            heard += more
    except TimeoutError:
        return f"no answer within {seconds:.0f} s"
    except OSError:
        return "it closes them"
    return None if heard == nonce else "it answers something else"


def sever(address: str, port: int) -> None:
    """End all connections of this process to an address and port.

    A thread of PyTorch's client waits for an answer without limit, and cannot be stopped. If it wakes up while Python exits,
    the process aborts. Ending its connection wakes it up now.
    """
    try:
        # The open files of this process, on Linux and macOS. Elsewhere the thread is left alone.
        descriptors = [int(name) for name in os.listdir("/dev/fd")]
    except OSError:
        return
    for descriptor in descriptors:
        try:
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                if connection.type == socket.SOCK_STREAM and connection.family in (socket.AF_INET, socket.AF_INET6):
                    peer, its_port = connection.getpeername()[:2]
                    if its_port == port and _is_at(peer, address):
                        connection.shutdown(socket.SHUT_RDWR)
        except OSError:  # closed meanwhile, or not connected
            continue


def _is_at(peer: str, address: str) -> bool:
    return peer.partition("%")[0].removeprefix("::ffff:") == address.partition("%")[0].removeprefix("::ffff:")


def check_free(port: int) -> None:
    """Raise OSError if this port cannot be listened on. Checked first, since PyTorch would print stack traces."""
    with socket.socket() as trial:
        if os.name == "posix":
            # As PyTorch's server does: remains of old connections do not count. On Windows the option means something else.
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        trial.bind(("", port))
