"""Look-ups of names that can be abandoned.

libc offers no bound on a look-up, and a dead name server costs many seconds. So each look-up runs on a daemon thread of its
own, which holds up neither the caller nor the exit of the process.
"""

from __future__ import annotations

import os
import socket
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

# The look-ups that run, by resolver and name. All calls share them: otherwise a program that polls while DNS is dead would
# abandon further threads with each call. There is no lock, since a fork or a signal handler could find it taken.
_running: dict[tuple[int, str], Lookup] = {}
# The threads of a parent do not run in its forked child.
getattr(os, "register_at_fork", lambda **_: None)(after_in_child=_running.clear)
# While so many abandoned look-ups run, no further one starts.
_MOST_ABANDONED = 32
_BROKEN_OFF = "the look-up was broken off"


class Lookups:
    """The look-ups of one question. A name is looked up again only where that has failed."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._newest: dict[str, Lookup] = {}

    def start(self, name: str) -> Lookup:
        """The look-up of a name: the one that runs, here or in another call, the one that has succeeded, or a new one."""
        newest = self._newest.get(name)
        if newest is None or newest.error:
            newest = self._newest[name] = _start(name, self._ended)
        return newest

    def again(self, lookup: Lookup | None) -> Lookup | None:
        """The look-up, or a new one where another call's has failed: its failure may be older than the question."""
        if lookup and lookup.done and lookup.error and lookup.starter is not self._ended:
            return self.start(lookup.name)
        return lookup

    def wait(self, seconds: float) -> bool:
        """Wait until one of them has ended since the last call. False when the time is over."""
        has_ended = self._ended.wait(min(seconds, threading.TIMEOUT_MAX))
        self._ended.clear()
        return has_ended

    def close(self) -> None:
        """Wait for none of them any more."""
        for lookup in self._newest.values():
            lookup.waiting.discard(self._ended)


def _start(name: str, ended: threading.Event) -> Lookup:
    # The resolver is taken from the module, where others patch it, and now: they may be gone when the thread runs.
    new = Lookup(name, socket.getaddrinfo, ended)
    abandoned = sum(not lookup.waiting for lookup in _running.copy().values())
    try:
        shared = _running.setdefault(new.key, new)
        if shared is not new:
            shared.waiting.add(ended)
            return shared
        if abandoned >= _MOST_ABANDONED:
            raise RuntimeError(f"{abandoned} earlier look-ups still have no answer")
        threading.Thread(target=new.run, name="rdzv-lookup", daemon=True).start()
    except RuntimeError as error:
        if "shutdown" in str(error):
            # While it exits, Python starts no thread, and an answer that may be late is better than none.
            new.run()
        else:
            new.end(str(error))
    except BaseException:
        new.end(_BROKEN_OFF)
        raise
    return new


class Lookup:
    """A look-up. Its results are there once it is ``done``."""

    def __init__(self, name: str, resolve: Callable[..., Any], ended: threading.Event) -> None:
        self.name = name
        self.starter = ended
        self._resolve = resolve
        self.key = id(resolve), name
        self.waiting = {ended}
        self.addresses: tuple[str, ...] = ()
        self.canonical_names: tuple[str, ...] = ()
        self.error: str | None = None
        self.done = False

    def run(self) -> None:
        error: str | None = _BROKEN_OFF
        try:
            # With PyTorch's arguments.
            found = self._resolve(self.name, None, proto=socket.IPPROTO_TCP, flags=socket.AI_CANONNAME)
            self.addresses = tuple(dict.fromkeys(_address(*info[4]) for info in found))
            self.canonical_names = tuple(dict.fromkeys(info[3] for info in found if info[3]))
            error = None if found else "the resolver gave an empty answer"
        except Exception as failure:  # noqa: BLE001  # whatever libc, a codec or a patched resolver raises, it is no answer
            error = f"{type(failure).__name__}: {failure}"
        finally:
            self.end(error)

    def end(self, error: str | None) -> None:
        """It has failed with this error, or succeeded. Calls that come from now on start another one."""
        if _running.get(self.key) is self:
            _running.pop(self.key, None)
        self.error = error
        self.done = True
        for ended in self.waiting.copy():
            ended.set()


def _address(address: object, _port: object, _flow: object = 0, scope: object = 0) -> str:
    """A socket address as text, a link-local one with its zone."""
    return f"{address}%{scope}" if scope and "%" not in str(address) else str(address)
