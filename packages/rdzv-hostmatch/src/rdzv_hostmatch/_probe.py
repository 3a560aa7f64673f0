"""Prove that a connection to an address arrives at this machine, whatever translates addresses on the way.

This machine listens on the port, connects to the address, and sends a random text: if its listener receives that, the address
leads here. The listener closes all other connections without sending a byte, so that a client of a store, or another node that
probes, just tries again.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from time import monotonic

from ._address import as_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_NONCE_BYTES = 16
# A connection that leads here arrives after a few round trips. One that leads to a silent stranger, such as a live store, would
# never end.
_MOST_SECONDS = 3.0
# If more strangers are connected, the oldest is dropped.
_MOST_VISITORS = 64
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def probe(addresses: Sequence[str], port: int, seconds: float) -> str | None:
    """This machine's address at which a connection to one of the addresses arrived within so many seconds; None if none did.

    Raises:
        OSError: The port cannot be listened on, or the system refuses a socket, so nothing is proved.
    """
    listener = _listen(port)
    with listener, selectors.DefaultSelector() as selector:
        loop = _Probe(selector, listener)
        try:
            for address in addresses:
                loop.connect(address, port)
            return loop.run(min(seconds, _MOST_SECONDS))
        finally:
            loop.close()


def _listen(port: int) -> socket.socket:
    dual_stack = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if dual_stack else socket.AF_INET
    # create_server sets SO_REUSEADDR on POSIX alone: on Windows it would let two programs share the port.
    listener = socket.create_server(("", port), family=family, backlog=_MOST_VISITORS, dualstack_ipv6=dual_stack)
    listener.setblocking(False)
    return listener


class _Probe:
    """The sockets of one probe: the listener, its own connections, and visitors."""

    def __init__(self, selector: selectors.BaseSelector, listener: socket.socket) -> None:
        self._nonce = os.urandom(_NONCE_BYTES)
        self._selector = selector
        self._listener = listener
        self._outgoing: set[socket.socket] = set()
        self._heard: dict[socket.socket, bytes] = {}
        self._refused: OSError | None = None
        selector.register(listener, selectors.EVENT_READ)

    def connect(self, address: str, port: int) -> None:
        try:
            family, kind, protocol, _, target = socket.getaddrinfo(
                address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )[0]
        except OSError:
            return
        try:
            outgoing = socket.socket(family, kind, protocol)
        except OSError as error:
            self._refused = error if error.errno in _EXHAUSTED else self._refused
            return
        outgoing.setblocking(False)
        if outgoing.connect_ex(target) in (0, errno.EINPROGRESS, errno.EWOULDBLOCK):
            self._outgoing.add(outgoing)
            self._selector.register(outgoing, selectors.EVENT_WRITE)
        else:
            outgoing.close()

    def run(self, seconds: float) -> str | None:
        deadline = monotonic() + seconds
        while self._outgoing and (remaining := deadline - monotonic()) > 0:
            # No event means that the time is over, also where the clock stands still (freezegun).
            events = self._selector.select(remaining)
            if not events:
                break
            for key, _ in events:
                ready: socket.socket = key.fileobj  # type: ignore[assignment]
                if ready is self._listener:
                    self._accept()
                elif ready in self._heard:
                    arrived_at = self._listen_to(ready)
                    if arrived_at is not None:
                        return arrived_at
                elif ready in self._outgoing:
                    self._speak(ready, key.events)
        if self._refused:
            raise self._refused
        return None

    def _accept(self) -> None:
        try:
            visitor, _ = self._listener.accept()
        except OSError as error:
            if error.errno in _EXHAUSTED:
                if not self._heard:
                    raise
                self._drop_oldest()
            return
        visitor.setblocking(False)
        if len(self._heard) >= _MOST_VISITORS:
            self._drop_oldest()
        self._heard[visitor] = b""
        self._selector.register(visitor, selectors.EVENT_READ)

    def _listen_to(self, visitor: socket.socket) -> str | None:
        """This machine's address if the visitor is this probe."""
        heard = self._heard[visitor]
        try:
            more = visitor.recv(_NONCE_BYTES - len(heard))
        except BlockingIOError:
            return None
        except OSError:
            more = b""
        heard += more
        if heard == self._nonce:
            return str(as_address(visitor.getsockname()[0]))
        if more and self._nonce.startswith(heard):
            self._heard[visitor] = heard
        else:
            self._drop(visitor)
        return None

    def _speak(self, outgoing: socket.socket, events: int) -> None:
        """Send the nonce once connected; then wait for the end of the connection."""
        try:
            if events & selectors.EVENT_WRITE:
                outgoing.send(self._nonce)
                self._selector.modify(outgoing, selectors.EVENT_READ)
                return
            if outgoing.recv(1):
                return
        except BlockingIOError:
            return
        except OSError:
            pass
        self._outgoing.discard(outgoing)
        self._close(outgoing)

    def _drop_oldest(self) -> None:
        self._drop(next(iter(self._heard)))

    def _drop(self, visitor: socket.socket) -> None:
        del self._heard[visitor]
        self._close(visitor)

    def _close(self, connection: socket.socket) -> None:
        self._selector.unregister(connection)
        connection.close()

    def close(self) -> None:
        for connection in (*self._outgoing, *self._heard):
            connection.close()
