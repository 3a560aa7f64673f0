"""One look-up of a name that can be abandoned.

libc offers no bound on a look-up: a dead name server costs 5 seconds, there are two of them, and each is tried twice. So it
runs on a daemon thread of its own, and whoever waits for it stops waiting when it wants to. An abandoned thread ends when
libc lets it go; it holds up neither the caller nor the exit of the process.
"""

from __future__ import annotations

import threading
from time import monotonic


class Lookup:
    """A look-up that has been started. Its results are there once ``wait`` has returned True."""

    __slots__ = ("_answered", "addresses", "canonical_names", "error", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.addresses: tuple[str, ...] = ()
        self.canonical_names: tuple[str, ...] = ()
        self.error: str | None = None
        self._answered = threading.Event()
        try:
            threading.Thread(target=self._run, name="rdzv-lookup", daemon=True).start()
        except RuntimeError:
            # No thread can be had: the interpreter is exiting, or the system's limit is reached. An answer that may be late is
            # better than none.
            self._run()

    def wait(self, deadline: float) -> bool:
        """Wait until the answer is there or the deadline, of the monotonic clock, has passed; tells whether it is there."""
        return self._answered.wait(min(max(deadline - monotonic(), 0.0), threading.TIMEOUT_MAX))

    def _run(self) -> None:
        import socket

        try:
            # Called through the module and with PyTorch's arguments: whoever patches the resolver patches it there.
            found = socket.getaddrinfo(self.name, None, proto=socket.IPPROTO_TCP, flags=socket.AI_CANONNAME)
            self.addresses = tuple(dict.fromkeys(str(info[4][0]) for info in found))
            self.canonical_names = tuple(dict.fromkeys(info[3] for info in found if info[3]))
            if not found:
                self.error = "the resolver gave an empty answer"
        except Exception as error:  # noqa: BLE001  # whatever libc, a codec or a patched resolver raises, it is no answer
            self.error = f"{type(error).__name__}: {error}"
        finally:
            self._answered.set()
