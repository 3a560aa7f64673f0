"""Look-ups of names that can be abandoned.

libc offers no bound on a look-up: a dead name server costs 5 seconds, there are two of them, and each is tried twice. So each
one runs on a daemon thread of its own, which ends when libc lets it go, and holds up neither the caller nor the exit of the
process.
"""

from __future__ import annotations

import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Lookups:
    """The look-ups of one question. A name is looked up again only where that has failed."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._newest: dict[str, Lookup] = {}

    def start(self, name: str) -> Lookup:
        """The look-up of a name: the one that runs or has succeeded, or a new one."""
        newest = self._newest.get(name)
        if newest is None or newest.error:
            newest = self._newest[name] = Lookup(name, self._ended.set)
        return newest

    def wait(self, seconds: float) -> bool:
        """Wait until one of them has ended since the last call. False when the time is over."""
        has_ended = self._ended.wait(min(seconds, threading.TIMEOUT_MAX))
        self._ended.clear()
        return has_ended


class Lookup:
    """A look-up that has been started. Its results are there once it is ``done``."""

    def __init__(self, name: str, ended: Callable[[], object]) -> None:
        self._name = name
        self.addresses: tuple[str, ...] = ()
        self.canonical_names: tuple[str, ...] = ()
        self.error: str | None = None
        self.done = False
        self._ended = ended
        # Taken from the module, where others patch it, and now: they may be gone when the thread runs.
        self._resolve = socket.getaddrinfo
        try:
            threading.Thread(target=self._run, name="rdzv-lookup", daemon=True).start()
        except RuntimeError as error:
            if "shutdown" in str(error):
                # While it exits, Python starts no thread, and an answer that may be late is better than none.
                self._run()
            else:
                self._end(str(error))

    def _run(self) -> None:
        error: str | None = "the look-up was broken off"
        try:
            # With PyTorch's arguments.
            found = self._resolve(self._name, None, proto=socket.IPPROTO_TCP, flags=socket.AI_CANONNAME)
            self.addresses = tuple(dict.fromkeys(_address(*info[4]) for info in found))
            self.canonical_names = tuple(dict.fromkeys(info[3] for info in found if info[3]))
            error = None if found else "the resolver gave an empty answer"
        except Exception as failure:  # noqa: BLE001  # whatever libc, a codec or a patched resolver raises, it is no answer
            error = f"{type(failure).__name__}: {failure}"
        finally:
            self._end(error)

    def _end(self, error: str | None) -> None:
        self.error = error
        self.done = True
        self._ended()


def _address(address: object, _port: object, _flow: object = 0, scope: object = 0) -> str:
    """A socket address as text, a link-local one with its zone."""
    return f"{address}%{scope}" if scope and "%" not in str(address) else str(address)
