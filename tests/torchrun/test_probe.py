"""PyTorch's store beside the probe of rdzv-hostmatch: they may meet at one port, and neither may break the other."""

from __future__ import annotations

import os
import socket
import threading
from datetime import timedelta
from typing import Any

import pytest
from rdzv_hostmatch import MatchRule, match_host

TCPStore = pytest.importorskip("torch.distributed").TCPStore


def server(port: int) -> Any:
    return TCPStore("127.0.0.1", port, is_master=True, multi_tenant=True, timeout=timedelta(seconds=10))


def test_client_that_meets_a_probe_enters_the_store_after_it(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    """The probe sends the client away without a word; it tries again until a store is there."""
    elsewhere = socket.create_server(("127.0.0.1", 0))
    elsewhere.settimeout(10)
    look_up, leads_to = socket.getaddrinfo, {("203.0.113.9", port): elsewhere.getsockname()}

    def getaddrinfo(host: str, port: Any, **options: Any) -> Any:
        return look_up(*leads_to.get((host, port), (host, port)), **options)

    met = threading.Event()

    class Watched(socket.socket):
        def accept(self) -> Any:
            met.set()
            return super().accept()

    matches: list[Any] = []
    values: list[Any] = []

    def ask() -> None:
        matches.append(match_host("203.0.113.9", probe_port=port))

    def enter() -> None:
        client = TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=30))
        values.append(client.get("key"))

    threads = [threading.Thread(target=ask), threading.Thread(target=enter)]
    with monkeypatch.context() as patch, elsewhere:
        patch.setattr(socket, "getaddrinfo", getaddrinfo)
        patch.setattr(socket, "socket", Watched)
        threads[0].start()
        with elsewhere.accept()[0]:  # from now on the probe listens
            met.clear()  # other listeners of its own come before
            threads[1].start()
            assert met.wait(10)
        threads[0].join(10)
    assert [match.rule for match in matches] == [MatchRule.PROBE_ELSEWHERE]
    store = server(port)
    store.set("key", "value")
    threads[1].join(30)
    assert values == [b"value"]


def test_store_survives_probes(port: int) -> None:
    """What a probe says is nothing that a store understands, and does it no harm."""
    store = server(port)
    for first in range(16):  # each of its commands, and some that are none
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(bytes([first]) + os.urandom(15))
    store.set("key", "value")
    assert TCPStore("127.0.0.1", port, is_master=False, timeout=timedelta(seconds=10)).get("key") == b"value"
