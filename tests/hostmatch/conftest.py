"""A machine made up for a test: its name, its addresses, and a resolver that answers as told."""

from __future__ import annotations

import socket
import threading
from typing import Any

import pytest
from rdzv_hostmatch import _lookup, _match


class Machine:
    """A resolver and a kernel that know what a test tells them, and remember what they were asked."""

    def __init__(self) -> None:
        self.name = "node0"
        self.addresses = {"10.0.0.5"}
        self.tentative: set[str] = set()
        self.answers: dict[str, Any] = {}
        self.looked_up: list[str] = []
        self.compared: list[str] = []
        self.release = threading.Event()

    def getaddrinfo(self, host: str, port: object, **options: object) -> list[tuple[object, ...]]:
        """Answer with addresses, ``(addresses, canonical name)``, or by raising; WITHHELD until released."""
        assert (port, options) == (None, {"proto": socket.IPPROTO_TCP, "flags": socket.AI_CANONNAME})
        self.looked_up.append(host)
        answer = self.answers.get(host, socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
        if answer is WITHHELD:
            self.release.wait()
            answer = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        if isinstance(answer, BaseException):
            raise answer
        addresses, canonical = answer if isinstance(answer, tuple) else (answer, "")
        return [(None, None, 0, canonical, (address, 0)) for address in addresses]

    def is_own(self, ip: object, patience: float) -> bool | None:
        """Whether the test gave this address to the machine; None for a tentative one."""
        assert 0 <= patience < 0.1
        self.compared.append(str(ip))
        return None if str(ip) in self.tentative else str(ip) in self.addresses


WITHHELD = object()


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    """A machine called node0 with the address 10.0.0.5, whose resolver knows nothing yet."""
    made_up = Machine()
    monkeypatch.setattr(socket, "gethostname", lambda: made_up.name)
    monkeypatch.setattr(socket, "getaddrinfo", made_up.getaddrinfo)
    monkeypatch.setattr(_match, "is_own", made_up.is_own)
    monkeypatch.setattr(_lookup, "_running", {})  # what other tests have abandoned is not its look-ups
    monkeypatch.delenv("SLURMD_NODENAME", raising=False)
    yield made_up
    made_up.release.set()


@pytest.fixture
def withheld() -> object:
    """An answer that the resolver gives only once released."""
    return WITHHELD
