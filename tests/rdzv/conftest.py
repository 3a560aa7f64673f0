"""A machine for the command to run on, and the command."""

from __future__ import annotations

import signal
import socket
from typing import Any

import pytest
from rdzv import _addresses, _command, _ports, _resolver
from rdzv_scheduler import _sources

NAMES = {"localhost": "127.0.0.1", "node0": "127.0.1.1", "head.jobs": "203.0.113.9"}


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine node0, by itself: a few names resolve, others do not exist, no port is taken, the environment is empty."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        options["flags"] = options.get("flags", 0) | socket.AI_NUMERICHOST
        return real(NAMES.get(host, host), *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "gethostname", lambda: "node0")
    monkeypatch.setattr(_resolver, "_read", lambda path: "nameserver 192.0.2.53\n" if path == _resolver._RESOLV_CONF else None)
    monkeypatch.setattr(_addresses, "of_this_machine", lambda: ("10.0.0.7", "fe80::7%eth0"))
    monkeypatch.setattr(_ports, "state_of", lambda port: None)
    schedulers = [mark for _, marks, *_ in _sources.SOURCES for mark in marks]
    for name in (*schedulers, "PET_RDZV_CONF", "PET_NNODES", "SLURMD_NODENAME", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _own_signals() -> Any:
    """Put back what main() does to signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Ran:
    """What one call of the command came to."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def rdzv(capsys: pytest.CaptureFixture[str]) -> Any:
    """Call the command in this process."""

    def run(*arguments: str) -> Ran:
        try:
            status = _command.main(arguments)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 0
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return run
