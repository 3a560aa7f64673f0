"""Which address a node goes by, with the kernel's answers made up."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from rdzv_hostmatch import HostMatch, MatchRule
from rdzv_torchrun import _advertise
from rdzv_torchrun._advertise import advertised

SERVICE = "10.96.0.10"
"""A service address of Kubernetes under IPVS, which is local to every node."""
OWN = ("10.0.0.5", "127.0.0.1", "127.0.1.1", "::1", SERVICE)


def source(address: str) -> str | None:
    """As in a kernel: an own address is reached from itself, all others from 10.0.0.5, and loopback from no address."""
    if address.startswith("node"):
        raise ValueError(address)
    if address in ("10.0.0.5", SERVICE):
        return address
    return "10.0.0.5" if address.startswith(("10.", "192.0.2.")) else None


@pytest.fixture(autouse=True)
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    look_up = socket.getaddrinfo

    def getaddrinfo(host: str, port: None, *, flags: int) -> Any:
        assert flags == socket.AI_NUMERICHOST  # no name server is asked
        return look_up(host, port, flags=flags)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(_advertise, "is_local_address", lambda address: address in OWN)
    monkeypatch.setattr(_advertise, "source_address", source)


@pytest.mark.parametrize(
    ("host", "address", "hosts", "expected"),
    [
        ("node1", "10.0.0.5", True, "10.0.0.5"),  # others may resolve the name to something else
        ("10.0.0.5", "10.0.0.5", True, "10.0.0.5"),
        ("node1", "127.0.1.1", True, "10.0.0.5"),  # Debian: only here the name means loopback
        ("10.96.0.99", "10.96.0.99", True, "10.0.0.5"),  # translated on the way
        ("node1", "10.0.0.9", False, "10.0.0.5"),  # a client
        ("node1", "10.0.0.5", False, "10.0.0.5"),  # a client on the host's machine
        (SERVICE, SERVICE, False, "10.0.0.5"),  # to the others it would be themselves
        ("node1", "2001:db8::9", False, None),  # no way from here
        ("node1", None, True, "10.0.0.5"),  # is_host=1, where the endpoint leads nowhere
        ("node1", "127.0.0.1", True, "10.0.0.5"),
        ("localhost", "127.0.0.1", True, None),
        ("ip6-localhost", "::1", True, None),
        ("ip6-Loopback", "::1", True, None),
        ("127.0.0.1", "127.0.0.1", False, None),
        ("127.1", "127.0.0.1", True, None),
        ("::ffff:127.0.0.1", "::ffff:127.0.0.1", True, None),
    ],
)
def test_advertised_address(host: str, address: str | None, hosts: bool, expected: str | None) -> None:
    """An own address by which the others are reached, and never one that may mean another machine to them."""
    assert advertised(host, address, hosts=hosts) == expected


def test_name_is_advertised_where_there_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without a route that is known by its name only."""
    monkeypatch.setattr(_advertise, "source_address", lambda _address: None)
    assert advertised("node1", "127.0.1.1", hosts=True) == "node1"


def test_ways_to_reach_a_node() -> None:
    """Those from which it reaches its peers, each once, and last the advertised one; its own and names are no help."""
    assert _advertise.ways_to_reach(SERVICE, ["10.0.0.9", "node2", "10.0.0.8", SERVICE, ""]) == ["10.0.0.5", SERVICE]
    assert _advertise.ways_to_reach(None, ["node2"]) == []


@pytest.mark.parametrize(
    "match",
    [
        HostMatch("10.0.0.5", MatchRule.LOCAL_ADDRESS, ("10.0.0.5",), "10.0.0.5"),
        HostMatch("node1", MatchRule.OWN_NAME, ("10.0.0.5",), "10.0.0.5"),
        HostMatch("node1", MatchRule.OWN_NAME, ("127.0.1.1",), "127.0.1.1", warnings=(("own-name-loopback", ""),)),
        HostMatch("127.0.0.1", MatchRule.LOOPBACK, ("127.0.0.1",), "127.0.0.1", warnings=(("loopback", ""),)),
        HostMatch("localhost", MatchRule.LOCALHOST, ("127.0.0.1",), "127.0.0.1", warnings=(("loopback", ""),)),
        HostMatch("10.96.0.99", MatchRule.PROBE, ("10.96.0.99",), "10.0.0.5"),
        HostMatch("10.0.0.9", MatchRule.FOREIGN_ADDRESS, ("10.0.0.9",)),
        HostMatch("2001:db8::9", MatchRule.FOREIGN_ADDRESS, ("2001:db8::9",)),
    ],
    ids=lambda match: f"{match.host} {match.rule.name}",
)
def test_rdzv_check_advises_what_is_advertised(monkeypatch: pytest.MonkeyPatch, match: HostMatch) -> None:
    """`rdzv check` says for --local-addr what this backend takes where none is given."""
    advice = pytest.importorskip("rdzv._advice")
    monkeypatch.setattr(advice, "source_address", source)
    assert advertised(match.host, match.addresses[0], hosts=bool(match)) == advice.local_addr(match)
