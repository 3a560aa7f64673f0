"""Real stores, and servers that only look like one."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest


def server(port: int = 0) -> Any:
    """A store as PyTorch's c10d opens it."""
    seconds = timedelta(seconds=10)
    store = pytest.importorskip("torch.distributed").TCPStore
    return store("127.0.0.1", port, is_master=True, multi_tenant=True, timeout=seconds)


class Fake:
    """A server that treats each connection as `serve` says, and holds it until the end. A context manager."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self._serve = serve
        self._held = contextlib.ExitStack()
        self._listener = self._held.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port: int = self._listener.getsockname()[1]
        self.asked = 0

    def __enter__(self) -> Fake:  # noqa: PYI034  # typing.Self came with 3.11
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
        self._held.close()

    def close(self) -> None:
        """Accept nothing more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                connection = self._held.enter_context(self._listener.accept()[0])
                self.asked += 1
                threading.Thread(target=self._treat, args=(connection,), daemon=True).start()

    def _treat(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._serve(connection)


def close(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def hold(connection: socket.socket) -> None:
    """Say nothing."""


def answer(connection: socket.socket) -> None:
    """Give the sign of life that `reach` asks for, and say nothing more."""
    asked = b""
    while len(asked) < 10 and (more := connection.recv(10 - len(asked))):
        asked += more
    connection.sendall(asked[6:])


def answer_half(connection: socket.socket) -> None:
    connection.sendall(connection.recv(10)[6:8])
    close(connection)


def answer_otherwise(connection: socket.socket) -> None:
    connection.recv(10)
    connection.sendall(b"HTTP")


def forward(port: int, otherwise: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """To a port of this machine, as a proxy does; where nobody listens there, treat connections otherwise."""

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while some := source.recv(65536):
                target.sendall(some)
        with contextlib.suppress(OSError):
            close(target)

    def serve(connection: socket.socket) -> None:
        try:
            beyond = socket.create_connection(("127.0.0.1", port))
        except OSError:
            otherwise(connection)
            return
        with beyond:
            back = threading.Thread(target=pump, args=(beyond, connection), daemon=True)
            back.start()
            pump(connection, beyond)
            back.join()

    return serve
